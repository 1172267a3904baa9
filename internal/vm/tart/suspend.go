package tart

import (
	"context"
	"fmt"

	"github.com/calmenu/calmenu/internal/vm"
)

// Suspend implements vm.Lifecycle.
func (d *Driver) Suspend(ctx context.Context, name string, _ vm.Progress) error {
	m, err := d.Machine(ctx, name)
	if err == nil && !m.Running {
		err = vm.ErrNotRunning
	}
	if err == nil {
		err = vm.ErrNoMemory
	}
	return fmt.Errorf("suspending %q: %w", name, err)
}
