package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/provision"
	"github.com/calmenu/calmenu/internal/vm"
)

// channel runs commands over a driver's own channel, before there is SSH.
type channel struct {
	ex   vm.Execer
	name string
}

// Output implements provision.Shell.
func (c channel) Output(ctx context.Context, cmd guest.Cmd) (guest.Result, error) {
	out, exit, err := c.ex.Exec(ctx, c.name, cmd.Argv, cmd.Stdin)
	return guest.Result{Stdout: out, Exit: exit}, err
}

// introduce meets a guest that no key could be put into before its first boot: over the driver's own channel, which
// needs neither network nor password, it puts the workspace's key in, shuts the door for passwords, and pins the host
// key. The image's stock password is public knowledge; it must not be a way in for one moment longer.
func (a *App) introduce(ctx context.Context, w *config.Workspace, report vm.Progress) error {
	if a.Driver.Info().Capabilities.SeedFiles {
		return nil
	}
	id, err := guest.EnsureIdentity(a.identityDir(w.Name))
	if err != nil {
		return err
	}
	if _, err := id.Pinned(); err == nil {
		return nil
	} else if !errors.Is(err, guest.ErrNotPinned) {
		return err
	}
	ex, ok := a.Driver.(vm.Execer)
	if !ok {
		return fmt.Errorf("meeting the guest: the driver %s neither seeds keys nor runs commands: %w",
			a.Driver.Info().Name, vm.ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, a.bootTime())
	defer cancel()
	r, err := a.provisioner(ctx, w, channel{ex, w.Name}, "", provision.First)
	if err != nil {
		return err
	}
	if err := a.meet(ctx, r, w.Name, report); err != nil {
		return err
	}
	// The guest agent answers, so this goes through it too, not over the network.
	caps := a.Driver.Info().Capabilities
	dial := func(ctx context.Context) (net.Conn, error) { return a.Driver.DialSSH(ctx, w.Name) }
	m, err := guest.Probe(ctx, dial, caps.User, guest.Ciphers(caps.Emulated))
	if err != nil {
		return fmt.Errorf("reading the guest's host key: %w", err)
	}
	return id.PinHost(m.HostKey)
}

// patience is how often a step of a guest that is still booting may fail.
const patience = 5

// meet runs the first steps until the guest agent answers and they hold.
func (a *App) meet(ctx context.Context, r *provision.Runner, name string, report vm.Progress) error {
	for failures := 0; ; {
		report.Report(vm.Phase{Name: "waiting for the guest agent"})
		_, err := r.Run(ctx, report)
		var failed *provision.StepError
		switch {
		case err == nil:
			return nil
		case errors.Is(err, vm.ErrNotRunning):
			return err
		case errors.As(err, &failed):
			if failures++; failures >= patience {
				return a.setupFailed(name, err)
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("meeting the guest: %w", errors.Join(ctx.Err(), err))
		}
	}
}
