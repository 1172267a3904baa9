package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/vm"
)

// introduceScript lets CALMenu in by key and shuts the door for passwords. Its standard input is the public key. The
// image's stock password is public knowledge; it must not be a way in for one moment longer.
const introduceScript = `set -e
umask 077
mkdir -p "$HOME/.ssh" "$HOME/workspace" "$HOME/output"
key=$(cat)
touch "$HOME/.ssh/authorized_keys"
grep -qxF "$key" "$HOME/.ssh/authorized_keys" || printf '%s\n' "$key" >>"$HOME/.ssh/authorized_keys"
printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\n' |
  sudo -n tee /etc/ssh/sshd_config.d/000-calmenu.conf >/dev/null
if [ -e /System/Library/LaunchDaemons/ssh.plist ]; then sudo -n launchctl kickstart -k system/com.openssh.sshd || true
elif command -v systemctl >/dev/null; then sudo -n systemctl reload ssh || true; fi`

// introduce meets a guest that no key could be put into before its first boot: over the driver's own channel, which needs
// neither network nor password, it puts the workspace's key in and pins the host key.
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
	for {
		report.Report(vm.Phase{Name: "waiting for the guest agent"})
		_, exit, err := ex.Exec(ctx, w.Name, []string{"sh", "-c", introduceScript}, strings.NewReader(string(id.AuthorizedKey())))
		if err == nil && exit == 0 {
			// The guest agent answers, so this goes through it too, not over the network.
			caps := a.Driver.Info().Capabilities
			dial := func(ctx context.Context) (net.Conn, error) { return a.Driver.DialSSH(ctx, w.Name) }
			m, err := guest.Probe(ctx, dial, caps.User, guest.Ciphers(caps.Emulated))
			if err != nil {
				return fmt.Errorf("reading the guest's host key: %w", err)
			}
			return id.PinHost(m.HostKey)
		}
		if err == nil {
			err = fmt.Errorf("setting up the guest's log-in: exit code %d", exit)
		}
		if errors.Is(err, vm.ErrNotRunning) {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("meeting the guest: %w", errors.Join(ctx.Err(), err))
		}
	}
}
