package isolation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/vm"
)

// Runner runs a command in the guest.
type Runner interface {
	Output(ctx context.Context, c guest.Cmd) (guest.Result, error)
}

// Subject is what the checks are run against.
type Subject struct {
	Driver vm.Driver
	Name   string
	// Outbox is the only host folder that may be shared; empty if none may be.
	Outbox string
	Guest  Runner
	// HostKey is the key pinned for the guest; Identity the public key CALMenu logs in with.
	HostKey, Identity ssh.PublicKey
	User              string
	// Proxy is where CALMenu's forward listens on the guest's loopback: the one way out that must not lead to the host.
	Proxy string
	// Helper is the name of CALMenu's own program in the guest; empty if there is none for it.
	Helper string
	// Weakened lists, as sentences, what the user chose that lets more through than the default.
	Weakened []string
	// AuthorizedKeys are the files that say who may log in to the host; nil is the user's own.
	AuthorizedKeys []string

	// One handshake serves two checks: under emulation each costs half a second.
	once    sync.Once
	manners guest.Manners
	err     error

	// One look at the machine's process serves four: the kernel walks its table of connections for it.
	look       sync.Once
	exposed    vm.Exposure
	exposedErr error
}

var checks = []check{
	{"process", "the virtual machine's process has no rights of its own on the host", checkProcess},
	{"shares", "no host folder is shared but the outbox", checkShares},
	{"network", "the virtual network leads nowhere by itself", checkNetwork},
	{"canary", "a service on the host cannot be reached from inside", checkCanary},
	{"host-key", "the guest is the one whose key was pinned", checkHostKey},
	{"password", "nobody can log in to the guest with a password", checkPassword},
	{"keys", "the guest's key opens nothing on the host", checkKeys},
	{"devices", "clipboard and audio are not connected", checkDevices},
	{"choices", "nothing was weakened by choice", checkChoices},
}

func exposure(ctx context.Context, s *Subject) (vm.Exposure, string) {
	s.look.Do(func() { s.exposed, s.exposedErr = s.Driver.Exposure(ctx, s.Name) })
	if s.exposedErr != nil {
		return s.exposed, fmt.Sprintf("what the machine's process is connected to could not be read: %v", s.exposedErr)
	}
	return s.exposed, ""
}

func checkProcess(ctx context.Context, s *Subject) (Outcome, string, string) {
	e, problem := exposure(ctx, s)
	switch {
	case problem != "":
		return NoProof, problem, ""
	case e.RunsAsRoot:
		return Fail, "the virtual machine's process runs as root", e.Evidence
	}
	for _, l := range e.Listeners {
		host, _, err := net.SplitHostPort(l)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return Fail, fmt.Sprintf("the virtual machine's process accepts connections on %s", l), e.Evidence
		}
	}
	return Pass, "", fmt.Sprintf("not root; accepts connections on %s only", strings.Join(e.Listeners, ", "))
}

func checkShares(ctx context.Context, s *Subject) (Outcome, string, string) {
	e, problem := exposure(ctx, s)
	if problem != "" {
		return NoProof, problem, ""
	}
	for _, sh := range e.Shares {
		if s.Outbox == "" || filepath.Clean(sh.HostPath) != filepath.Clean(s.Outbox) {
			return Fail, fmt.Sprintf("the host folder %q is shared into the guest", sh.HostPath), e.Evidence
		}
	}
	for _, sh := range e.Shares {
		if sh.ServedAsRoot {
			return Weak, "the shared outbox is served to the guest by a program with the rights of root, in a sandbox", e.Evidence
		}
	}
	return Pass, "", fmt.Sprintf("%d shares in: %s", len(e.Shares), e.Evidence)
}

func checkNetwork(ctx context.Context, s *Subject) (Outcome, string, string) {
	e, problem := exposure(ctx, s)
	switch {
	case problem != "":
		return NoProof, problem, ""
	case !e.Restricted:
		return Fail, "the virtual network is not restricted", e.Evidence
	}
	return Pass, "", e.Evidence
}

func checkDevices(ctx context.Context, s *Subject) (Outcome, string, string) {
	e, problem := exposure(ctx, s)
	switch {
	case problem != "":
		return NoProof, problem, ""
	case e.Clipboard:
		return Fail, "the host's clipboard is shared with the guest", e.Evidence
	case e.Audio:
		return Fail, "the host's microphone and speakers are shared with the guest", e.Evidence
	}
	return Pass, "", "neither device on the machine's command line"
}

func (s *Subject) probe(ctx context.Context) (guest.Manners, error) {
	s.once.Do(func() {
		dial := func(ctx context.Context) (net.Conn, error) { return s.Driver.DialSSH(ctx, s.Name) }
		s.manners, s.err = guest.Probe(ctx, dial, s.User, guest.Ciphers(s.Driver.Info().Capabilities.Emulated))
	})
	return s.manners, s.err
}

func checkHostKey(ctx context.Context, s *Subject) (Outcome, string, string) {
	if s.HostKey == nil {
		return NoProof, "no host key was pinned", ""
	}
	m, err := s.probe(ctx)
	if err != nil {
		return NoProof, fmt.Sprintf("the guest's host key could not be read: %v", err), ""
	}
	ev := fmt.Sprintf("pinned %s, met %s", ssh.FingerprintSHA256(s.HostKey), ssh.FingerprintSHA256(m.HostKey))
	if !bytes.Equal(m.HostKey.Marshal(), s.HostKey.Marshal()) {
		return Fail, "the guest shows another host key than the one pinned", ev
	}
	return Pass, "", ev
}

func checkPassword(ctx context.Context, s *Subject) (Outcome, string, string) {
	m, err := s.probe(ctx)
	switch {
	case err != nil:
		return NoProof, fmt.Sprintf("the guest's ways to log in could not be read: %v", err), ""
	case len(m.Offered) > 0:
		return Fail, fmt.Sprintf("the guest accepts log-in by %s", strings.Join(m.Offered, " and ")), ""
	}
	return Pass, "", fmt.Sprintf("log-in as %s without a key: neither password nor keyboard-interactive is offered", s.User)
}

func checkKeys(_ context.Context, s *Subject) (Outcome, string, string) {
	files := s.AuthorizedKeys
	if files == nil {
		home, err := os.UserHomeDir()
		if err != nil {
			return NoProof, fmt.Sprintf("the home directory is not known: %v", err), ""
		}
		files = []string{filepath.Join(home, ".ssh", "authorized_keys"), filepath.Join(home, ".ssh", "authorized_keys2")}
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return NoProof, fmt.Sprintf("%s could not be read: %v", f, err), ""
		}
		for line := range bytes.Lines(b) {
			k, _, _, _, err := ssh.ParseAuthorizedKey(line)
			if err != nil {
				continue
			}
			for _, own := range []ssh.PublicKey{s.Identity, s.HostKey} {
				if own != nil && bytes.Equal(k.Marshal(), own.Marshal()) {
					return Fail, fmt.Sprintf("a key of this workspace is allowed to log in to the host by %s", f), string(line)
				}
			}
		}
	}
	return Pass, "", fmt.Sprintf("in none of %s", strings.Join(files, ", "))
}

func checkChoices(_ context.Context, s *Subject) (Outcome, string, string) {
	if len(s.Weakened) == 0 {
		return Pass, "", "the configuration lets through nothing beyond the default"
	}
	return Weak, s.Weakened[0], strings.Join(s.Weakened, "; ")
}

// settle is how long a canary may take to hear of a connection that was under way when the guest's attempt ended.
const settle = 200 * time.Millisecond
