package qemu

import (
	"context"
	"fmt"

	"github.com/calmenu/calmenu/internal/vm"
)

// Suspend saves a running machine's memory and ends it.
func (d *Driver) Suspend(ctx context.Context, name string, _ vm.Progress) error {
	if _, err := d.runningProcess(ctx, name); err != nil {
		return err
	}
	return fmt.Errorf("suspending machine %q: %w", name, vm.ErrNoMemory)
}
