package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// snapshotMode is whether a snapshot shall hold memory: as was asked for, or as is configured.
func snapshotMode(w *config.Workspace, s snapshot.Snapshot) string {
	if s.Mode != "" {
		return s.Mode
	}
	return w.Snapshots.Mode
}

// sessionMode is how the snapshot a session begins with is taken. Somebody waits for that session: where the disk alone
// takes an instant, and no agent is at work that would go on, memory is not worth the seconds it can take to save.
func (a *App) sessionMode(ctx context.Context, c *guest.Client, w *config.Workspace) string {
	if w.Snapshots.Mode != snapshot.ModeAuto || !a.Driver.Info().Capabilities.LiveSnapshot || c == nil {
		return w.Snapshots.Mode
	}
	atWork, err := session.Sessions(ctx, c)
	if err != nil || len(atWork) > 0 {
		return w.Snapshots.Mode
	}
	return snapshot.ModeCold
}

// wantsMemory tells whether a running machine's memory is saved in this mode, or why it cannot be although it must.
func wantsMemory(mode string, m vm.Machine) (bool, error) {
	switch {
	case mode == snapshot.ModeCold:
		return false, nil
	case mode == snapshot.ModeWarm && !m.Warm.OK:
		return false, hint.Wrap(fmt.Errorf("%w: %s", vm.ErrNoMemory, m.Warm.Reason),
			"Take one of the disk alone: CALMenu snapshot create --cold")
	}
	return m.Warm.OK, nil
}

// canBeCold tells whether a snapshot that failed with memory may succeed without.
func canBeCold(err error) bool {
	return errors.Is(err, vm.ErrNoMemory) || errors.Is(err, vm.ErrNoSpace)
}

// takeWarm takes a snapshot of a running machine with its memory. Where that cannot be done while it runs, the machine is
// suspended and resumed.
func (a *App) takeWarm(
	ctx context.Context, c *guest.Client, w *config.Workspace, s snapshot.Snapshot, report vm.Progress,
) (snapshot.Snapshot, error) {
	if !a.Driver.Info().Capabilities.LiveWarmSnapshot {
		report.Report(vm.Phase{Name: "saving the memory"})
		if err := a.Driver.Suspend(ctx, w.Name, report); err != nil {
			return snapshot.Snapshot{}, fmt.Errorf("taking a snapshot of %q: %w", w.Name, err)
		}
		taken, err := a.catalog(w.Name).Create(ctx, s, vm.SnapshotOptions{})
		return taken, errors.Join(err, a.start(ctx, w, report))
	}
	c, done, err := a.borrow(ctx, c, w)
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	defer done()
	s.Ask = a.describe(ctx, c, w)
	report.Report(vm.Phase{Name: "saving the memory"})
	return a.catalog(w.Name).Create(ctx, s, vm.SnapshotOptions{Memory: true, Freeze: c.WriteOut})
}

// takeCold takes a snapshot of a running machine's disk: frozen for the instant where the driver can, otherwise the
// machine is stopped and started again.
func (a *App) takeCold(
	ctx context.Context, c *guest.Client, w *config.Workspace, s snapshot.Snapshot, report vm.Progress,
) (snapshot.Snapshot, error) {
	if !a.Driver.Info().Capabilities.LiveSnapshot {
		if err := a.stop(ctx, w, report); err != nil {
			return snapshot.Snapshot{}, err
		}
		taken, err := a.catalog(w.Name).Create(ctx, s, vm.SnapshotOptions{})
		return taken, errors.Join(err, a.start(ctx, w, report))
	}
	go a.learnHelper()
	c, done, err := a.borrow(ctx, c, w)
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	defer done()
	freezing := c.BeginFreeze(ctx, helperName(c))
	defer freezing.Close()
	s.Ask = a.describe(ctx, c, w)
	report.Report(vm.Phase{Name: "freezing the file system"})
	return a.catalog(w.Name).Create(ctx, s, vm.SnapshotOptions{Freeze: freezing.Freeze})
}

// describeTime bounds the look at where repositories stand, which a snapshot can do without.
const describeTime = 5 * time.Second

// describe begins to look where the guest's repositories stand, while the snapshot is being taken. The function it returns
// waits for what was found.
func (a *App) describe(ctx context.Context, c *guest.Client, w *config.Workspace) func() []snapshot.Repository {
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	found := make(chan []snapshot.Repository, 1)
	go func() {
		defer cancel()
		heads, err := github.HeadsAndStates(ctx, c)
		if err != nil && !errors.Is(err, context.Canceled) {
			a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("describing a snapshot")
		}
		var list []snapshot.Repository
		for _, h := range heads {
			list = append(list, snapshot.Repository{
				Path: h.Path, Branch: h.Branch, Commit: h.Commit, State: snapshot.State(h.State),
			})
		}
		found <- list
	}()
	return func() []snapshot.Repository { return <-found }
}

// SnapshotHolds says, for people, what a snapshot taken now would hold.
func (a *App) SnapshotHolds(ctx context.Context, name string) (string, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return "", err
	}
	m, err := a.Driver.Machine(ctx, w.Name)
	if err != nil {
		return "", fmt.Errorf("looking at workspace %q: %w", w.Name, err)
	}
	switch {
	case m.Suspended:
		return "It holds the disk and the memory.", nil
	case !m.Running:
		return "It holds the disk: the VM does not run.", nil
	case w.Snapshots.Mode == snapshot.ModeCold:
		return "It holds the disk alone (snapshots.mode is cold): a rollback to it boots.", nil
	case !m.Warm.OK:
		return fmt.Sprintf("It holds the disk alone, because %s: a rollback to it boots.", m.Warm.Reason), nil
	}
	return "It holds the disk and the memory: a rollback to it goes on with what runs now.", nil
}

// setAside ends a running machine whose disk is about to be replaced, with its memory where that can be saved: undoing
// the rollback then brings back what runs now.
func (a *App) setAside(ctx context.Context, w *config.Workspace, m vm.Machine, report vm.Progress) error {
	if w.Snapshots.Mode != snapshot.ModeCold && m.Warm.OK {
		report.Report(vm.Phase{Name: "saving the memory"})
		err := a.Driver.Suspend(ctx, w.Name, report)
		if err == nil || errors.Is(err, vm.ErrNotRunning) {
			return isolation.Discard(a.Home.WorkspaceDir(w.Name))
		}
		if ctx.Err() != nil || !canBeCold(err) {
			return fmt.Errorf("saving what runs in %q: %w", w.Name, err)
		}
		a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("what runs is not kept for the undo")
	}
	report.Report(vm.Phase{Name: "stopping the machine"})
	return a.halt(ctx, w)
}

// frozenHalt bounds the attempt to reach a guest that may be wrecked beyond answering.
const frozenHalt = 8 * time.Second

// halt ends a machine whose disk is about to be replaced. Its file systems are frozen first, so that the undo is whole;
// in a guest too wrecked for that they are as a power cut leaves them.
func (a *App) halt(ctx context.Context, w *config.Workspace) error {
	off := func() error {
		err := a.Driver.Stop(ctx, w.Name, vm.Shutdown{})
		if errors.Is(err, vm.ErrNotRunning) {
			return nil
		}
		return err
	}
	frozen := false
	tryCtx, cancel := context.WithTimeout(ctx, frozenHalt)
	defer cancel()
	if c, err := a.Connect(tryCtx, w); err == nil {
		err = c.Freeze(tryCtx, helperName(c), func() error { frozen = true; return off() })
		_ = c.Close()
		if err != nil && !frozen {
			a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("freezing before a rollback")
		}
	}
	if err := off(); err != nil {
		return fmt.Errorf("stopping workspace %q: %w", w.Name, err)
	}
	return isolation.Discard(a.Home.WorkspaceDir(w.Name))
}
