package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// attachUntilEnd attaches the terminal to the agent, and again whenever the connection was lost and the VM comes back: after
// a rollback, a restart, or a host that slept.
func (a *App) attachUntilEnd(
	ctx context.Context, t Terminal, c *guest.Client, w *config.Workspace, ag *agent.Agent, argv []string, p vm.Progress,
) (session.Outcome, error) {
	for {
		out, err := a.attach(ctx, t, c, w, ag, argv)
		if c.Err() == nil || ctx.Err() != nil {
			return out, err
		}
		fresh, backErr := a.comeBack(ctx, w, p)
		if backErr != nil {
			return out, backErr
		}
		_ = c.Close()
		c = fresh
	}
}

// settleTime is how long a stopped VM may stay without an operation in flight before it counts as stopped for good.
const settleTime = 3 * time.Second

// comeBack waits for a workspace whose connection was lost, and returns a new one. A VM that was stopped ends the wait.
func (a *App) comeBack(ctx context.Context, w *config.Workspace, p vm.Progress) (*guest.Client, error) {
	p.Report(vm.Phase{Name: "the connection to the VM was lost; waiting for it to come back"})
	var idle time.Time
	for {
		s, err := a.State(ctx)
		if err != nil {
			return nil, err
		}
		x, ok := s.Find(w.Name)
		switch {
		case !ok:
			return nil, fmt.Errorf("workspace %q was deleted: %w", w.Name, vm.ErrNotFound)
		case x.Operation != nil:
			idle = time.Time{}
			p.Report(vm.Phase{Name: "waiting for the VM: " + x.Operation.String()})
		case x.Life == state.Running:
			idle = time.Time{}
			c, err := a.Connect(ctx, w)
			if err == nil {
				return c, nil
			}
			var other *guest.HostKeyError
			if errors.As(err, &other) {
				return nil, err
			}
		case idle.IsZero():
			idle = time.Now()
		case time.Since(idle) > settleTime:
			return nil, hint.Wrap(fmt.Errorf("the VM of %q was stopped: %w", w.Name, vm.ErrNotRunning),
				"Go on with: CALMenu session "+w.Name)
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %q to come back: %w", w.Name, ctx.Err())
		}
	}
}
