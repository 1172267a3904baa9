package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// SessionOptions say how a session begins.
type SessionOptions struct {
	Workspace string
	Agent     string // identifier; empty: the workspace's own
	Prompt    string // handed to the agent; empty: none
	Yes       bool   // no launch confirmation
	// AcceptBroken launches although isolation is broken.
	AcceptBroken bool
	Colour       bool
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
	w, err := a.Workspace(o.Workspace)
	if err != nil {
		return session.Outcome{}, err
	}
	ag, err := a.agentOf(w, o.Agent)
	if err != nil {
		return session.Outcome{}, err
	}
	argv, err := ag.LaunchCommand(o.Prompt, false)
	if err != nil {
		return session.Outcome{}, err
	}
	if err := a.Start(ctx, w.Name, p); err != nil {
		return session.Outcome{}, err
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		return session.Outcome{}, err
	}
	defer func() { _ = c.Close() }()
	if c, err = a.confirm(ctx, t, c, w, ag, o, p); err != nil {
		return session.Outcome{}, err
	}
	keepCtx, stopKeeping := context.WithCancel(ctx)
	defer stopKeeping()
	go a.keepUnlessKept(keepCtx, w.Name)

	running, err := session.Running(ctx, c, ag.ID)
	if err != nil {
		return session.Outcome{}, err
	}
	if !running {
		// A session that is joined has its snapshot already; one taken now would hold its half-done work.
		if w.Snapshots.AutoOnSessionStart {
			if err := a.SessionSnapshot(ctx, c, w, p); err != nil {
				return session.Outcome{}, fmt.Errorf("taking the session snapshot: %w", err)
			}
			if c, err = a.afterSnapshot(ctx, w, c); err != nil {
				return session.Outcome{}, err
			}
		}
		if err := a.install(ctx, c, w, ag, p); err != nil {
			return session.Outcome{}, err
		}
	}
	// Also for a session that is joined: the keychain locks itself when it is left alone.
	if err := a.provisionSession(ctx, w, c, ag); err != nil {
		return session.Outcome{}, err
	}
	return a.attachUntilEnd(ctx, t, c, w, ag, argv, p)
}

func (a *App) attach(
	ctx context.Context, t Terminal, c *guest.Client, w *config.Workspace, ag *agent.Agent, argv []string,
) (session.Outcome, error) {
	id := journal.NewID()
	begin := journal.Event{Kind: journal.SessionBegin, Workspace: w.Name, Op: id, Agent: ag.ID}
	if err := a.Journal.Append(begin); err != nil {
		return session.Outcome{}, err
	}
	env := map[string]string{"CAL_VM": "true", "CAL_WORKSPACE": w.Name}
	for _, k := range []string{"COLORTERM", "NO_COLOR"} {
		if v := os.Getenv(k); v != "" {
			env[k] = v
		}
	}
	term := os.Getenv("TERM")
	if term == "" {
		term = "xterm-256color"
	}
	t.Ready()
	out, err := session.Attach(ctx, c, t.TTY, session.Options{Name: ag.ID, Argv: argv, Env: env, Term: term})
	end := journal.Event{Kind: journal.SessionEnd, Workspace: w.Name, Op: id, Agent: ag.ID, Exit: out.Exit}
	if out.Detached {
		end.Detail = "detached"
	}
	return out, errors.Join(err, a.Journal.Append(end))
}

// keepUnlessKept looks after the workspace while the session lasts, unless the menu-bar agent does.
func (a *App) keepUnlessKept(ctx context.Context, name string) {
	for ctx.Err() == nil {
		if err := a.Keep(ctx, name, Hooks{}); err != nil && !errors.Is(err, ErrKept) && ctx.Err() == nil {
			a.Log.Warn().Str("workspace", name).Err(err).Msg("keeping")
		}
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
		}
	}
}

// confirm shows the launch confirmation until it is answered, and refuses a launch without proven isolation. It returns
// the connection to go on with: a backup may have cost the one it was given.
func (a *App) confirm(
	ctx context.Context, t Terminal, c *guest.Client, w *config.Workspace, ag *agent.Agent, o SessionOptions, p vm.Progress,
) (*guest.Client, error) {
	for {
		f, err := a.sessionFacts(ctx, c, w, ag)
		if err != nil {
			return c, err
		}
		if f.Level == isolation.Broken && !o.AcceptBroken {
			return c, hint.Wrap(fmt.Errorf("launching %s in %q: %w: %s", ag.Name, w.Name, ErrBroken, f.Reason),
				"CALMenu isolation "+w.Name+" shows the evidence. To launch all the same: --i-accept-no-isolation")
		}
		if o.Yes {
			return c, nil
		}
		choice, err := session.Ask(t.TTY, t.Out, f, o.Colour)
		if err != nil {
			return c, err
		}
		switch choice {
		case session.Launch:
			return c, nil
		case session.BackupFirst:
			s, err := a.TakeSnapshot(ctx, w.Name, snapshot.Snapshot{Reason: "before launching " + ag.Name}, p)
			if err != nil {
				return c, err
			}
			if c, err = a.afterSnapshot(ctx, w, c); err != nil {
				return c, err
			}
			if _, err := fmt.Fprintf(t.Out, "Snapshot %q taken.\n", s.Name); err != nil {
				return c, fmt.Errorf("writing to the terminal: %w", err)
			}
		case session.Quit:
			return c, ErrDeclined
		}
	}
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

// reposScript prints "name<TAB>branch" for each repository in ~/workspace.
const reposScript = `for d in "$HOME"/workspace/*/.git; do [ -e "$d" ] || continue; r=${d%/.git}
printf '%s\t%s\n' "${r##*/}" "$(git -C "$r" symbolic-ref --short -q HEAD || echo detached)"; done`

func (a *App) sessionFacts(
	ctx context.Context, c *guest.Client, w *config.Workspace, ag *agent.Agent,
) (session.Facts, error) {
	s, err := a.State(ctx)
	if err != nil {
		return session.Facts{}, err
	}
	ws, _ := s.Find(w.Name)
	f := session.Facts{
		Workspace: w.Name, Agent: ag.Name, Now: s.Time,
		VM:    strings.TrimSpace("running for " + humanize.RelTime(ws.Since, s.Time, "", "")),
		Level: ws.Isolation.Level, Reason: ws.Isolation.Reason, Passed: ws.Isolation.Passed, Total: ws.Isolation.Total,
	}
	for _, sn := range ws.Snapshots {
		if sn.Kind != snapshot.Undo {
			f.LastBackup, f.BackupKind = sn.Created, sn.Name
			break
		}
	}
	res, err := c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", reposScript}, Limit: 16 << 10})
	if err != nil {
		return f, fmt.Errorf("listing the guest's repositories: %w", err)
	}
	for line := range strings.Lines(string(res.Stdout)) {
		name, branch, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if ok {
			f.Repositories = append(f.Repositories, session.Printable(fmt.Sprintf("%s (branch %s)", name, branch)))
		}
	}
	return f, nil
}
