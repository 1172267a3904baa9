package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// agent shows and changes the coding agents of a workspace.
func (c *cmd) agent() *cobra.Command {
	cc := &cobra.Command{
		Use: "agent", Short: "The coding agents: list, install, sign in, choose",
		Long: `An agent lives in a workspace's guest. It is installed there when it is first launched, or by install; it is signed
in there, with its own sign-in. AGENT is an identifier as list shows it.`,
	}
	cc.AddCommand(c.agentList(), c.agentStatus(), c.agentInstall(), c.agentLogin(), c.agentLogout(), c.agentDefault())
	return cc
}

// agentNames completes a first argument with the agents there are, and a second with the workspaces.
func (c *cmd) agentNames(cc *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return c.workspaceNames(cc, args[1:], s)
	}
	a, err := app.Open(app.Options{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer func() { _ = a.Close() }()
	var ids []string
	for _, ag := range a.Agents() {
		ids = append(ids, ag.ID+"\t"+ag.Name)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// agentRow is an agent as list shows it.
type agentRow struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	Homepage       string          `json:"homepage,omitempty"`
	Notes          string          `json:"notes,omitempty"`
	Custom         bool            `json:"custom,omitempty"`
	Default        bool            `json:"default,omitempty"`
	PermissionFile string          `json:"permission_file,omitempty"`
	PermissionMode string          `json:"permission_mode,omitempty"`
	State          *app.AgentState `json:"state,omitempty"` // nil: never asked
}

func (c *cmd) agentList() *cobra.Command {
	var check bool
	cc := &cobra.Command{
		Use: "list [WORKSPACE]", Short: "List the agents, and which a workspace has", Args: cobra.MaximumNArgs(1),
		Long: `List the agents a workspace can run: the version its guest has, whether it is signed in as far as was asked, and the
file its permissions are proposed in at the first launch. A guest that is not running is not started: what was last
known is shown. The workspace's own agent is marked with *.`,
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().BoolVar(&check, "check", false, "ask each installed agent now whether it is signed in")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		var found app.AgentsReport
		err := c.quietly(func(p vm.Progress) error {
			var err error
			found, err = c.app.ReportAgents(cc.Context(), arg(args, 0), check, p)
			return err
		})
		if err != nil {
			return err
		}
		rows := make([]agentRow, 0, len(c.app.Agents()))
		for _, ag := range c.app.Agents() {
			r := agentRow{
				ID: ag.ID, Name: ag.Name, Homepage: ag.Homepage, Notes: ag.Notes, Custom: ag.Custom,
				Default: ag.ID == found.Default,
			}
			if ag.Permission != nil {
				r.PermissionFile, r.PermissionMode = ag.Permission.Path, found.Modes[ag.ID]
			}
			if s, ok := found.States[ag.ID]; ok {
				r.State = &s
			}
			rows = append(rows, r)
		}
		return c.print(rows, table("  AGENT\tNAME\tINSTALLED\tSIGN-IN\tPERMISSIONS", func(yield func(string) bool) {
			for _, r := range rows {
				if !yield(r.text()) {
					return
				}
			}
		}))
	}
	return cc
}

func (r agentRow) text() string {
	mark, name, installed, signIn := "  ", r.Name, "?", ""
	if r.Default {
		mark = "* "
	}
	if r.Custom {
		name += " (your own)"
	}
	if s := r.State; s != nil {
		installed, signIn = "no", ""
		if s.Installed {
			installed, signIn = "yes", signInText(*s)
			if s.Version != "" {
				installed = s.Version
			}
		}
	}
	permissions := r.PermissionFile
	if r.PermissionMode != "" {
		permissions += " (" + r.PermissionMode + ")"
	}
	return strings.TrimRight(strings.Join([]string{mark + r.ID, name, installed, signIn, permissions}, "\t"), "\t")
}

// signInText says what is known of a sign-in, and since when.
func signInText(s app.AgentState) string {
	switch {
	case s.AuthTime.IsZero() && s.Auth == agent.Unknown:
		return "not asked yet"
	case time.Since(s.AuthTime) < time.Minute:
		return s.Auth.String()
	}
	return s.Auth.String() + ", " + humanize.Time(s.AuthTime)
}

// sayState prints an agent's state in one line.
func (c *cmd) sayState(ag *agent.Agent, s app.AgentState) error {
	return c.print(s, func(w io.Writer) error {
		line := ag.Name + " is not installed"
		if s.Installed {
			line = strings.TrimSpace(ag.Name+" "+s.Version) + ": " + s.Auth.String()
			if s.Auth == agent.Unknown {
				line = strings.TrimSpace(ag.Name+" "+s.Version) + " is installed; whether it is signed in is not known"
			}
		}
		if s.Detail != "" {
			line += " (" + s.Detail + ")"
		}
		_, err := fmt.Fprintln(w, printable(line))
		return err
	})
}

func (c *cmd) agentStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status [AGENT] [WORKSPACE]", Short: "Ask an agent whether it is signed in", Args: cobra.MaximumNArgs(2),
		Long: `Ask the guest whether an agent is installed, in which version, and the agent itself whether it is signed in. The exit
code is 0 if it is, 1 if it is not or that is not known.`,
		ValidArgsFunction: c.agentNames,
		RunE: func(cc *cobra.Command, args []string) error {
			return c.withAgent(args, func(w, id string, ag *agent.Agent, p vm.Progress) error {
				s, err := c.app.AskAgent(cc.Context(), w, id, p)
				if err != nil {
					return err
				}
				if err := c.sayState(ag, s); err != nil {
					return err
				}
				if s.Auth != agent.SignedIn {
					return guestExit(exitFailed)
				}
				return nil
			})
		},
	}
}

// withAgent resolves the arguments AGENT and WORKSPACE, both of which may be left out, and runs f with a progress line.
func (c *cmd) withAgent(args []string, f func(w, id string, ag *agent.Agent, p vm.Progress) error) error {
	w, err := c.app.Workspace(arg(args, 1))
	if err != nil {
		return err
	}
	id := arg(args, 0)
	if id == "" {
		id = w.Agent
	}
	ag, err := c.app.Agents().Get(id)
	if err != nil {
		return err
	}
	p := c.newProgress()
	defer p.Done()
	return f(w.Name, id, ag, func(ph vm.Phase) { p.Report(ph) })
}

func (c *cmd) agentInstall() *cobra.Command {
	var update bool
	cc := &cobra.Command{
		Use: "install AGENT [WORKSPACE]", Short: "Install an agent in the guest", Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.agentNames,
	}
	cc.Flags().BoolVar(&update, "update", false, "install the newest version although the agent is there")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		return c.agentState(args, func(ctx context.Context, w, id string, p vm.Progress) (app.AgentState, error) {
			return c.app.InstallAgent(ctx, w, id, update, p)
		})(cc)
	}
	return cc
}

// agentState runs something that ends in an agent's state, and prints that.
func (c *cmd) agentState(
	args []string, f func(ctx context.Context, w, id string, p vm.Progress) (app.AgentState, error),
) func(*cobra.Command) error {
	return func(cc *cobra.Command) error {
		var s app.AgentState
		var which *agent.Agent
		err := c.withAgent(args, func(w, id string, ag *agent.Agent, p vm.Progress) error {
			var err error
			which = ag
			s, err = f(cc.Context(), w, id, p)
			return err
		})
		if err != nil {
			return err
		}
		return c.sayState(which, s)
	}
}

func (c *cmd) agentLogin() *cobra.Command {
	cc := &cobra.Command{
		Use: "login AGENT [WORKSPACE]", Short: "Sign an agent in, with its own sign-in", Args: cobra.RangeArgs(1, 2),
		Long: `Run the agent's own sign-in in this terminal. The link it prints is copied to this machine's clipboard, and opened in
its browser if it leads to one of the agent's own sites.`,
		ValidArgsFunction: c.agentNames,
	}
	cc.RunE = func(cc *cobra.Command, args []string) error {
		if !c.interactive() {
			return hint.Errorf("Run it in a terminal: CALMenu agent login "+strings.Join(args, " "), "signing in needs a terminal")
		}
		desk, _ := desktop.Detect(os.Getenv)
		if desk != nil {
			defer func() { _ = desk.Close() }()
		}
		p := c.newProgress()
		defer p.Done()
		t := app.Terminal{TTY: c.streams.In, Out: &clearing{p: p, f: c.streams.Out.(*os.File)}, Ready: p.Done}
		s, err := c.app.SignIn(cc.Context(), t, arg(args, 1), args[0], desk, p.Report)
		p.Done()
		if err != nil {
			return err
		}
		ag, err := c.app.Agents().Get(args[0])
		if err != nil {
			return err
		}
		return c.sayState(ag, s)
	}
	return cc
}

func (c *cmd) agentLogout() *cobra.Command {
	return &cobra.Command{
		Use: "logout AGENT [WORKSPACE]", Short: "Sign an agent out", Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.agentNames,
		RunE: func(cc *cobra.Command, args []string) error {
			return c.agentState(args, c.app.SignOut)(cc)
		},
	}
}

func (c *cmd) agentDefault() *cobra.Command {
	var global bool
	cc := &cobra.Command{
		Use: "default AGENT [WORKSPACE]", Short: "Choose the agent that is launched", Args: cobra.RangeArgs(1, 2),
		Long: `Choose the agent that Launch and session start in a workspace; with --global in every workspace that does not say
otherwise. It is the setting "agent" of vm.yaml and config.yaml.`,
		ValidArgsFunction: c.agentNames,
	}
	cc.Flags().BoolVar(&global, "global", false, "for every workspace that does not say otherwise")
	cc.RunE = func(_ *cobra.Command, args []string) error {
		if global && len(args) > 1 {
			return fmt.Errorf("%w: a workspace or --global, not both", errUsage)
		}
		name := ""
		if !global {
			w, err := c.app.Workspace(arg(args, 1))
			if err != nil {
				return err
			}
			name = w.Name
		}
		if err := c.app.SetDefaultAgent(name, args[0]); err != nil {
			return err
		}
		if global {
			return c.say("%s is the agent of every workspace that does not say otherwise.", args[0])
		}
		return c.say("%s is the agent of %s.", args[0], name)
	}
	return cc
}
