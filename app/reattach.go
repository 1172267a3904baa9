package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// attachUntilEnd shows the agent in the terminal until it ends or is left, and again whenever the connection was lost and
// the VM comes back: after a rollback, a restart, or a host that slept. next is the agent to go on with, if the person
// chose another one.
func (r *sessionRun) attachUntilEnd(ctx context.Context) (out session.Outcome, next *agent.Agent, err error) {
	id, err := r.begin()
	if err != nil {
		return out, nil, err
	}
	defer func() { err = errors.Join(err, r.end(id, out)) }()
	r.acts.attached(r.c, r.ag)
	r.t.Ready()
	con, err := session.Open(r.t.TTY, r.consoleOptions(ctx, id))
	if err != nil {
		return out, nil, err
	}
	defer func() { err = errors.Join(err, con.Close()) }()
	followCtx, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	silences := make(chan time.Time)
	go r.followStatus(followCtx, r.w.Name, r.ag.Name, silences, lasting{note: r.noter(id)}, con.SetStatus)
	go r.learnAuth(followCtx, r.c, r.ag)
	for {
		out, err = r.attach(ctx, con, silences)
		switch {
		case out.SwitchTo != "":
			next, err = r.agentOf(r.w, out.SwitchTo)
			return out, next, err
		case out.Stopped || ctx.Err() != nil:
			return out, nil, err
		case r.c.Err() == nil && !out.RolledBack:
			return out, nil, err
		}
		err = con.Await(ctx, "the connection to the VM was lost; waiting", func(ctx context.Context) error {
			fresh, err := r.comeBack(ctx, r.w, nil)
			if err != nil {
				return err
			}
			_ = r.c.Close()
			r.c = fresh
			return nil
		})
		if errors.Is(err, session.ErrGivenUp) || errors.Is(err, session.ErrHangup) {
			return session.Outcome{Detached: true}, nil, nil
		}
		if err != nil {
			return out, nil, err
		}
		r.acts.attached(r.c, r.ag)
	}
}

// attach shows the agent over the present connection, and tells silences whether the guest answers over it. What was told last
// holds until the next connection: that this one ended is no answer.
func (r *sessionRun) attach(
	ctx context.Context, con *session.Console, silences chan<- time.Time,
) (session.Outcome, error) {
	argv, err := r.ag.LaunchCommand(r.o.Prompt, false)
	if err != nil {
		return session.Outcome{}, err
	}
	watchCtx, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	tell := func(since time.Time) {
		select {
		case silences <- since:
		case <-watchCtx.Done():
		}
	}
	go func(c *guest.Client) {
		tell(time.Time{})
		c.WatchSilence(watchCtx, tell)
	}(r.c)
	return con.Attach(ctx, r.c, session.Options{
		Name: r.ag.ID, Argv: agent.InGuest(argv), Env: r.environment(), Term: terminalType(),
	})
}

func terminalType() string {
	if t := os.Getenv("TERM"); t != "" {
		return t
	}
	return "xterm-256color"
}

// noter journals what happens to the session.
func (r *sessionRun) noter(id string) func(kind journal.Kind, text string) {
	workspace, agentID := r.w.Name, r.ag.ID
	return func(kind journal.Kind, text string) {
		err := r.Journal.Append(journal.Event{Kind: kind, Workspace: workspace, Op: id, Agent: agentID, Detail: text})
		if err != nil {
			r.Log.Warn().Err(err).Msg("journaling a session")
		}
	}
}

func (r *sessionRun) consoleOptions(ctx context.Context, id string) session.ConsoleOptions {
	cfg := r.w.Session
	note := r.noter(id)
	status := session.Status{Level: session.LevelChanging, Workspace: r.w.Name, Agent: r.ag.Name, Mode: "state unknown"}
	if s, err := r.State(ctx); err == nil {
		status = bannerStatus(s, r.w.Name, r.ag.Name, time.Time{})
	}
	return session.ConsoleOptions{
		Actions: r.acts, Status: status, Term: terminalType(), Colour: r.o.Colour, Banner: cfg.Banner, Prefix: cfg.PrefixByte(),
		ClipboardWrite: cfg.ClipboardWrite, ClipboardMax: int(cfg.ClipboardMax), QuietAfter: cfg.QuietAfter,
		OnWaiting: func(text string) { note(journal.SessionWaiting, text) },
		OnActive:  func() { note(journal.SessionActive, "") },
		OnDenied: func(what string) {
			r.Log.Info().Str("workspace", r.w.Name).Str("agent", r.ag.ID).Str("what", what).Msg("refused to the terminal")
		},
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
		case x.Operation != nil && !metGuest(*x.Operation):
			idle = time.Time{}
			p.Report(vm.Phase{Name: "waiting for the VM: " + x.Operation.String()})
		case x.Operation != nil || x.Life == state.Running:
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

// metGuest tells whether an operation has met the guest again: what it still has to do needs nobody to wait for it.
func metGuest(op state.Operation) bool {
	return op.Phase == phaseClock || op.Phase == phaseSetup || op.Phase == phaseIsolation
}

// authAge is how old an answer about an agent's account may be before a session asks again.
const authAge = 12 * time.Hour

// learnAuth asks an agent whether it is signed in, beside the session: its own program may take long to answer. The next
// confirmation and the selector show what it said.
func (r *sessionRun) learnAuth(ctx context.Context, c *guest.Client, ag *agent.Agent) {
	if len(ag.Auth.Check) == 0 || time.Since(r.CachedAgents(r.w.Name)[ag.ID].AuthTime) < authAge {
		return
	}
	r.RefreshAgent(ctx, c, r.w, ag)
}
