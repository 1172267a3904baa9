package app

import (
	"context"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/snapshot"
)

// confirm shows the launch confirmation until it is answered, and refuses a launch without proven isolation.
func (r *sessionRun) confirm(ctx context.Context) error {
	for {
		if err := r.provenOrAccepted(ctx, r.w, r.ag, r.o.AcceptBroken); err != nil {
			return err
		}
		if r.o.Yes {
			return nil
		}
		f, err := r.facts(ctx)
		if err != nil {
			return err
		}
		answer, err := session.Confirm(ctx, r.t.TTY, r.t.Out, f, r.o.Colour)
		if err != nil {
			return err
		}
		switch answer.Choice {
		case session.Launch:
			return nil
		case session.SwitchAgent:
			if r.ag, err = r.agentOf(r.w, answer.Agent); err != nil {
				return err
			}
			if _, err := r.ag.LaunchCommand(r.o.Prompt, false); err != nil {
				return err
			}
		case session.SignIn:
			if err := r.offerSignIn(ctx); err != nil {
				return err
			}
		case session.BackupFirst:
			if err := r.backup(ctx); err != nil {
				return err
			}
		case session.Quit:
			return ErrDeclined
		}
	}
}

// LaunchFacts are what a launch of an agent (empty: the workspace's own) confirms, of a VM that runs. It refuses what a
// session would: a launch without proven isolation. There is nothing to confirm (ok is false) about an agent at work.
func (a *App) LaunchFacts(ctx context.Context, workspace, agentID string) (f session.Facts, ok bool, err error) {
	w, ag, err := a.workspaceAgent(workspace, agentID)
	if err != nil {
		return f, false, err
	}
	if err := a.provenOrAccepted(ctx, w, ag, false); err != nil {
		return f, false, err
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		return f, false, err
	}
	defer func() { _ = c.Close() }()
	running, err := session.Running(ctx, c, ag.ID)
	if err != nil || running {
		return f, false, err
	}
	r := &sessionRun{App: a, w: w, ag: ag, c: c, acts: &sessionActions{App: a, w: w}}
	f, err = r.facts(ctx)
	return f, err == nil, err
}

// offerSignIn has the agent sign in, with the link opened on the host. One that fails is told of, and the confirmation is
// shown again.
func (r *sessionRun) offerSignIn(ctx context.Context) error {
	err := r.install(ctx, r.c, r.w, r.ag, r.p)
	if err == nil {
		_, err = r.signIn(ctx, r.c, r.w, r.ag, r.t, r.o.Desk, r.p)
	}
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	text := "Not signed in: " + session.Printable(err.Error()) + "\n"
	if h := hint.Of(err); h != "" {
		text += session.Printable(h) + "\n"
	}
	if _, err := fmt.Fprint(r.t.Out, text); err != nil {
		return fmt.Errorf("writing to the terminal: %w", err)
	}
	return nil
}

func (r *sessionRun) backup(ctx context.Context) error {
	s, err := r.takeSnapshotOver(ctx, r.c, r.w.Name, snapshot.Snapshot{Reason: "before launching " + r.ag.Name}, r.p)
	if err != nil {
		return err
	}
	if r.c, err = r.afterSnapshot(ctx, r.w, r.c); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(r.t.Out, "Snapshot %q taken.\n", s.Name); err != nil {
		return fmt.Errorf("writing to the terminal: %w", err)
	}
	return nil
}

// reposScript prints "name<TAB>branch" for each repository in ~/workspace.
const reposScript = `for d in "$HOME"/workspace/*/.git; do [ -e "$d" ] || continue; r=${d%/.git}
printf '%s\t%s\n' "${r##*/}" "$(git -C "$r" symbolic-ref --short -q HEAD || echo detached)"; done`

// facts are what the confirmation shows, read just now.
func (r *sessionRun) facts(ctx context.Context) (session.Facts, error) {
	s, err := r.State(ctx)
	if err != nil {
		return session.Facts{}, err
	}
	ws, _ := s.Find(r.w.Name)
	f := session.Facts{
		Workspace: r.w.Name, Agent: r.ag.Name, Now: s.Time,
		VM:    strings.TrimSpace("running for " + humanize.RelTime(ws.Since, s.Time, "", "")),
		Level: ws.Isolation.Level, Reason: ws.Isolation.Reason, Passed: ws.Isolation.Passed, Total: ws.Isolation.Total,
		AgentAuth: r.knownAuth(r.w.Name, r.ag),
	}
	f.CanSignIn = len(r.ag.Auth.Login) > 0 && f.AgentAuth != session.AuthSignedIn
	for _, sn := range ws.Snapshots {
		if sn.Kind != snapshot.Undo {
			f.LastBackup, f.BackupKind = sn.Created, sn.Name
			break
		}
	}
	r.acts.attached(r.c, r.ag)
	if f.Agents, err = r.acts.Agents(ctx); err != nil {
		return f, err
	}
	res, err := r.c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", reposScript}, Limit: 16 << 10})
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

// knownAuth is what was last known of an agent's account, without asking the guest: an agent's own program may take many
// seconds to answer. It is empty for an agent that has none.
func (a *App) knownAuth(workspace string, ag *agent.Agent) string {
	if len(ag.Auth.Check) == 0 && len(ag.Auth.Login) == 0 {
		return ""
	}
	switch a.CachedAgents(workspace)[ag.ID].Auth {
	case agent.SignedIn:
		return session.AuthSignedIn
	case agent.SignedOut:
		return session.AuthSignedOut
	}
	return session.AuthUnknown
}
