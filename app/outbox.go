package app

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/journal"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
)

func (a *App) outboxState(name string) string {
	return filepath.Join(a.Home.WorkspaceDir(name), "outbox")
}

func (a *App) outboxOptions(ctx context.Context, w *config.Workspace) (outbox.Options, error) {
	dest, err := a.ensureOutput(ctx, w)
	if err != nil {
		return outbox.Options{}, err
	}
	o := outbox.Options{
		Workspace: w.Name, Agent: w.Agent, GuestDir: "output", Dest: dest, State: a.outboxState(w.Name),
	}
	o.Limits.MaxFile, o.Limits.MaxTotal, o.Limits.MaxFiles = w.Outbox.MaxFile, w.Outbox.MaxTotal, w.Outbox.MaxFiles
	return o, nil
}

// Sync brings in what the guest has put into its outbox since the last time.
func (a *App) Sync(ctx context.Context, name string, p vm.Progress) (outbox.Report, error) {
	var r outbox.Report
	w, err := a.Workspace(name)
	if err != nil {
		return r, err
	}
	op := a.Journal.Begin(w.Name, "sync")
	r, err = a.syncOnce(ctx, w, func(ph vm.Phase) {
		op.Phase(ph.Name, ph.Done, ph.Total)
		p.Report(ph)
	})
	return r, op.End(err, "")
}

func (a *App) syncOnce(ctx context.Context, w *config.Workspace, report vm.Progress) (outbox.Report, error) {
	c, err := a.Connect(ctx, w)
	if err != nil {
		return outbox.Report{}, err
	}
	defer func() { _ = c.Close() }()
	o, err := a.outboxOptions(ctx, w)
	if err != nil {
		return outbox.Report{}, err
	}
	t, err := outbox.OverTar(c, o)
	if err != nil {
		return outbox.Report{}, err
	}
	defer func() { _ = t.Close() }()
	r, err := outbox.Once(ctx, t, o, func(p outbox.Progress) {
		report.Report(vm.Phase{Name: "fetching", Done: p.Bytes, Total: p.TotalBytes})
	})
	if err != nil {
		return r, fmt.Errorf("syncing the outbox of %q: %w", w.Name, err)
	}
	return r, a.recordReport(w.Name, r)
}

// recordReport journals what landed and what was refused.
func (a *App) recordReport(name string, r outbox.Report) error {
	for _, x := range r.Landed {
		err := a.Journal.Append(journal.Event{
			Kind: journal.Landed, Workspace: name, Path: x.Path, Size: x.Size, SHA256: x.SHA256,
		})
		if err != nil {
			return err
		}
	}
	for _, x := range r.Refused {
		err := a.Journal.Append(journal.Event{Kind: journal.Refused, Workspace: name, Path: x.Name, Detail: x.Reason})
		if err != nil {
			return err
		}
	}
	return nil
}

// Artifacts lists what has landed of a workspace, newest first.
func (a *App) Artifacts(name string) ([]outbox.Artifact, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return nil, err
	}
	return outbox.ReadManifest(a.outboxState(w.Name))
}
