package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/bar"
	"github.com/calmenu/calmenu/app/shell"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/statusicon"
	"github.com/calmenu/calmenu/internal/vm"
)

// up does the main job: an agent session in an isolated VM, whatever this machine has to show it on.
func (c *cmd) up() *cobra.Command {
	var story bool
	cc := &cobra.Command{
		Use: "up", Short: "Prepare this machine and open an agent session", Args: cobra.NoArgs,
		Long: `Prepare this machine (base image, first workspace "demo") and open an agent session: on a desktop in a terminal
window, with the icon in the tray; in a terminal right there; without either, play the whole loop once and print
each step, its time, and where things landed.`,
	}
	networkFlags(cc)
	cc.Flags().BoolVar(&story, "story", false, "play the whole loop once, whatever there is to show it on")
	cc.RunE = func(cc *cobra.Command, _ []string) error {
		ctx := cc.Context()
		var name string
		err := c.quietly(func(p vm.Progress) (err error) {
			name, err = c.app.Prepare(ctx, p)
			return err
		})
		if err != nil {
			return err
		}
		if err := c.setNetwork(cc, name); err != nil {
			return err
		}
		desk, why := c.desktop()
		switch {
		case story:
			return c.playStory(ctx, name)
		case desk != nil:
			defer func() { _ = desk.Close() }()
			return c.upOnDesktop(ctx, desk, name)
		case c.interactive():
			if err := c.app.SpawnAgent(); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(c.streams.Err, "No tray: %s. CALMenu looks after %q headless; the session opens here.\n", why, name)
			return c.runSession(cc, app.SessionOptions{Workspace: name})
		}
		return c.playStory(ctx, name)
	}
	return cc
}

func (c *cmd) desktop() (desktop.Desktop, string) {
	term := c.app.Config().Terminal
	var opts []desktop.Option
	if term != "" && term != "auto" {
		opts = append(opts, desktop.WithTerminal(term))
	}
	return desktop.Detect(os.Getenv, opts...)
}

func (c *cmd) upOnDesktop(ctx context.Context, desk desktop.Desktop, name string) error {
	if err := c.app.SpawnAgent(); err != nil {
		return err
	}
	self, err := app.Self()
	if err != nil {
		return err
	}
	err = desk.Terminal(ctx, desktop.TerminalRequest{Title: "CALMenu: " + name, Argv: []string{self, "session", name, "--pause"}})
	if err != nil {
		return fmt.Errorf("opening a terminal: %w", err)
	}
	return c.say("CALMenu is in the tray; a terminal with the session of %q is open.", name)
}

func (c *cmd) playStory(ctx context.Context, name string) error {
	began := time.Now()
	var steps []app.Step
	keepCtx, stop := context.WithCancel(ctx)
	defer stop()
	err := c.quietly(func(p vm.Progress) error {
		return c.app.Story(keepCtx, name, quietUnlessLive(c, p), func(s app.Step) {
			steps = append(steps, s)
			_ = c.say("%7.2f s  %-28s %s", s.Took.Seconds(), s.What, printable(s.Detail))
		})
	})
	if err != nil {
		return err
	}
	if c.json {
		return c.print(steps, nil)
	}
	w, err := c.app.Workspace(name)
	if err != nil {
		return err
	}
	return c.say(`%7.2f s  in all

The VM runs on. Artifacts: %s
In a terminal:  %s session %s    the agent, in the VM
                %s status        what is going on
                %s stop          shuts the VM down`,
		time.Since(began).Seconds(), c.app.OutputDir(w), os.Args[0], name, os.Args[0], os.Args[0])
}

// quietUnlessLive keeps phases off a plain output: there the steps speak for themselves.
func quietUnlessLive(c *cmd, p vm.Progress) vm.Progress {
	if c.interactive() {
		return p
	}
	return nil
}

// menuBar is CALMenu without a verb.
func (c *cmd) menuBar(cc *cobra.Command, _ []string) error {
	desk, why := c.desktop()
	if desk != nil {
		defer func() { _ = desk.Close() }()
	}
	b, err := bar.New(c.app, desk)
	if err != nil {
		return err
	}
	if desk == nil {
		_, _ = fmt.Fprintf(c.streams.Err, "CALMenu runs headless: %s. Stop it with Ctrl-C; VMs run on.\n", why)
		return c.leave(cc.Context(), b.Run(cc.Context(), c.streams.Err))
	}
	tray := statusicon.NewTray(b.Click)
	b.KeepAwake(shell.KeepAwake)
	b.StartAtLogin(shell.LoginItem{})
	b.Show(cc.Context(), tray)
	sh := shell.New(tray, c.app.Rhythm.Tell)
	// A signal ends the tray first, and the tray's end the agent: as a logout does on macOS.
	ctx, cancel := context.WithCancel(context.WithoutCancel(cc.Context()))
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- b.Run(ctx, c.streams.Err)
		sh.Quit()
	}()
	// The main goroutine belongs to the tray.
	err = sh.Run(cc.Context(), func() {}, b.End)
	cancel()
	return c.leave(cc.Context(), errors.Join(<-ended, err))
}

// leave ends the agent, which has come to an end with err: what runs on is looked after.
func (c *cmd) leave(ctx context.Context, err error) error {
	if errors.Is(err, bar.ErrRunning) {
		return nil // whoever starts it twice has what they want
	}
	return errors.Join(err, c.app.LeaveKept(context.WithoutCancel(ctx)))
}
