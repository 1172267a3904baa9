package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// keyDisposable marks a workspace that is deleted when its session ends.
const keyDisposable = "disposable"

// NewDisposable makes a workspace that is deleted when its session ends, unless it is kept; an empty name is generated. It
// returns its name.
func (a *App) NewDisposable(ctx context.Context, name, agentID string, p vm.Progress) (string, error) {
	if name == "" {
		var b [3]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand
		name = "tmp-" + hex.EncodeToString(b[:])
	}
	values := map[string]string{keyDisposable: "true"}
	if agentID != "" {
		values["agent"] = agentID
	}
	return name, a.New(ctx, name, values, p)
}

// KeepWorkspace makes a disposable workspace one that stays.
func (a *App) KeepWorkspace(name string) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	if !w.Session.Disposable {
		return hint.Errorf("Nothing was changed.", "workspace %q is not disposable", w.Name)
	}
	return a.Config().Set(a.Home.VMFile(w.Name), keyDisposable, "false")
}

// EndDisposable deletes a disposable workspace that has done its work, unless work in it is at risk; gone tells which. A
// workspace that is not disposable stays.
func (a *App) EndDisposable(ctx context.Context, name string, p vm.Progress) (gone bool, err error) {
	w, err := a.Workspace(name)
	if err != nil || !w.Session.Disposable {
		return false, err
	}
	if r, err := a.Risk(ctx, w.Name); err != nil || r.AtRisk {
		return false, err
	}
	return true, a.discard(ctx, w.Name, p)
}

// discard deletes a disposable workspace. What the agent put out lands first; a workspace whose output cannot be fetched
// stays.
func (a *App) discard(ctx context.Context, name string, p vm.Progress) error {
	if _, _, err := a.Sync(ctx, name, p); err != nil {
		return hint.Wrap(fmt.Errorf("workspace %q stays, because its output could not be fetched: %w", name, err),
			"CALMenu delete "+name+" deletes it with what is in it.")
	}
	return a.Delete(ctx, name, p)
}

func (r *sessionRun) tell(format string, args ...any) error {
	if _, err := fmt.Fprintf(r.t.Out, format+"\n", args...); err != nil {
		return fmt.Errorf("writing to the terminal: %w", err)
	}
	return nil
}

// SweepDisposable deletes disposable workspaces that a crash, or the end of the host, left behind: those whose machine
// does not run and in which no work was at risk when it was last looked at. It returns the names of what it deleted.
func (a *App) SweepDisposable(ctx context.Context) ([]string, error) {
	names, err := a.Config().Workspaces()
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, name := range names {
		w, err := a.Config().Workspace(name)
		if err != nil || !w.Session.Disposable || time.Since(w.CreatedAt) < time.Hour || !a.isForsaken(ctx, w) {
			continue // one that was just made may be about to be started
		}
		if err := a.Delete(ctx, name, nil); err != nil {
			return gone, errors.Join(err, ctx.Err())
		}
		gone = append(gone, name)
	}
	return gone, nil
}

// isForsaken tells whether nothing would be lost with a workspace, and nobody is in it.
func (a *App) isForsaken(ctx context.Context, w *config.Workspace) bool {
	m, err := a.Driver.Machine(ctx, w.Name)
	if errors.Is(err, vm.ErrNotFound) {
		return true
	}
	if err != nil || m.Running || m.Suspended {
		return false
	}
	last, err := a.LastRisk(ctx, w.Name)
	return err == nil && !last.AtRisk
}
