package app

import (
	"context"

	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// FindSnapshot returns a workspace's snapshot by name or identifier; an empty reference is the newest that is no undo.
func (a *App) FindSnapshot(ctx context.Context, name, ref string) (snapshot.Snapshot, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	return a.catalog(w.Name).Find(ctx, ref)
}

// RenameSnapshot gives a snapshot, by name or identifier, another name. An automatic one is kept from then on.
func (a *App) RenameSnapshot(
	ctx context.Context, name, ref, to string, p vm.Progress,
) (snapshot.Snapshot, error) {
	return a.editSnapshot(ctx, name, "rename", p, func(c *snapshot.Catalog) (snapshot.Snapshot, error) {
		return c.Rename(ctx, ref, to)
	})
}

// NoteSnapshot puts a person's words beside a snapshot, by name or identifier; empty takes them away.
func (a *App) NoteSnapshot(
	ctx context.Context, name, ref, note string, p vm.Progress,
) (snapshot.Snapshot, error) {
	return a.editSnapshot(ctx, name, "note", p, func(c *snapshot.Catalog) (snapshot.Snapshot, error) {
		return c.SetNote(ctx, ref, note)
	})
}

// editSnapshot changes what is said of a snapshot. The machine has no part in that: a name that is taken is no failed
// operation of the workspace.
func (a *App) editSnapshot(
	ctx context.Context, name, verb string, p vm.Progress, f func(*snapshot.Catalog) (snapshot.Snapshot, error),
) (snapshot.Snapshot, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	unlock, err := a.lock(ctx, w.Name, verb, p)
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	defer unlock()
	s, err := f(a.catalog(w.Name))
	if err == nil {
		a.noticeSnapshots(w.Name, "snapshot described")
	}
	return s, sayFull(err)
}
