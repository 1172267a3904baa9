package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/vm"
)

// New makes a workspace: the base image if it is missing, vm.yaml with the given values (by config key), the machine.
func (a *App) New(ctx context.Context, name string, values map[string]string, p vm.Progress) error {
	if err := vm.ValidName(name); err != nil {
		return err
	}
	return a.operate(ctx, name, "new", p, func(ctx context.Context, report vm.Progress) error {
		if _, err := a.Driver.Machine(ctx, name); err == nil {
			return hint.Wrap(fmt.Errorf("creating workspace %q: %w", name, vm.ErrExists),
				"Choose another name, or delete the workspace first: CALMenu delete "+name)
		} else if !errors.Is(err, vm.ErrNotFound) {
			return err
		}
		// A vm.yaml without a machine is what a killed `new` leaves: it is gone on with.
		if err := a.Config().CreateWorkspace(name, values); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		w, err := a.Config().Workspace(name)
		if err == nil {
			err = a.create(ctx, w, report)
		}
		if err != nil {
			return errors.Join(err, a.Config().DeleteWorkspace(name))
		}
		a.RefreshSSHConfig()
		return nil
	})
}

func (a *App) image(w *config.Workspace) string {
	if w.VM.BaseImage != "" {
		return w.VM.BaseImage
	}
	return a.Driver.DefaultImage()
}

func (a *App) create(ctx context.Context, w *config.Workspace, report vm.Progress) error {
	if err := w.Check(a.Driver.Info().Capabilities.GuestOS); err != nil {
		return err
	}
	if err := a.Driver.EnsureImage(ctx, a.image(w), report); err != nil {
		return fmt.Errorf("making the base image ready: %w", err)
	}
	if _, err := guest.EnsureIdentity(a.identityDir(w.Name)); err != nil {
		return err
	}
	report.Report(vm.Phase{Name: "creating the machine"})
	err := a.Driver.Create(ctx, a.spec(w), report)
	if err != nil {
		return fmt.Errorf("creating workspace %q: %w", w.Name, err)
	}
	return nil
}

// Start boots a workspace's machine, waits until its guest can be used, and proves its isolation. A machine that runs
// already is left alone.
func (a *App) Start(ctx context.Context, name string, p vm.Progress) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	m, err := a.Driver.Machine(ctx, w.Name)
	if err == nil && m.Running && a.proven(w.Name, m) {
		return nil
	}
	return a.operate(ctx, w.Name, "start", p, func(ctx context.Context, report vm.Progress) error {
		return a.start(ctx, w, report)
	})
}

// proven tells whether the guest of this very machine has been reached and checked.
func (a *App) proven(name string, m vm.Machine) bool {
	r, err := isolation.Load(a.Home.WorkspaceDir(name))
	return err == nil && r.PID == m.PID && len(r.Results) > 0
}

func (a *App) start(ctx context.Context, w *config.Workspace, report vm.Progress) error {
	m, err := a.Driver.Machine(ctx, w.Name)
	if errors.Is(err, vm.ErrNotFound) {
		if err = a.create(ctx, w, report); err == nil {
			m, err = a.Driver.Machine(ctx, w.Name)
		}
	}
	if err != nil {
		return fmt.Errorf("starting workspace %q: %w", w.Name, err)
	}
	if !m.Running {
		if err := a.boot(ctx, w, m, report); err != nil {
			return err
		}
	}
	client, err := a.await(ctx, w, report)
	if err != nil {
		if ctx.Err() != nil {
			a.abandon(w.Name)
		}
		return fmt.Errorf("starting workspace %q: %w", w.Name, err)
	}
	defer func() { _ = client.Close() }()
	a.RefreshSSHConfig() // a guest that was met for the first time has shown its host key
	return a.prepareAndProve(ctx, w, client, report)
}

// prepareAndProve does to a guest that has just started what it needs from outside, and proves its isolation. Of one that
// was resumed, or made from a template, nothing is expected to be missing: its isolation is tried meanwhile, and once more if
// something was.
func (a *App) prepareAndProve(ctx context.Context, w *config.Workspace, c *guest.Client, report vm.Progress) error {
	m, err := a.Driver.Machine(ctx, w.Name)
	if err != nil {
		return fmt.Errorf("preparing the guest of %q: %w", w.Name, err)
	}
	complete := m.Resumed || m.FromTemplate
	trying, cancel := context.WithCancel(ctx)
	defer cancel()
	tried := make(chan isolation.Report, 1)
	if complete {
		s, err := a.subject(w, c)
		if err != nil {
			return err
		}
		go func() { tried <- isolation.Run(trying, s) }()
	}
	changed, err := a.prepareGuest(ctx, w, c, m, report)
	if err != nil {
		return fmt.Errorf("preparing the guest of %q: %w", w.Name, err)
	}
	report.Report(vm.Phase{Name: phaseIsolation})
	if complete && !changed {
		_, err = a.keepReport(ctx, w, <-tried)
	} else {
		cancel()
		_, err = a.check(ctx, w, c)
	}
	return err
}

func (a *App) boot(ctx context.Context, w *config.Workspace, m vm.Machine, report vm.Progress) error {
	if err := isolation.Discard(a.Home.WorkspaceDir(w.Name)); err != nil {
		return err
	}
	// A suspended machine's memory fits the processors and memory it has; others are for its next boot.
	if !m.Suspended && (m.CPU != w.VM.CPU || m.MemoryMiB != w.VM.MemoryMB) {
		if err := a.Driver.Resize(ctx, w.Name, w.VM.CPU, w.VM.MemoryMB); err != nil {
			return fmt.Errorf("changing the resources of %q: %w", w.Name, err)
		}
	}
	files, err := a.seed(w)
	if err != nil {
		return err
	}
	outbox, err := a.ensureSharedOutbox(w)
	if err != nil {
		return err
	}
	phase := "booting"
	if m.Suspended {
		phase = "resuming"
	}
	report.Report(vm.Phase{Name: phase})
	if err := a.Driver.Start(ctx, w.Name, vm.StartOptions{Files: files, Outbox: outbox}, report); err != nil {
		if errors.Is(err, vm.ErrRunning) {
			return nil
		}
		return fmt.Errorf("starting workspace %q: %w", w.Name, err)
	}
	return nil
}

// abandon powers off a machine whose start was cancelled: nothing of worth has happened in it yet.
func (a *App) abandon(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.Driver.Stop(ctx, name, vm.Shutdown{}); err != nil && !errors.Is(err, vm.ErrNotRunning) {
		a.Log.Warn().Str("workspace", name).Err(err).Msg("powering off after a cancelled start")
	}
}

// Stop shuts a workspace's machine down cleanly: in the guest first, by force after a grace period.
func (a *App) Stop(ctx context.Context, name string, p vm.Progress) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	return a.operate(ctx, w.Name, "stop", p, func(ctx context.Context, report vm.Progress) error {
		return a.stop(ctx, w, report)
	})
}

func (a *App) stop(ctx context.Context, w *config.Workspace, report vm.Progress) error {
	how := vm.Shutdown{Grace: a.grace()}
	report.Report(vm.Phase{Name: "asking the guest to shut down"})
	askCtx, cancel := context.WithTimeout(ctx, a.patience())
	client, err := a.Connect(askCtx, w)
	cancel()
	switch {
	case err == nil:
		defer func() { _ = client.Close() }()
		report.Report(vm.Phase{Name: "looking for work at risk"})
		a.SurveyBeforeEnd(ctx, client, w)
		how.Guest = client.PowerOff
	case errors.Is(err, vm.ErrNotFound), errors.Is(err, vm.ErrNotRunning), ctx.Err() != nil:
		return fmt.Errorf("stopping workspace %q: %w", w.Name, err)
	default:
		// A guest that cannot be asked would only be waited for in vain.
		a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("the guest cannot be asked to shut down")
		how.Guest = a.powerOffByAgent(w.Name)
	}
	report.Report(vm.Phase{Name: "shutting down"})
	if err := a.Driver.Stop(ctx, w.Name, how); err != nil {
		return fmt.Errorf("stopping workspace %q: %w", w.Name, err)
	}
	return isolation.Discard(a.Home.WorkspaceDir(w.Name))
}

// askTime bounds the attempt to reach a guest that is to be shut down.
const askTime = 15 * time.Second

// powerOffByAgent asks a guest to shut down over the driver's own channel; nil where there is none.
func (a *App) powerOffByAgent(name string) func(context.Context) error {
	ex, ok := a.Driver.(vm.Execer)
	if !ok {
		return nil
	}
	return func(ctx context.Context) error {
		_, _, err := ex.Exec(ctx, name, []string{"sudo", "-n", "shutdown", "-h", "now"}, nil)
		return err
	}
}

// grace is how long a guest may take to shut down before its machine is powered off.
func (a *App) grace() time.Duration {
	if a.Driver.Info().Capabilities.Emulated {
		return 60 * time.Second
	}
	return 30 * time.Second
}

// Restart stops a workspace's machine if it runs, and starts it.
func (a *App) Restart(ctx context.Context, name string, p vm.Progress) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	return a.operate(ctx, w.Name, "restart", p, func(ctx context.Context, report vm.Progress) error {
		if err := a.stop(ctx, w, report); err != nil && !errors.Is(err, vm.ErrNotRunning) {
			return err
		}
		return a.start(ctx, w, report)
	})
}
