package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// transportShare is the outbox.transport that has the guest write into a staging folder of the host.
const transportShare = "share"

// stagingDir is the host folder that a workspace's guest may write into, and that nothing reads but what brings its
// outbox in. It lies in a directory that no other account may enter: the guest chooses owners and modes in it.
func (a *App) stagingDir(w *config.Workspace) string {
	return filepath.Join(a.Home.WorkspaceDir(w.Name), "share", "output")
}

// sharedOutbox is the host folder that may be shared into a workspace's guest, or empty if none may.
func (a *App) sharedOutbox(w *config.Workspace) string {
	if w.Outbox.Transport != transportShare || !a.Driver.Info().Capabilities.Share {
		return ""
	}
	return a.stagingDir(w)
}

// ensureSharedOutbox makes that folder: one that is not there when the machine starts is not shared.
func (a *App) ensureSharedOutbox(w *config.Workspace) (string, error) {
	if w.Outbox.Transport == transportShare && !a.Driver.Info().Capabilities.Share {
		return "", hint.Wrap(fmt.Errorf("sharing the outbox of %q: %w", w.Name, vm.ErrUnsupported),
			"Set outbox.transport to auto; CALMenu doctor says what a share needs here.")
	}
	dir := a.sharedOutbox(w)
	if dir == "" {
		return "", nil
	}
	err := os.MkdirAll(filepath.Dir(dir), 0o700)
	if err == nil {
		err = os.Mkdir(dir, 0o777)
	}
	if err == nil {
		err = os.Chmod(dir, 0o777) // the guest's accounts are none of the host's
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("making the shared outbox: %w", err)
	}
	return dir, nil
}

// sharedNow is the staging folder that a workspace's running machine really shares, or empty if it shares none: the
// configuration may have changed since it was started.
func (a *App) sharedNow(ctx context.Context, w *config.Workspace) (string, error) {
	if !a.Driver.Info().Capabilities.Share {
		return "", nil
	}
	e, err := a.Driver.Exposure(ctx, w.Name)
	if errors.Is(err, vm.ErrNotRunning) {
		return "", notRunning(w.Name, err)
	}
	if err != nil {
		return "", fmt.Errorf("looking whether the outbox of %q is shared: %w", w.Name, err)
	}
	staging := a.stagingDir(w)
	for _, s := range e.Shares {
		if filepath.Clean(s.HostPath) == staging {
			return staging, nil
		}
	}
	return "", nil
}
