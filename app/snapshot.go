package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// Snapshots lists a workspace's snapshots, newest first.
func (a *App) Snapshots(ctx context.Context, name string) ([]snapshot.Snapshot, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return nil, err
	}
	return a.catalog(w.Name).List(ctx)
}

// TakeSnapshot records a workspace's disk. A running machine is frozen for the instant where the driver can, and
// otherwise stopped and started again.
func (a *App) TakeSnapshot(
	ctx context.Context, name string, s snapshot.Snapshot, p vm.Progress,
) (snapshot.Snapshot, error) {
	return a.takeSnapshotOver(ctx, nil, name, s, p)
}

// takeSnapshotOver is TakeSnapshot over a connection there is already; nil makes one.
func (a *App) takeSnapshotOver(
	ctx context.Context, c *guest.Client, name string, s snapshot.Snapshot, p vm.Progress,
) (taken snapshot.Snapshot, err error) {
	w, err := a.Workspace(name)
	if err != nil {
		return taken, err
	}
	if s.Kind == "" {
		s.Kind = snapshot.Manual
	}
	if s.Agent == "" {
		s.Agent = w.Agent
	}
	err = a.operate(ctx, w.Name, "snapshot", p, func(ctx context.Context, report vm.Progress) error {
		taken, err = a.takeSnapshot(ctx, c, w, s, report)
		return err
	})
	return taken, err
}

func (a *App) takeSnapshot(
	ctx context.Context, c *guest.Client, w *config.Workspace, s snapshot.Snapshot, report vm.Progress,
) (snapshot.Snapshot, error) {
	m, err := a.Driver.Machine(ctx, w.Name)
	if err != nil {
		return snapshot.Snapshot{}, fmt.Errorf("taking a snapshot of %q: %w", w.Name, err)
	}
	if !m.Running {
		return a.catalog(w.Name).Create(ctx, s, vm.SnapshotOptions{})
	}
	if err := a.catalog(w.Name).CanCreate(ctx, s); err != nil {
		return snapshot.Snapshot{}, err
	}
	memory, err := wantsMemory(snapshotMode(w, s), m)
	if err != nil {
		return snapshot.Snapshot{}, fmt.Errorf("taking a snapshot of %q: %w", w.Name, err)
	}
	if memory {
		taken, err := a.takeWarm(ctx, c, w, s, report)
		if err == nil || snapshotMode(w, s) == snapshot.ModeWarm || !canBeCold(err) {
			return taken, err
		}
		a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("a snapshot is taken without memory")
	}
	return a.takeCold(ctx, c, w, s, report)
}

// SessionSnapshot takes the snapshot an agent session begins with, over its connection (nil makes one), and lets go of
// old ones.
func (a *App) SessionSnapshot(ctx context.Context, c *guest.Client, w *config.Workspace, p vm.Progress) error {
	now := time.Now()
	name := w.Snapshots.Prefix + "-" + now.Format("2006-01-02-150405")
	s := snapshot.Snapshot{Name: name, Kind: snapshot.Session, Mode: a.sessionMode(ctx, c, w)}
	_, err := a.takeSnapshotOver(ctx, c, w.Name, s, p)
	if err != nil {
		return err
	}
	_, err = a.applyRetention(ctx, w, p)
	return err
}

// DeleteSnapshot deletes a snapshot by name or identifier.
func (a *App) DeleteSnapshot(ctx context.Context, name, ref string, p vm.Progress) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	return a.operate(ctx, w.Name, "snapshot", p, func(ctx context.Context, _ vm.Progress) error {
		s, err := a.catalog(w.Name).Find(ctx, ref)
		if err != nil {
			return err
		}
		return a.catalog(w.Name).Delete(ctx, s.ID)
	})
}

// Rolled tells what a rollback did.
type Rolled struct {
	To   snapshot.Snapshot `json:"to"`
	Undo snapshot.Snapshot `json:"undo"` // what was replaced
	// Resumed: what ran when the snapshot was taken goes on.
	Resumed bool `json:"resumed"`
}

// Rollback makes a workspace what it was at a snapshot (by name or identifier; empty: the newest). What it replaces is
// kept, and Undo brings it back. A machine that ran runs again afterwards.
func (a *App) Rollback(ctx context.Context, name, ref string, p vm.Progress) (Rolled, error) {
	return a.rollback(ctx, name, p, func(ctx context.Context, c *snapshot.Catalog) (snapshot.Snapshot, error) {
		return c.Find(ctx, ref)
	})
}

// UndoRollback brings back what the last rollback replaced; that is a rollback too, and can be undone.
func (a *App) UndoRollback(ctx context.Context, name string, p vm.Progress) (Rolled, error) {
	return a.rollback(ctx, name, p, func(ctx context.Context, c *snapshot.Catalog) (snapshot.Snapshot, error) {
		return c.FindUndo(ctx)
	})
}

func (a *App) rollback(
	ctx context.Context, name string, p vm.Progress,
	find func(context.Context, *snapshot.Catalog) (snapshot.Snapshot, error),
) (rolled Rolled, err error) {
	w, err := a.Workspace(name)
	if err != nil {
		return rolled, err
	}
	err = a.operate(ctx, w.Name, "rollback", p, func(ctx context.Context, report vm.Progress) error {
		cat := a.catalog(w.Name)
		if rolled.To, err = find(ctx, cat); err != nil {
			return err
		}
		m, err := a.Driver.Machine(ctx, w.Name)
		if err != nil {
			return fmt.Errorf("rolling back %q: %w", w.Name, err)
		}
		if m.Running {
			if err := a.setAside(ctx, w, m, report); err != nil {
				return err
			}
		}
		report.Report(vm.Phase{Name: "swapping the disk"})
		rolled.Undo, err = cat.Restore(ctx, rolled.To)
		if err != nil && rolled.Undo.ID == "" {
			// The old state stands untouched: bring it back up as it was.
			if m.Running {
				err = errors.Join(err, a.start(ctx, w, report))
			}
			return err
		}
		if m.Running {
			err = errors.Join(err, a.start(ctx, w, report))
			now, factsErr := a.Driver.Machine(ctx, w.Name)
			rolled.Resumed = factsErr == nil && now.Resumed
		}
		return err
	})
	return rolled, err
}
