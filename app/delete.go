package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/netlog"
	"github.com/calmenu/calmenu/internal/vm"
)

// Delete removes a workspace with its machine and all its snapshots. What has landed in the output folder stays. A
// running machine is powered off: its disk is about to go. Killed at any instant it has happened or it has not: what is
// left then of a workspace without its machine goes when somebody looks next.
func (a *App) Delete(ctx context.Context, name string, p vm.Progress) error {
	if err := vm.ValidName(name); err != nil {
		return err
	}
	return a.operate(ctx, name, verbDelete, p, func(ctx context.Context, report vm.Progress) error {
		_, cfgErr := a.Config().Workspace(name)
		m, unknown := a.Driver.Machine(ctx, name)
		if errors.Is(unknown, vm.ErrNotFound) && cfgErr != nil {
			return cfgErr
		}
		if unknown == nil && m.Running {
			report.Report(vm.Phase{Name: "powering off"})
			if err := a.Driver.Stop(ctx, name, vm.Shutdown{}); err != nil && !errors.Is(err, vm.ErrNotRunning) {
				return fmt.Errorf("deleting workspace %q: %w", name, err)
			}
		}
		report.Report(vm.Phase{Name: "removing its disks"})
		if err := a.markDeleting(name); err != nil {
			return fmt.Errorf("deleting workspace %q: %w", name, err)
		}
		if err := a.step("delete:marked"); err != nil {
			return err
		}
		if err := a.Driver.Delete(ctx, name); err != nil && !errors.Is(err, vm.ErrNotFound) {
			// What could not be told before may be why: a machine that runs is to be powered off first.
			return fmt.Errorf("deleting workspace %q: %w", name, errors.Join(err, unknown, a.unmarkDeleting(name)))
		}
		if err := a.step("delete:machine gone"); err != nil {
			return err
		}
		return a.forget(name)
	})
}

const verbDelete = "delete"

// forget removes what a workspace without a machine consists of.
func (a *App) forget(name string) error {
	err := errors.Join(a.forgetPassword(name), netlog.Remove(a.Home.LogsDir(), name), a.Config().DeleteWorkspace(name))
	a.RefreshSSHConfig()
	return err
}

// deletingMark is the file in a workspace's directory that says its machine is being deleted.
func (a *App) deletingMark(name string) string {
	return filepath.Join(a.Home.WorkspaceDir(name), "deleting")
}

// markDeleting writes the mark. What makes room must not need some: on a full disk there is none, and a workspace whose
// deletion is killed right then is to be deleted again.
func (a *App) markDeleting(name string) error {
	err := atomicfile.Write(a.deletingMark(name), nil, 0o600)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (a *App) unmarkDeleting(name string) error {
	err := os.Remove(a.deletingMark(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (a *App) markedDeleting(name string) bool {
	_, err := os.Lstat(a.deletingMark(name))
	return err == nil
}

// recoverDelete ends a deletion that was cut short, after the driver has recovered: if the machine is gone the rest goes,
// and otherwise the workspace stays. It tells whether the workspace has gone. The workspace is locked.
func (a *App) recoverDelete(ctx context.Context, name string) (gone bool, err error) {
	if !a.markedDeleting(name) {
		return false, nil
	}
	_, err = a.Driver.Machine(ctx, name)
	switch {
	case errors.Is(err, vm.ErrNotFound):
		return true, a.forget(name)
	case err != nil:
		return false, err
	}
	return false, a.unmarkDeleting(name)
}
