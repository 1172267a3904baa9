package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

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
	o.KeepVersions, o.Exclude = w.Outbox.KeepVersions, w.Outbox.Exclude
	o.RateLimit = w.Outbox.RateLimit
	o.Limits.MaxFile, o.Limits.MaxTotal, o.Limits.MaxFiles = w.Outbox.MaxFile, w.Outbox.MaxTotal, w.Outbox.MaxFiles
	return o, nil
}

// Sync brings in what the guest has put into its outbox since the last time.
// What hooks did not do is returned beside it, and is no error of the sync.
func (a *App) Sync(ctx context.Context, name string, p vm.Progress) (r outbox.Report, failed []HookFailure, err error) {
	w, err := a.Workspace(name)
	if err != nil {
		return r, nil, err
	}
	op := a.Journal.Begin(w.Name, "sync")
	r, err = a.syncOnce(ctx, w, func(ph vm.Phase) {
		op.PhaseDetail(ph.Name, ph.Detail, ph.Done, ph.Total)
		p.Report(ph)
	})
	if anyRuns(a.Config().Hooks, r.Landed) && ctx.Err() == nil { // also if it ended early: nobody else will
		op.Phase("running hooks", 0, 0)
		p.Report(vm.Phase{Name: "running hooks"})
		var hooksErr error
		failed, hooksErr = a.runHooks(ctx, w, r.Landed)
		err = errors.Join(err, hooksErr)
	}
	return r, failed, op.End(err, "")
}

// fetching is the phase in which an outbox is brought in.
const fetching = "fetching"

// showable is how long bringing in takes before it is told of to those who did not ask for it.
const showable = time.Second

// inFlight journals what takes its time, so that the menu and a session's banner show it.
func (a *App) inFlight(name string) func(outbox.Progress) {
	var op *journal.Op
	return func(p outbox.Progress) {
		switch {
		case p.Over && op != nil:
			_ = op.End(nil, "") // it is a figure; whoever cannot write it says so elsewhere
			op = nil
		case p.Over || p.Elapsed < showable:
		default:
			if op == nil {
				op = a.Journal.Begin(name, "sync")
			}
			op.PhaseDetail(fetching, p.String(), p.Bytes, p.TotalBytes)
		}
	}
}

func (a *App) syncOnce(ctx context.Context, w *config.Workspace, report vm.Progress) (outbox.Report, error) {
	r, shared, err := a.pass(ctx, w, false, report)
	if err == nil || !shared || ctx.Err() != nil {
		return r, err
	}
	// Whoever keeps the workspace may have ended in the middle: a session that is over, for one.
	a.Log.Info().Str("workspace", w.Name).Err(err).Msg("syncing the outbox again, over a connection of its own")
	again, _, err := a.pass(ctx, w, true, report)
	again.Landed = append(r.Landed, again.Landed...)
	again.Bytes += r.Bytes
	return again, err
}

// pass brings in and journals what there is, over a connection of its own or one that is shared if there is one.
func (a *App) pass(
	ctx context.Context, w *config.Workspace, own bool, report vm.Progress,
) (r outbox.Report, shared bool, err error) {
	// While it connects, the pass reads what it remembers.
	connection := a.beginBorrow(ctx, w, own)
	t, o, err := a.openOutbox(ctx, w, connection.client)
	if err != nil {
		connection.close()
		return r, false, err
	}
	defer func() {
		connection.close() // first: what runs in the guest ends with it, and is not waited for
		_ = t.Close()
	}()
	over := func() {}
	r, err = outbox.Once(ctx, t, o, func(p outbox.Progress) {
		over()
		over = func() {}
		if p.Waiting {
			over = a.followOther(ctx, w.Name, report)
			return
		}
		report.Report(vm.Phase{Name: fetching, Done: p.Bytes, Total: p.TotalBytes, Detail: p.String()})
	})
	over()
	if err != nil {
		shared = connection.overShared()
		if err = fmt.Errorf("syncing the outbox of %q: %w", w.Name, err); connection.failed() != nil {
			err = connection.failed()
		}
	}
	return r, shared, errors.Join(err, a.recordReport(w.Name, r))
}

// flushOutbox makes safe from a crash of the host what has landed, before what it came from is given up.
func (a *App) flushOutbox(ctx context.Context, w *config.Workspace) error {
	o, err := a.outboxOptions(ctx, w)
	if err != nil {
		return err
	}
	return outbox.Flush(ctx, o)
}

// recordReport journals what landed and what was refused for the first time.
func (a *App) recordReport(name string, r outbox.Report) error {
	for _, x := range r.Landed {
		err := a.Journal.Append(journal.Event{
			Kind: journal.Landed, Workspace: name, Path: x.Path, Size: x.Size, SHA256: x.SHA256,
			Detail: strings.Join(x.Warnings, journal.WarningsSeparator),
		})
		if err != nil {
			return err
		}
	}
	for _, x := range r.New {
		err := a.Journal.Append(journal.Event{Kind: journal.Refused, Workspace: name, Path: x.Name, Detail: x.Reason})
		if err != nil {
			return err
		}
	}
	return nil
}
