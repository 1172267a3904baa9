package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

var (
	// ErrNotInstalled is returned if an installer has run and the agent is not there.
	ErrNotInstalled = errors.New("it is not installed")
	// ErrRequirement is returned if the guest lacks what an agent needs.
	ErrRequirement = errors.New("the guest lacks what it needs")
)

// InstallAgent installs an agent in a workspace's guest, starting that if need be, and returns what is there afterwards.
// An agent that is there is left as it is, unless again asks for the newest version.
func (a *App) InstallAgent(ctx context.Context, name, id string, again bool, p vm.Progress) (AgentState, error) {
	var s AgentState
	w, ag, err := a.workspaceAgent(name, id)
	if err != nil {
		return s, err
	}
	err = a.withGuest(ctx, w.Name, p, func(ctx context.Context, c *guest.Client, w *config.Workspace) error {
		if err := a.ensureAgent(ctx, c, w, ag, again, p); err != nil {
			return err
		}
		p.Report(vm.Phase{Name: "asking " + ag.Name + " about itself"})
		s = a.RefreshAgent(ctx, c, w, ag)
		return ctx.Err()
	})
	return s, err
}

// install puts the agent into the guest unless it is there, and its permission file unless there is one.
func (a *App) install(ctx context.Context, c guestConn, w *config.Workspace, ag *agent.Agent, p vm.Progress) error {
	return a.ensureAgent(ctx, c, w, ag, false, p)
}

// ensureAgent installs an agent that is not there, or again, with the installer's words as progress, and looks whether
// it is there then.
func (a *App) ensureAgent(
	ctx context.Context, c guestConn, w *config.Workspace, ag *agent.Agent, again bool, p vm.Progress,
) error {
	found, err := a.survey(ctx, c, agent.List{*ag})
	if err != nil {
		return err
	}
	if _, there := found[ag.ID]; !there || again {
		if found, err = a.runInstaller(ctx, c, w, ag, again, p); err != nil {
			return err
		}
	}
	s := a.CachedAgents(w.Name)[ag.ID]
	s.Installed, s.Time = true, time.Now()
	if v := found[ag.ID].Version; v != "" {
		s.Version = v
	}
	a.remember(ctx, w.Name, map[string]AgentState{ag.ID: s})
	return a.writePermissions(ctx, c, w, ag, p)
}

// runInstaller runs an agent's installer in the guest.
func (a *App) runInstaller(
	ctx context.Context, c guestConn, w *config.Workspace, ag *agent.Agent, again bool, p vm.Progress,
) (map[string]agent.Found, error) {
	argv, err := ag.InstallScript(a.Driver.Info().Capabilities.GuestOS, again)
	if err != nil || argv == nil {
		return map[string]agent.Found{}, err
	}
	begun := time.Now()
	phase := "installing " + ag.Name + " in the guest"
	p.Report(vm.Phase{Name: phase})
	said := &lastLines{}
	said.line = func(line string) {
		if line == agent.WaitingMark {
			line = "waiting for another installation in the guest"
		}
		p.Report(vm.Phase{Name: phase, Detail: line})
	}
	exit, err := c.Stream(ctx, guest.Cmd{Argv: argv}, said, said)
	said.flush()
	if err != nil {
		return nil, fmt.Errorf("installing %s: %w", ag.Name, err)
	}
	if exit == agent.ExitMissing {
		if need, ok := said.after(agent.MissingMark); ok {
			name, advice := agent.Missing(need)
			return nil, hint.Wrap(fmt.Errorf("installing %s: it needs %s: %w", ag.Name, name, ErrRequirement), advice)
		}
	}
	if exit == 0 {
		found, err := a.survey(ctx, c, agent.List{*ag})
		if err != nil {
			return nil, err
		}
		if _, there := found[ag.ID]; there {
			return found, nil
		}
	}
	return nil, a.installFailed(w, ag, exit, said, begun)
}

// installFailed says why an installer failed: with its last words, and with the destination it was refused, if it was.
func (a *App) installFailed(w *config.Workspace, ag *agent.Agent, exit int, said *lastLines, begun time.Time) error {
	text := fmt.Sprintf("installing %s: its installer ended with exit code %d", ag.Name, exit)
	advice := "Try it by hand in the guest: CALMenu shell " + w.Name
	if host, why := a.refusedSince(w.Name, begun, said.text()); host != "" {
		text = fmt.Sprintf("installing %s: the guest may not reach %s, which %s", ag.Name, host, why)
		advice = allowHint(w.Name, host)
	}
	if last := said.text(); last != "" {
		text += "\n" + last
	}
	return hint.Wrap(fmt.Errorf("%s\n%w", text, ErrNotInstalled), advice)
}

func allowHint(name, host string) string {
	return fmt.Sprintf("To allow it: CALMenu net allow --workspace %s %s", name, host)
}

// refusedSince returns the destination an installer was refused: one journaled since it began, or one it speaks of that
// was refused shortly before, since a guest's repeated attempts are journaled once in a while only.
func (a *App) refusedSince(name string, begun time.Time, said string) (host, why string) {
	events, err := a.Journal.Events()
	if err != nil {
		return "", ""
	}
	for _, e := range events {
		if e.Kind != journal.Connection || e.Workspace != name || e.Time.Before(begun.Add(-toldEvery)) {
			continue
		}
		bare, _, _ := strings.Cut(e.Path, ":")
		spoken := bare != "" && strings.Contains(said, bare)
		// The isolation checks knock at addresses; a package source has a name.
		if spoken || !e.Time.Before(begun) && strings.ContainsFunc(bare, isLetter) {
			host, why = e.Path, e.Detail
			if spoken {
				break
			}
		}
	}
	return session.Printable(host), session.Printable(why)
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// writePermissions writes an agent's permission file where the agent has one and the guest does not. What is there is the
// person's, or the agent's, and stays.
func (a *App) writePermissions(
	ctx context.Context, c guestConn, w *config.Workspace, ag *agent.Agent, p vm.Progress,
) error {
	if ag.Permission == nil {
		return nil
	}
	content, err := ag.Permission.Render(permissionChoice(w, ag))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.answerTime())
	defer cancel()
	res, err := c.Output(ctx, guest.Cmd{
		Argv: ag.Permission.WriteCommand(), Stdin: bytes.NewReader(content), Limit: 4 << 10,
	})
	if err == nil && res.Exit != 0 {
		err = fmt.Errorf("exit code %d: %s", res.Exit, session.Printable(strings.TrimSpace(string(res.Stderr))))
	}
	if err != nil {
		return fmt.Errorf("writing %s in the guest: %w", ag.Permission.Path, err)
	}
	if strings.TrimSpace(string(res.Stdout)) == agent.WrittenMark {
		p.Report(vm.Phase{Name: fmt.Sprintf("wrote %s for %s", ag.Permission.Path, ag.Name)})
	}
	return nil
}

// permissionChoice is what a workspace's vm.yaml says of an agent's permissions.
func permissionChoice(w *config.Workspace, ag *agent.Agent) agent.PermissionChoice {
	own := w.AgentConfig[ag.ID]
	return agent.PermissionChoice{Mode: own.Mode, Allow: own.AllowedTools, Deny: own.DeniedTools}
}

// PermissionMode is the mode an agent's permission file has in a new guest of a workspace; empty: none is set.
func PermissionMode(w *config.Workspace, ag *agent.Agent) string {
	if ag.Permission == nil || ag.Permission.Mode == "" {
		return ""
	}
	if m := permissionChoice(w, ag).Mode; m != "" {
		return m
	}
	return ag.Permission.Value
}

// keptLines is how many of an installer's last lines an error shows.
const keptLines = 8

// lastLines takes a guest's output line by line as plain text, and keeps the last of them. It never fails.
type lastLines struct {
	line func(string) // called with each line that is not empty

	mu   sync.Mutex // a command's two outputs write at the same time
	rest []byte
	kept []string
}

// maxLineBytes is where a line without an end is cut.
const maxLineBytes = 8 << 10

func (l *lastLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		i := bytes.IndexAny(l.rest, "\r\n")
		switch {
		case i >= 0:
			l.take(string(l.rest[:i]))
			l.rest = l.rest[i+1:]
		case len(l.rest) >= maxLineBytes:
			l.take(string(l.rest))
			l.rest = nil
		default:
			return len(b), nil
		}
	}
}

func (l *lastLines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take(string(l.rest))
	l.rest = nil
}

func (l *lastLines) take(raw string) {
	line := plainText(raw)
	if line == "" {
		return
	}
	if l.kept = append(l.kept, line); len(l.kept) > keptLines {
		l.kept = l.kept[1:]
	}
	if l.line != nil {
		l.line(line)
	}
}

// text is the kept lines, each indented and not too long.
func (l *lastLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	short := make([]string, len(l.kept))
	for i, line := range l.kept {
		short[i] = "  " + ansi.Truncate(line, 200, "…")
	}
	return strings.Join(short, "\n")
}

// after returns what follows a mark in the line that begins with it.
func (l *lastLines) after(mark string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.kept {
		if rest, ok := strings.CutPrefix(line, mark); ok {
			return rest, true
		}
	}
	return "", false
}

// plainText is a line of a guest's output without what acts on a terminal: whole control sequences, then what is left of
// control characters.
func plainText(line string) string {
	return strings.TrimRight(session.Printable(ansi.Strip(line)), " ")
}
