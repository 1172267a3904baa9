package app

import (
	"context"
	"fmt"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm"
)

// CheckIsolation tries every claim about a running workspace now.
func (a *App) CheckIsolation(ctx context.Context, name string) (isolation.Report, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return isolation.Report{}, err
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		return isolation.Report{}, err
	}
	defer func() { _ = c.Close() }()
	return a.check(ctx, w, c)
}

// check runs the checks over a connection that is there, and keeps and journals the report.
func (a *App) check(ctx context.Context, w *config.Workspace, c isolation.Runner) (isolation.Report, error) {
	s, err := a.subject(w, c)
	if err != nil {
		return isolation.Report{}, err
	}
	return a.keepReport(ctx, w, isolation.Run(ctx, s))
}

// keepReport keeps and journals what checks have just found, unless the machine it is about has ended.
func (a *App) keepReport(ctx context.Context, w *config.Workspace, r isolation.Report) (isolation.Report, error) {
	if ctx.Err() != nil {
		// A check that was cancelled says nothing about the machine.
		return r, fmt.Errorf("checking isolation of %q: %w", w.Name, ctx.Err())
	}
	// The machine may have ended meanwhile; then the report is about nothing.
	m, err := a.Driver.Machine(ctx, w.Name)
	if err == nil && (!m.Running || m.PID != r.PID) {
		err = vm.ErrNotRunning
	}
	if err != nil {
		return r, fmt.Errorf("checking isolation of %q: %w", w.Name, err)
	}
	before, _ := isolation.Load(a.Home.WorkspaceDir(w.Name))
	if err := isolation.Save(a.Home.WorkspaceDir(w.Name), r); err != nil {
		return r, err
	}
	if before.PID == r.PID && before.Level == r.Level && before.Reason == r.Reason {
		return r, nil // the same once more is no news
	}
	return r, a.Journal.Append(journal.Event{
		Kind: journal.Isolation, Workspace: w.Name, Level: string(r.Level), Detail: r.Reason,
	})
}
