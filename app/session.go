package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// SessionOptions say how a session begins.
type SessionOptions struct {
	Workspace string
	Agent     string // identifier; empty: the workspace's own
	Prompt    string // handed to the agent; empty: none
	Yes       bool   // no questions: neither before the launch nor after the end
	// AcceptBroken launches although isolation is broken.
	AcceptBroken bool
	Colour       bool
	// Desk is where a pull request's address is copied to; nil where there is none.
	Desk desktop.Desktop
}

// Terminal is where a session takes place.
type Terminal struct {
	TTY *os.File
	Out io.Writer
	// Ready is called when the agent is about to take the terminal over.
	Ready func()
}

var (
	// ErrBroken is returned where isolation is not proven and the user has not accepted that.
	ErrBroken = errors.New("isolation is not proven")
	// ErrDeclined is returned if the person chose not to launch.
	ErrDeclined = errors.New("not launched")
)

// Session starts the workspace, asks for confirmation, takes the session snapshot, and attaches the terminal to the
// agent until it ends or is detached. The outcome holds the agent's own exit code.
func (a *App) Session(ctx context.Context, t Terminal, o SessionOptions, p vm.Progress) (session.Outcome, error) {
	w, ag, err := a.workspaceAgent(o.Workspace, o.Agent)
	if err != nil {
		return session.Outcome{}, err
	}
	if _, err := ag.LaunchCommand(o.Prompt, false); err != nil {
		return session.Outcome{}, err
	}
	if err := a.Start(ctx, w.Name, p); err != nil {
		return session.Outcome{}, err
	}
	r := &sessionRun{App: a, t: t, o: o, p: p, w: w, ag: ag, acts: &sessionActions{App: a, w: w, desk: o.Desk}}
	if r.c, err = a.Connect(ctx, w); err != nil {
		return session.Outcome{}, err
	}
	out, discard, err := r.run(ctx)
	_ = r.c.Close()
	if !discard {
		a.leaveKept(ctx, w.Name)
	}
	if err == nil && discard {
		err = a.discard(ctx, w.Name, p)
	}
	return out, err
}

// run is the session from its confirmation to its end, and tells whether the workspace goes with it.
func (r *sessionRun) run(ctx context.Context) (out session.Outcome, discard bool, err error) {
	keepCtx, stopKeeping := context.WithCancel(ctx)
	defer stopKeeping()
	go r.keepUnlessKept(keepCtx, r.w.Name)
	if err := r.confirm(ctx); err != nil {
		return out, false, err
	}
	for {
		if err := r.ready(ctx); err != nil {
			return session.Outcome{}, false, err
		}
		begun := time.Now()
		var next *agent.Agent
		if out, next, err = r.attachUntilEnd(ctx); err != nil {
			return out, false, err
		}
		if next == nil {
			refusedErr := r.tellRefused(out, begun)
			discard, err = r.afterEnd(ctx, out)
			return out, discard, errors.Join(refusedErr, err)
		}
		// Another agent was chosen; the one before goes on in the VM. A first prompt was for that one.
		r.ag, r.o.Prompt = next, ""
	}
}

// sessionRun is one session as it goes on: which agent is attached, over which connection.
type sessionRun struct {
	*App
	t    Terminal
	o    SessionOptions
	p    vm.Progress
	w    *config.Workspace
	ag   *agent.Agent
	c    *guest.Client
	acts *sessionActions
}

// ready sees that the agent can be attached to: unless it is at work already, the session snapshot is taken and the agent
// installed.
func (r *sessionRun) ready(ctx context.Context) error {
	running, err := session.Running(ctx, r.c, r.ag.ID)
	if err != nil {
		return err
	}
	if running {
		// It has its snapshot already; one taken now would hold its half-done work. What it needs of the guest at each
		// session is seen to again: a keychain locks itself when it is left alone.
		return r.provisionSession(ctx, r.w, r.c, r.ag, r.p)
	}
	if r.w.Snapshots.AutoOnSessionStart {
		if err := r.SessionSnapshot(ctx, r.c, r.w, r.p); err != nil {
			return fmt.Errorf("taking the session snapshot: %w", err)
		}
		if r.c, err = r.afterSnapshot(ctx, r.w, r.c); err != nil {
			return err
		}
	}
	if err := r.install(ctx, r.c, r.w, r.ag, r.p); err != nil {
		return err
	}
	return r.provisionSession(ctx, r.w, r.c, r.ag, r.p)
}

// afterSnapshot returns the connection to go on with after a snapshot: where the machine had to be stopped for it, this is
// another boot and needs another one.
func (a *App) afterSnapshot(ctx context.Context, w *config.Workspace, c *guest.Client) (*guest.Client, error) {
	if a.Driver.Info().Capabilities.LiveSnapshot {
		return c, nil
	}
	fresh, err := a.Connect(ctx, w)
	if err != nil {
		return c, err
	}
	return fresh, c.Close()
}

// keepUnlessKept looks after the workspace while the session lasts, unless the menu-bar agent does, or a process that was left
// with it: that one goes on when the session is left.
func (a *App) keepUnlessKept(ctx context.Context, name string) {
	for ctx.Err() == nil {
		if a.held(name, keeperLock) {
			a.Log.Debug().Str("workspace", name).Msg("a process was left with it")
		} else if err := a.Keep(ctx, name, Hooks{}); err != nil && !errors.Is(err, ErrKept) && ctx.Err() == nil {
			a.Log.Warn().Str("workspace", name).Err(err).Msg("keeping")
		}
		select {
		case <-time.After(keepPause):
		case <-ctx.Done():
		}
	}
}

// begin journals that a terminal is attached to the agent, and returns the session's identifier.
func (r *sessionRun) begin() (string, error) {
	id := journal.NewID()
	return id, r.Journal.Append(journal.Event{Kind: journal.SessionBegin, Workspace: r.w.Name, Op: id, Agent: r.ag.ID})
}

func (r *sessionRun) end(id string, out session.Outcome) error {
	e := journal.Event{Kind: journal.SessionEnd, Workspace: r.w.Name, Op: id, Agent: r.ag.ID, Exit: out.Exit}
	if out.Detached {
		e.Detail = "detached"
	}
	return r.Journal.Append(e)
}

// environment is what the agent is started with.
func (r *sessionRun) environment() map[string]string {
	env := map[string]string{"CAL_VM": "true", "CAL_WORKSPACE": r.w.Name}
	for _, k := range []string{"COLORTERM", "NO_COLOR"} {
		if v := os.Getenv(k); v != "" {
			env[k] = v
		}
	}
	return env
}

// tellRefused says what an agent that failed was refused on its way out: its own words about that are gone with its screen.
func (r *sessionRun) tellRefused(out session.Outcome, begun time.Time) error {
	if out.Detached || out.Exit == 0 {
		return nil
	}
	host, why := r.refusedSince(r.w.Name, begun, "")
	if host == "" {
		return nil
	}
	bare, _, _ := strings.Cut(host, ":")
	_, err := fmt.Fprintf(r.t.Out, "%s ended with exit code %d. It was refused %s, which %s.\n%s\n", r.ag.Name, out.Exit, host, why,
		allowHint(r.w.Name, bare))
	if err != nil {
		return fmt.Errorf("writing to the terminal: %w", err)
	}
	return nil
}

// afterEnd asks what becomes of the agent's work once it has ended by itself, and of a disposable workspace, whether it
// goes. Where nobody is to be asked, that one goes if nothing in it is at risk.
func (r *sessionRun) afterEnd(ctx context.Context, out session.Outcome) (discard bool, err error) {
	silent, disposable := r.o.Yes || r.w.Session.OnExit == "keep", r.w.Session.Disposable
	if out.Detached || out.Lost || out.Stopped || silent && !disposable || ctx.Err() != nil {
		return false, nil
	}
	risk, err := r.acts.RollbackRisk(ctx)
	if err != nil {
		risk = session.Risk{Unknown: err.Error()}
	}
	if silent {
		discard = risk.None()
	} else {
		answer, err := session.AskExit(ctx, r.t.TTY, r.t.Out, r.acts, risk, session.ExitOptions{
			Workspace: r.w.Name, Agent: r.ag.Name, Colour: r.o.Colour, Disposable: disposable,
		})
		if err != nil {
			return false, err
		}
		discard = answer.Discard
	}
	if disposable && !discard {
		err = r.tell("Workspace %q stays. CALMenu keep %[1]s keeps it for good, CALMenu delete %[1]s deletes it.", r.w.Name)
	}
	return discard, err
}
