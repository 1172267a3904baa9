package app

import (
	"context"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// retention is how long a workspace's automatic snapshots stay.
func retention(w *config.Workspace) snapshot.Policy {
	s := w.Snapshots
	days := time.Duration(s.CleanupAfterDays) * 24 * time.Hour
	return snapshot.Policy{
		SessionKeep: s.MaxAuto, SessionMaxAge: days,
		PeriodicKeep: s.MaxPeriodic, PeriodicMaxAge: days,
		UndoKeep: s.UndoKeep, MaxTotalBytes: int64(s.MaxTotalGiB) << 30,
	}
}

// PrunePlan returns which snapshots of a workspace would go, and why: by its retention rules, or by a person's selection
// in their place. It changes nothing.
func (a *App) PrunePlan(ctx context.Context, name string, sel *snapshot.Selection) ([]snapshot.Removal, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return nil, err
	}
	list, err := a.catalog(w.Name).List(ctx)
	if err != nil {
		return nil, err
	}
	if sel != nil {
		return snapshot.Select(list, *sel, time.Now()), nil
	}
	return snapshot.Plan(list, retention(w), time.Now()), nil
}

// PruneSnapshots deletes what a plan lets go and returns what it deleted. What somebody has named since the plan was
// made stays.
func (a *App) PruneSnapshots(
	ctx context.Context, name string, plan []snapshot.Removal, p vm.Progress,
) (gone []snapshot.Removal, err error) {
	w, err := a.Workspace(name)
	if err != nil || len(plan) == 0 {
		return nil, err
	}
	err = a.operate(ctx, w.Name, "prune", p, func(ctx context.Context, report vm.Progress) error {
		report.Report(vm.Phase{Name: "deleting snapshots"})
		gone, err = a.catalog(w.Name).Prune(ctx, plan)
		return err
	})
	return gone, err
}

// applyRetention lets go of what the workspace's rules do not keep, after an automatic snapshot.
func (a *App) applyRetention(ctx context.Context, w *config.Workspace, p vm.Progress) ([]snapshot.Removal, error) {
	unlock, err := a.lock(ctx, w.Name, "prune", p)
	if err != nil {
		return nil, err
	}
	defer unlock()
	list, err := a.catalog(w.Name).List(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := a.catalog(w.Name).Prune(ctx, snapshot.Plan(list, retention(w), time.Now()))
	for _, r := range gone {
		a.Log.Info().Str("workspace", w.Name).Str("snapshot", r.Snapshot.ID).Str("kind", string(r.Snapshot.Kind)).
			Str("reason", r.Reason).Msg("snapshot let go")
	}
	if len(gone) > 0 {
		a.noticeSnapshots(w.Name, "old snapshots let go")
	}
	return gone, err
}

// noticeSnapshots journals a change of a workspace's snapshots that is no operation, for whoever shows them.
func (a *App) noticeSnapshots(name, what string) {
	if err := a.Journal.Append(journal.Event{Kind: journal.Notice, Workspace: name, Detail: what}); err != nil {
		a.Log.Warn().Str("workspace", name).Err(err).Msg("journaling a change of snapshots")
	}
}
