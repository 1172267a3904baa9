package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/hint"
)

// autonomous holds the flags of a session nobody sits at.
type autonomous struct {
	on       bool
	deadline time.Duration
}

func (a *autonomous) flags(f *pflag.FlagSet) {
	f.BoolVar(&a.on, "autonomous", false, "let the agent work on --prompt by itself, without a terminal; "+
		"without --prompt, follow the one at work")
	f.DurationVar(&a.deadline, "deadline", 0, "with --autonomous: end the agent after this time "+
		"(default session.autonomous_deadline)")
}

func (c *cmd) runAutonomous(cc *cobra.Command, o app.SessionOptions, a autonomous) error {
	if a.deadline < 0 || cc.Flags().Changed("deadline") && a.deadline == 0 {
		return hint.Wrap(fmt.Errorf("%w: the deadline must be in the future", errUsage), "such as --deadline 2h")
	}
	if c.json {
		return hint.Wrap(fmt.Errorf("%w: the agent's output is text, not JSON", errUsage), "leave out --json")
	}
	p := c.newProgress()
	defer p.Done()
	exit, err := c.app.Autonomous(cc.Context(), app.AutonomousOptions{
		Workspace: o.Workspace, Agent: o.Agent, Prompt: o.Prompt, Deadline: a.deadline, AcceptBroken: o.AcceptBroken,
	}, &clearingAll{p: p, w: c.streams.Out}, p.Report)
	p.Done()
	if err != nil {
		return err
	}
	if exit == app.DeadlineExit {
		_, _ = fmt.Fprintln(c.streams.Err, "The agent was ended at its deadline.")
	}
	if exit != 0 {
		return guestExit(exit)
	}
	return nil
}

// clearingAll writes results to any stream, after clearing the progress line of the terminal they may share.
type clearingAll struct {
	p *progress
	w io.Writer
}

func (w *clearingAll) Write(b []byte) (int, error) {
	w.p.Done()
	return w.w.Write(b)
}
