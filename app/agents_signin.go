package app

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// SignIn runs an agent's own sign-in in the terminal, installing the agent first if need be, and asks it afterwards
// whether it is signed in. The sign-in link it prints is copied on the host, and opened there if it leads to one of the
// agent's own sites; desk is the host's desktop, or nil.
func (a *App) SignIn(
	ctx context.Context, t Terminal, name, id string, desk desktop.Desktop, p vm.Progress,
) (AgentState, error) {
	var s AgentState
	w, ag, err := a.workspaceAgent(name, id)
	if err != nil {
		return s, err
	}
	if err := canSignIn(ag); err != nil {
		return s, err
	}
	err = a.withGuest(ctx, w.Name, p, func(ctx context.Context, c *guest.Client, w *config.Workspace) error {
		if err := a.install(ctx, c, w, ag, p); err != nil {
			return err
		}
		var err error
		s, err = a.signIn(ctx, c, w, ag, t, desk, p)
		return err
	})
	return s, err
}

func canSignIn(ag *agent.Agent) error {
	if len(ag.Auth.Login) > 0 {
		return nil
	}
	advice := fmt.Sprintf("set agents.%s.auth_command in config.yaml", ag.ID)
	if ag.Notes != "" {
		advice = ag.Notes
	}
	return hint.Errorf(advice, "signing in to %s: it has no command for that", ag.Name)
}

// signIn runs an installed agent's sign-in over a connection that is there.
func (a *App) signIn(
	ctx context.Context, c guestConn, w *config.Workspace, ag *agent.Agent, t Terminal, desk desktop.Desktop, p vm.Progress,
) (AgentState, error) {
	if ag.Auth.Advice != "" {
		if _, err := fmt.Fprintln(t.Out, ag.Auth.Advice); err != nil {
			return AgentState{}, fmt.Errorf("writing to the terminal: %w", err)
		}
	}
	begun := time.Now()
	t.Ready()
	h := &linkHandler{ag: ag, copies: w.Session.ClipboardWrite, desk: desk, log: a, work: make(chan string, 4)}
	var wg sync.WaitGroup
	wg.Go(func() { h.handOn(ctx) })
	exit, err := session.RunPTY(ctx, &watchedGuest{Guest: c, h: h}, t.TTY, guest.Cmd{
		Argv: agent.InGuest(ag.Auth.Login), Env: terminalEnv(w),
	})
	close(h.work)
	wg.Wait()
	if err != nil {
		return AgentState{}, fmt.Errorf("signing in to %s: %w", ag.Name, err)
	}
	p.Report(vm.Phase{Name: "asking " + ag.Name + " whether it is signed in"})
	s := a.RefreshAgent(ctx, c, w, ag)
	if host, why := a.refusedSince(w.Name, begun, ""); s.Auth != agent.SignedIn && host != "" {
		return s, hint.Errorf(allowHint(w.Name, host), "signing in to %s: the guest may not reach %s, which %s", ag.Name, host, why)
	}
	if exit != 0 && s.Auth != agent.SignedIn {
		return s, hint.Errorf("Try again: CALMenu agent login "+ag.ID+" "+w.Name,
			"signing in to %s: its own command ended with exit code %d, and it is %s", ag.Name, exit, s.Auth)
	}
	return s, ctx.Err()
}

// terminalEnv is what a program on a terminal is told of where it is.
func terminalEnv(w *config.Workspace) map[string]string {
	env := map[string]string{"CAL_VM": "true", "CAL_WORKSPACE": w.Name, "TERM": "xterm-256color"}
	for _, k := range []string{"TERM", "COLORTERM", "NO_COLOR"} {
		if v := os.Getenv(k); v != "" {
			env[k] = v
		}
	}
	return env
}

// watchedGuest lets a linkHandler see what a program writes to its terminal.
type watchedGuest struct {
	session.Guest
	h *linkHandler
}

func (g *watchedGuest) PTY(ctx context.Context, c guest.Cmd, t guest.Terminal) (int, error) {
	g.h.out = t.Out
	g.h.links = &agent.Links{Found: g.h.found, Width: func() int {
		cols, _ := t.Size()
		return cols
	}}
	t.Out = g.h
	exit, err := g.Guest.PTY(ctx, c, t)
	g.h.links.Flush()
	return exit, err
}

// linkHandler passes a sign-in's output on to the terminal, says below it what becomes of a link in it, and hands the
// link on to the host. The guest chooses the link, so: it is told before anything is done, no more than two are taken,
// and it is opened by itself only where it leads to the agent's own sites.
type linkHandler struct {
	ag     *agent.Agent
	copies bool // the clipboard may be written
	desk   desktop.Desktop
	log    *App
	out    io.Writer
	links  *agent.Links
	work   chan string

	notices       []string
	pending       []string
	copied, opens bool
}

func (h *linkHandler) Write(b []byte) (int, error) {
	if _, err := h.out.Write(b); err != nil {
		return 0, fmt.Errorf("writing to the terminal: %w", err)
	}
	_, _ = h.links.Write(b)
	if len(h.notices) > 0 && h.links.Idle() {
		for _, n := range h.notices {
			if _, err := io.WriteString(h.out, "\r\n"+n+"\r\n"); err != nil {
				return 0, fmt.Errorf("writing to the terminal: %w", err)
			}
		}
		for _, link := range h.pending {
			h.work <- link
		}
		h.notices, h.pending = nil, nil
	}
	return len(b), nil
}

// found decides about a link: the first is copied, the first to the agent's own sites copied and opened.
func (h *linkHandler) found(link string) {
	own := h.ag.Auth.Opens(link)
	if h.opens || h.copied && !own {
		return
	}
	h.copied, h.opens = true, own
	host := link
	if u, err := url.Parse(link); err == nil {
		host = u.Host
	}
	notice := "[CALMenu] sign-in link to " + session.Printable(ansi.Truncate(host, 60, "…")) + ": "
	switch {
	case h.desk == nil:
		notice += "open it in a browser on this machine"
	case own && h.copies:
		notice += "copied, and opened in the browser"
	case own:
		notice += "opened in the browser"
	case h.copies:
		notice += "copied; not opened, since it is not one of " + h.ag.Name + "'s known sites"
	default:
		notice += "not opened, since it is not one of " + h.ag.Name + "'s known sites"
	}
	if agent.ReturnsToLoopback(link) {
		notice += ".\r\n[CALMenu] Afterwards the browser is sent to localhost, where only the VM listens: " +
			"if that page fails, paste its address or the code here"
	}
	h.notices = append(h.notices, notice+".")
	if h.desk != nil {
		h.pending = append(h.pending, link)
	}
}

// handOn copies and opens the links that were told of, until there are no more.
func (h *linkHandler) handOn(ctx context.Context) {
	for link := range h.work {
		func() {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			if h.copies {
				if err := h.desk.CopyText(ctx, link); err != nil {
					h.log.Log.Warn().Err(err).Msg("copying a sign-in link")
				}
			}
			if h.ag.Auth.Opens(link) {
				if err := h.desk.Open(ctx, link); err != nil {
					h.log.Log.Warn().Err(err).Msg("opening a sign-in link")
				}
			}
		}()
	}
}

// SignOut runs an agent's own sign-out and asks it afterwards.
func (a *App) SignOut(ctx context.Context, name, id string, p vm.Progress) (AgentState, error) {
	var s AgentState
	w, ag, err := a.workspaceAgent(name, id)
	if err != nil {
		return s, err
	}
	if len(ag.Auth.Logout) == 0 {
		return s, hint.Errorf(fmt.Sprintf("set agents.%s.logout_command in config.yaml, or remove its files in %s", ag.ID,
			ag.ConfigDir), "signing out of %s: it has no command for that", ag.Name)
	}
	err = a.withGuest(ctx, w.Name, p, func(ctx context.Context, c *guest.Client, w *config.Workspace) error {
		p.Report(vm.Phase{Name: "signing out of " + ag.Name})
		res, err := a.ask(ctx, c, ag.Auth.Logout)
		if err == nil && res.Exit != 0 {
			err = fmt.Errorf("exit code %d: %s", res.Exit, plainText(string(res.Stderr)))
		}
		if err != nil {
			return fmt.Errorf("signing out of %s: %w", ag.Name, err)
		}
		s = a.RefreshAgent(ctx, c, w, ag)
		return ctx.Err()
	})
	return s, err
}

// SetDefaultAgent makes an agent the one that is launched: in one workspace, or with an empty name wherever nothing else
// is said.
func (a *App) SetDefaultAgent(name, id string) error {
	if _, err := a.Agents().Get(id); err != nil {
		return err
	}
	file := a.Home.ConfigFile()
	if name != "" {
		if _, err := a.Workspace(name); err != nil {
			return err
		}
		file = a.Home.VMFile(name)
	}
	if err := a.Config().Set(file, "agent", id); err != nil {
		return fmt.Errorf("choosing the agent: %w", err)
	}
	return a.Reload()
}
