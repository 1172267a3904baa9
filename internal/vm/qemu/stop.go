package qemu

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// Stop asks the guest to shut down, waits, and then powers the machine off. It takes no lock: it changes no file, and a
// forced stop must not wait for a patient one.
func (d *Driver) Stop(ctx context.Context, name string, how vm.Shutdown) error {
	p, err := d.runningProcess(ctx, name)
	if err != nil {
		return err
	}
	if how.Guest != nil {
		if err := politeStop(ctx, p.pid, how); err != nil {
			return fmt.Errorf("stopping machine %q: %w", name, err)
		}
	}
	if processRuns(p.pid) {
		if err := d.powerOff(ctx, name, p.pid); err != nil {
			return fmt.Errorf("stopping machine %q: %w", name, err)
		}
	}
	return nil
}

// politeStop gives the guest its grace, whatever asking it came to: a connection that broke may have broken because the
// guest is shutting down, and cutting its power in the middle of that costs data.
func politeStop(ctx context.Context, pid int, how vm.Shutdown) error {
	grace, cancel := context.WithTimeout(ctx, how.Grace)
	defer cancel()
	_ = how.Guest(grace)
	_ = awaitEnd(grace, pid)
	return ctx.Err()
}

// powerOff ends QEMU: by its monitor, so that it writes out what it holds; if it does not answer, by force.
func (d *Driver) powerOff(ctx context.Context, name string, pid int) error {
	asked, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := qmp(asked, d.machineDir(name), "quit", nil, nil); err == nil || !processRuns(pid) {
		if err := awaitEnd(asked, pid); err == nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The number may have gone to another process meanwhile: ask the socket again whom it belongs to.
	p, err := findProcess(ctx, d.machineDir(name))
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err == nil && p.pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing process %s: %w", strconv.Itoa(pid), err)
	}
	return awaitEnd(ctx, pid)
}
