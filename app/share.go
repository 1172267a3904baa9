package app

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/config"
)

// sharedOutbox is the host folder that is a workspace's outbox, shared into the guest, or empty if none is. It is a
// staging folder: what lands in the output folder is fetched from the guest and checked, whichever way it is stored.
func (a *App) sharedOutbox(w *config.Workspace) string {
	if !w.Outbox.Share || !a.Driver.Info().Capabilities.Share {
		return ""
	}
	return filepath.Join(a.Home.WorkspaceDir(w.Name), "outbox")
}

// ensureSharedOutbox makes that folder: one that is not there when the machine starts is not shared.
func (a *App) ensureSharedOutbox(w *config.Workspace) (string, error) {
	dir := a.sharedOutbox(w)
	if dir == "" {
		return "", nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the shared outbox: %w", err)
	}
	return dir, nil
}
