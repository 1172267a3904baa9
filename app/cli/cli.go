// Package cli is the command line: one cobra command per verb, each a few lines over the application's command of the
// same name.
//
// The rules of the terminal: results go to standard output, everything else to standard error; progress is one line that
// is rewritten on a terminal and one line per step elsewhere; an error is one sentence and, where there is one, a hint
// line; --json prints one document and nothing else.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// The exit codes. `session`, `shell` and `exec` end with the code of what ran in the guest.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2   // the command line or the configuration is wrong
	exitNotFound  = 3   // no such workspace, snapshot, artifact or agent
	exitBroken    = 4   // isolation is not proven
	exitState     = 5   // the machine runs, or does not, or there are too many
	exitDeclined  = 6   // the person said no
	exitCancelled = 130 // Ctrl-C
)

// ExitCodes documents the exit codes, in order.
var ExitCodes = []struct {
	Code    int
	Meaning string
}{
	{exitOK, "success"},
	{exitFailed, "failure"},
	{exitUsage, "the command line or the configuration is wrong"},
	{exitNotFound, "no such workspace, snapshot, artifact or agent"},
	{exitBroken, "isolation is not proven"},
	{exitState, "the machine is running, or is not, or too many are"},
	{exitDeclined, "declined by the person asked"},
	{exitCancelled, "cancelled by Ctrl-C"},
}

// errUsage marks a mistake on the command line.
var errUsage = errors.New("usage")

// guestExit carries the exit code of what ran in the guest to the process's own.
type guestExit int

func (e guestExit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Streams are what a command reads from and writes to.
type Streams struct {
	In       *os.File
	Out, Err io.Writer
}

// cmd is what the commands share.
type cmd struct {
	streams Streams
	json    bool
	app     *app.App
	// pauseOnError keeps a window open that would close on its error message.
	pauseOnError bool
}

// Main runs the command line and returns the process's exit code.
func Main(args []string) int {
	keepInherited()
	return Run(args, Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}

// Run runs one command line on the given streams.
func Run(args []string, s Streams) int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup(1) wants it ignored
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	c := &cmd{streams: s}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if c.app != nil {
		err = errors.Join(err, c.app.Close())
	}
	if err == nil {
		return exitOK
	}
	code := exitCode(ctx, err)
	var ge guestExit
	if !errors.As(err, &ge) {
		c.explain(err, code)
		if c.pauseOnError && code != exitDeclined {
			c.pause()
		}
	}
	return code
}

func exitCode(ctx context.Context, err error) int {
	var ge guestExit
	var problems *config.Problems
	switch {
	case errors.As(err, &ge):
		return int(ge)
	case ctx.Err() != nil:
		return exitCancelled
	case errors.Is(err, errUsage), errors.As(err, &problems):
		return exitUsage
	case errors.Is(err, app.ErrBroken):
		return exitBroken
	case errors.Is(err, app.ErrDeclined):
		return exitDeclined
	case errors.Is(err, vm.ErrRunning), errors.Is(err, vm.ErrNotRunning), errors.Is(err, vm.ErrLimit),
		errors.Is(err, vm.ErrExists):
		return exitState
	case errors.Is(err, vm.ErrNotFound), errors.Is(err, vm.ErrNoSnapshot), errors.Is(err, config.ErrNoWorkspace),
		errors.Is(err, app.ErrNoWorkspace), errors.Is(err, app.ErrNoArtifact), errors.Is(err, agent.ErrUnknown):
		return exitNotFound
	}
	return exitFailed
}

// explain prints an error for people, or as JSON where that was asked for.
func (c *cmd) explain(err error, code int) {
	if c.json {
		doc := map[string]any{"error": err.Error(), "hint": hint.Of(err), "exit": code}
		_ = json.NewEncoder(c.streams.Err).Encode(doc)
		return
	}
	if code == exitCancelled {
		err = errors.New("cancelled")
	}
	// Errors may quote the guest: only text reaches the terminal.
	for line := range splitLines(err.Error()) {
		_, _ = fmt.Fprintf(c.streams.Err, "CALMenu: %s\n", session.Printable(line))
	}
	if h := hint.Of(err); h != "" && code != exitCancelled {
		_, _ = fmt.Fprintf(c.streams.Err, "  %s\n", session.Printable(h))
	}
}

func (c *cmd) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "CALMenu",
		Short: "Run AI coding agents with full permissions inside isolated virtual machines",
		Long: `CALMenu runs AI coding agents with full permissions inside virtual machines they cannot get out of.

Without a verb it is the menu-bar agent (headless where there is no desktop). With one it does the same from
the command line. WORKSPACE may be left out: it is then the current one.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true, SilenceUsage: true,
		Version:           app.Version(),
		RunE:              c.menuBar,
		PersistentPreRunE: c.open,
	}
	root.SetVersionTemplate("CALMenu {{.Version}}\n")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	root.SetFlagErrorFunc(func(cc *cobra.Command, err error) error {
		if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
			err = fmt.Errorf("--%s: not valid %q; expected %s", invalid.GetFlag().Name, invalid.GetValue(), valueOf(invalid.GetFlag()))
		}
		return hint.Wrap(fmt.Errorf("%w: %w", errUsage, err), "See: "+cc.CommandPath()+" --help")
	})
	root.AddCommand(
		c.up(), c.list(), c.status(), c.newWorkspace(), c.start(), c.stop(), c.restart(), c.delete(), c.switchTo(),
		c.session(), c.shell(), c.exec(),
		c.snapshot(), c.rollback(), c.keep(), c.lookAfter(),
		c.sync(), c.artifacts(), c.sign(),
		c.net(),
		c.sshConfig(), c.sshProxy(),
		c.agent(), c.isolation(), c.doctor(), c.config(), c.logs(), c.version(), c.man(),
	)
	root.AddCommand(c.githubVerbs()...)
	wrapArgs(root)
	for _, verb := range root.Commands() {
		offFirstThread(verb)
	}
	return root
}

// offFirstThread has a verb, and those below it, run on a goroutine of its own. The first one is locked to the process's first
// thread, for the tray alone: whatever waits there costs changes of threads each time, which a transfer does some thousand times
// a second.
func offFirstThread(verb *cobra.Command) {
	for _, below := range verb.Commands() {
		offFirstThread(below)
	}
	run := verb.RunE
	if run == nil {
		return
	}
	verb.RunE = func(cc *cobra.Command, args []string) error {
		ended := make(chan error)
		go func() { ended <- run(cc, args) }()
		return <-ended
	}
}

// valueOf says for people what a flag wants.
func valueOf(f *pflag.Flag) string {
	switch kind := f.Value.Type(); kind {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	default:
		return "a " + kind
	}
}

// wrapArgs makes mistakes in arguments usage errors with a hint, in a command and those below it. A command that only
// holds others shows its help, but is not content with one that it does not hold.
func wrapArgs(cc *cobra.Command) {
	if cc.HasSubCommands() && !cc.Runnable() {
		cc.Args = cobra.NoArgs
		cc.RunE = func(cc *cobra.Command, _ []string) error { return cc.Help() }
	}
	if check := cc.Args; check != nil {
		cc.Args = func(cc *cobra.Command, args []string) error {
			if err := check(cc, args); err != nil {
				return hint.Wrap(fmt.Errorf("%w: %w", errUsage, err), usageHint(cc, args, err))
			}
			return nil
		}
	}
	for _, sub := range cc.Commands() {
		wrapArgs(sub)
	}
}

func usageHint(cc *cobra.Command, args []string, err error) string {
	cc.SuggestionsMinimumDistance = 2
	switch near := cc.SuggestionsFor(strings.Join(args, " ")); {
	case hint.Of(err) != "":
		return hint.Of(err)
	case !cc.HasSubCommands():
		return "Usage: " + cc.UseLine()
	case len(near) > 0:
		return "Did you mean " + cc.CommandPath() + " " + near[0] + "? See: " + cc.CommandPath() + " --help"
	}
	return "See: " + cc.CommandPath() + " --help"
}

// needsNoApp lists the commands that work without a readable configuration.
var needsNoApp = map[string]bool{"version": true, "help": true, "completion": true, "man": true, "__complete": true}

func (c *cmd) open(cc *cobra.Command, _ []string) error {
	if needsNoApp[cc.Name()] || cc.Parent() != nil && cc.Parent().Name() == "completion" {
		return nil
	}
	flags := map[string]string{}
	for _, f := range []string{"cpu", "memory", "disk"} {
		if fl := cc.Flags().Lookup(f); fl != nil && fl.Changed {
			flags[f] = fl.Value.String()
		}
	}
	var err error
	c.app, err = app.Open(app.Options{Flags: flags, Keepers: true})
	return err
}

// print writes a result to standard output: as JSON, or as text by the given function.
func (c *cmd) print(v any, text func(io.Writer) error) error {
	if !c.json {
		return text(c.streams.Out)
	}
	enc := json.NewEncoder(c.streams.Out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	return nil
}

// interactive tells whether somebody sits at a terminal.
func (c *cmd) interactive() bool {
	out, ok := c.streams.Out.(*os.File)
	return ok && term.IsTerminal(int(c.streams.In.Fd())) && term.IsTerminal(int(out.Fd()))
}

func (c *cmd) colour() bool {
	return c.interactive() && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
