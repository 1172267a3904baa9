package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

func (c *cmd) session() *cobra.Command {
	var o app.SessionOptions
	var auto autonomous
	var disposable bool
	cc := &cobra.Command{
		Use: "session [WORKSPACE]", Short: "Open the agent in this terminal", Args: cobra.MaximumNArgs(1),
		Long: `Start the workspace if need be, show the launch confirmation, take the session snapshot, and attach this terminal to
the agent. Closing the terminal leaves the agent running; the same command attaches again. The exit code is the
agent's own.

With --disposable the workspace is a new one, which is deleted when the agent ends, unless it is kept. What the agent
left in its output folder lands first; with --yes the workspace goes only if no work in it is at risk.`,
		ValidArgsFunction: c.workspaceNames,
	}
	f := cc.Flags()
	f.StringVar(&o.Agent, "agent", "", "another agent than the workspace's own (see: CALMenu agent list)")
	f.StringVar(&o.Prompt, "prompt", "", "a first prompt for the agent")
	auto.flags(f)
	f.BoolVar(&o.Yes, "yes", false, "launch without asking")
	f.BoolVar(&c.pauseOnError, "pause", false, "wait for Enter after an error")
	f.BoolVar(&o.AcceptBroken, "i-accept-no-isolation", false, "launch although isolation is not proven")
	networkFlags(cc)
	f.BoolVar(&disposable, "disposable", false, "in a new workspace that is deleted at the end, unless it is kept")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		o.Workspace = arg(args, 0)
		if disposable {
			if !auto.on && !c.interactive() {
				return errNoTerminal()
			}
			if err := c.newDisposable(cc, &o); err != nil {
				return err
			}
		}
		if err := c.setNetwork(cc, o.Workspace); err != nil {
			return err
		}
		if auto.on {
			err := c.runAutonomous(cc, o, auto)
			if disposable {
				err = errors.Join(err, c.endDisposable(cc, o.Workspace))
			}
			return err
		}
		return c.runSession(cc, o)
	}
	return cc
}

// newDisposable makes the workspace of a session that is to leave nothing behind.
func (c *cmd) newDisposable(cc *cobra.Command, o *app.SessionOptions) error {
	return c.quietly(func(p vm.Progress) (err error) {
		o.Workspace, err = c.app.NewDisposable(cc.Context(), o.Workspace, o.Agent, p)
		return err
	})
}

// endDisposable deletes the workspace of an agent that worked alone, unless work would go with it. An agent that was
// interrupted leaves it as it is.
func (c *cmd) endDisposable(cc *cobra.Command, name string) error {
	if cc.Context().Err() != nil {
		return nil
	}
	var gone bool
	err := c.quietly(func(p vm.Progress) (err error) {
		gone, err = c.app.EndDisposable(cc.Context(), name, p)
		return err
	})
	if err == nil && !gone {
		_, err = fmt.Fprintf(c.streams.Err, "Workspace %q stays: work in it is at risk (CALMenu risk %[1]s).\n", name)
	}
	return err
}

func errNoTerminal() error {
	return hint.Errorf("Without a terminal, run single commands: CALMenu exec WORKSPACE -- COMMAND",
		"a session needs a terminal for its input and output")
}

func (c *cmd) keep() *cobra.Command {
	return &cobra.Command{
		Use: "keep WORKSPACE", Short: "Keep a disposable workspace", Args: cobra.ExactArgs(1),
		Long:              "Keep a workspace made by session --disposable: it is no longer deleted when its session ends.",
		ValidArgsFunction: c.workspaceNames,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.app.KeepWorkspace(args[0]); err != nil {
				return err
			}
			return c.say("Workspace %q stays.", args[0])
		},
	}
}

func (c *cmd) shell() *cobra.Command {
	cc := &cobra.Command{
		Use: "shell [WORKSPACE]", Short: "Open a shell in the guest in this terminal", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().BoolVar(&c.pauseOnError, "pause", false, "wait for Enter after an error")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		return c.runSession(cc, app.SessionOptions{Workspace: arg(args, 0), Agent: "shell", Yes: true})
	}
	return cc
}

func (c *cmd) runSession(cc *cobra.Command, o app.SessionOptions) error {
	if !c.interactive() {
		return errNoTerminal()
	}
	o.Colour = c.colour()
	o.Desk, _ = desktop.Detect(os.Getenv)
	p := c.newProgress()
	// Phases and the confirmation share the terminal: a phase's line is cleared before anything else is written.
	out := &clearing{p: p, f: c.streams.Out.(*os.File)}
	outcome, err := c.app.Session(cc.Context(), app.Terminal{TTY: c.streams.In, Out: out, Ready: p.Done}, o, p.Report)
	p.Done()
	if err != nil {
		return err
	}
	switch {
	case outcome.Stopped:
		return c.say("The VM was stopped. The same command starts it again.")
	case outcome.Detached:
		return c.say("Detached. The agent goes on in the VM; the same command attaches again.")
	case outcome.Lost:
		return hint.Errorf("If the VM was stopped or rolled back, that was the reason.",
			"the agent ended without an exit code")
	case outcome.Exit != 0:
		return guestExit(outcome.Exit)
	}
	return nil
}

// clearing writes to the terminal after clearing the progress line.
type clearing struct {
	p *progress
	f *os.File
}

func (w *clearing) Write(b []byte) (int, error) {
	w.p.Done()
	return w.f.Write(b)
}

func (c *cmd) exec() *cobra.Command {
	var noTTY bool
	cc := &cobra.Command{
		Use: "exec [WORKSPACE] -- COMMAND [ARG...]", Short: "Run a command in the guest",
		Long: `Run a command in the running guest and end with its exit code. Arguments reach the command as they are: no shell
sees them. On a terminal the command gets one too; standard input, output and error are passed through otherwise.`,
		Args: func(cc *cobra.Command, args []string) error {
			if d := cc.ArgsLenAtDash(); d < 0 || d > 1 || len(args) == d {
				return errors.New("the command to run follows --")
			}
			return nil
		},
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().BoolVar(&noTTY, "no-tty", false, "give the command no terminal")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		d := cc.ArgsLenAtDash()
		name := ""
		if d == 1 {
			name = args[0]
		}
		t := app.ExecStreams{In: c.streams.In, Out: c.streams.Out, Err: c.streams.Err}
		if c.interactive() && !noTTY {
			t.TTY = c.streams.In
		}
		if c.streams.In != nil && !term.IsTerminal(int(c.streams.In.Fd())) {
			t.PassInput = true
		}
		exit, err := c.app.Exec(cc.Context(), name, args[d:], t)
		if err != nil {
			return err
		}
		if exit != 0 {
			return guestExit(exit)
		}
		return nil
	}
	return cc
}

// quietly runs f with a progress line.
func (c *cmd) quietly(f func(p vm.Progress) error) error {
	p := c.newProgress()
	err := f(p.Report)
	p.Done()
	return err
}

func printable(s string) string { return session.Printable(s) }
