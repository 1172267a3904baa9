package vmtest

import (
	"context"
	"fmt"

	"github.com/calmenu/calmenu/internal/vm"
)

// Suspend implements vm.Lifecycle.
func (m *Memory) Suspend(ctx context.Context, name string, _ vm.Progress) error {
	facts, err := m.Machine(ctx, name)
	if err == nil && !facts.Running {
		err = vm.ErrNotRunning
	}
	if err == nil {
		err = vm.ErrNoMemory
	}
	return fmt.Errorf("suspending %q: %w", name, err)
}
