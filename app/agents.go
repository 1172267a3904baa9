package app

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// install puts the agent into the guest unless it is there. The person sees what the installer prints.
func (a *App) install(ctx context.Context, t Terminal, c *guest.Client, ag *agent.Agent, p vm.Progress) error {
	there, err := a.installed(ctx, c, ag)
	if err != nil || there {
		return err
	}
	argv, err := ag.InstallCommand(a.Driver.Info().Capabilities.GuestOS)
	if err != nil {
		return err
	}
	if argv == nil {
		return nil
	}
	p.Report(vm.Phase{Name: "installing " + ag.Name + " in the guest"})
	// The installer's output comes from the guest: only its text reaches the terminal.
	show := &printableWriter{w: t.Out}
	exit, err := c.Stream(ctx, guest.Cmd{Argv: argv}, show, show)
	if err != nil {
		return fmt.Errorf("installing %s: %w", ag.Name, err)
	}
	if exit == 0 {
		if there, err = a.installed(ctx, c, ag); err == nil && there {
			return nil
		}
	}
	return hint.Errorf("CALMenu shell opens a shell in the guest, where it can be tried by hand.",
		"installing %s: its installer ended with exit code %d and the agent is not there", ag.Name, exit)
}

func (a *App) installed(ctx context.Context, c *guest.Client, ag *agent.Agent) (bool, error) {
	if len(ag.Probe) == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, argv := range ag.Probe {
		res, err := c.Output(ctx, guest.Cmd{Argv: argv, Limit: 64 << 10})
		if err != nil {
			return false, fmt.Errorf("looking for %s in the guest: %w", ag.Name, err)
		}
		if res.Exit == 0 {
			return true, nil
		}
	}
	return false, nil
}

// printableWriter passes on text alone, line by line.
type printableWriter struct {
	w    io.Writer
	rest []byte
}

func (w *printableWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	for {
		i := strings.IndexAny(string(w.rest), "\r\n")
		if i < 0 {
			if len(w.rest) < 8<<10 {
				return len(b), nil
			}
			i = len(w.rest) - 1
		}
		line := session.Printable(string(w.rest[:i]))
		w.rest = w.rest[i+1:]
		if line == "" {
			continue
		}
		if _, err := io.WriteString(w.w, line+"\n"); err != nil {
			return 0, fmt.Errorf("writing to the terminal: %w", err)
		}
	}
}
