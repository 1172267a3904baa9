package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
)

// sshStartNote in the file's first lines records that its guests are started on demand, for when the file is written anew.
const sshStartNote = "# VMs that are not running are started (--start).\n"

// SSHConfigFile is where ssh(1)'s view of the workspaces is kept, to be included in ~/.ssh/config.
func (a *App) SSHConfigFile() string { return filepath.Join(a.Home.Dir, "ssh_config") }

func (a *App) sshKnownHostsFile() string { return filepath.Join(a.Home.Dir, "ssh_known_hosts") }

// SSHHost is the name ssh(1) knows a workspace's guest by.
func SSHHost(workspace string) string { return "cal-" + workspace }

// SSHConfig returns the ssh_config(5) of the named workspaces, of all if there are no names. With start, connecting to a
// VM that does not run starts it.
func (a *App) SSHConfig(names []string, start bool) (string, error) {
	if len(names) == 0 {
		var err error
		if names, err = a.Config().Workspaces(); err != nil {
			return "", err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	var b strings.Builder
	b.WriteString("# Made by CALMenu ssh-config, and again whenever a workspace comes or goes: do not edit.\n")
	if line, err := a.includeLine(); err == nil {
		b.WriteString("# Used by this line at the top of ~/.ssh/config (CALMenu ssh-config --install writes it):\n")
		b.WriteString("#   " + line + "\n")
	}
	if start {
		b.WriteString(sshStartNote)
	}
	for _, n := range names {
		w, err := a.Config().Workspace(n)
		if err != nil {
			return "", err
		}
		block, err := a.sshHost(w, self, start)
		if err != nil {
			return "", err
		}
		b.WriteString("\n" + block)
	}
	return b.String(), nil
}

// sshHost is one workspace's block. The first value of each setting counts, so that what stands further down in the
// person's own files cannot loosen what is said here.
func (a *App) sshHost(w *config.Workspace, self string, start bool) (string, error) {
	proxy, err := a.sshProxyCommand(w.Name, self, start)
	if err != nil {
		return "", err
	}
	identity, err := sshPath(filepath.Join(a.identityDir(w.Name), "id_ed25519"))
	if err != nil {
		return "", err
	}
	known, err := sshPath(a.sshKnownHostsFile())
	if err != nil {
		return "", err
	}
	caps := a.Driver.Info().Capabilities
	host := SSHHost(w.Name)
	var b strings.Builder
	fmt.Fprintf(&b, "Host %s\n", host)
	for _, s := range [][2]string{
		{"HostName", host},
		{"User", caps.User},
		{"ProxyCommand", proxy},
		{"IdentityFile", identity},
		{"IdentitiesOnly", "yes"},
		{"IdentityAgent", "none"},
		{"PreferredAuthentications", "publickey"},
		{"UserKnownHostsFile", known},
		{"GlobalKnownHostsFile", "/dev/null"},
		{"HostKeyAlias", host},
		{"StrictHostKeyChecking", "yes"},
		{"UpdateHostKeys", "no"}, // the guest must not add to the keys it is known by
		{"VerifyHostKeyDNS", "no"},
		{"CheckHostIP", "no"},
		{"CanonicalizeHostname", "no"},
		{"Ciphers", strings.Join(guest.Ciphers(caps.Emulated), ",")},
		{"Compression", "no"},
		{"ServerAliveInterval", "15"},
		{"ServerAliveCountMax", "8"}, // a guest under emulation on a busy host is slow to answer
		{"ControlMaster", "no"},
		{"ControlPath", "none"},
		{"ForwardAgent", "no"},
		{"ForwardX11", "no"},
		{"ForwardX11Trusted", "no"},
		{"Tunnel", "no"},
		{"PermitLocalCommand", "no"},
	} {
		fmt.Fprintf(&b, "  %s %s\n", s[0], s[1])
	}
	return b.String(), nil
}

// sshProxyCommand is the command ssh(1) hands to the person's shell, in which % begins a token of ssh's own.
func (a *App) sshProxyCommand(workspace, self string, start bool) (string, error) {
	var words []string
	env := map[string]string{}
	if user, err := os.UserHomeDir(); err != nil || a.Home.Dir != filepath.Join(user, ".cal") {
		env["CAL_HOME"] = a.Home.Dir
	}
	for _, k := range []string{"CAL_DRIVER", "CAL_TART", "TART_HOME"} {
		if v := os.Getenv(k); v != "" {
			env[k] = v
		}
	}
	for _, k := range []string{"CAL_HOME", "CAL_DRIVER", "CAL_TART", "TART_HOME"} {
		if v, ok := env[k]; ok {
			words = append(words, k+"="+v)
		}
	}
	if len(words) > 0 {
		words = append([]string{"/usr/bin/env"}, words...)
	}
	words = append(words, self, "ssh-proxy")
	if start {
		words = append(words, "--start")
	}
	words = append(words, workspace)
	for i, w := range words {
		if strings.ContainsFunc(w, isControl) {
			return "", hint.Errorf("Move it to a path without control characters.", "ssh cannot be told of %q", w)
		}
		words[i] = strings.ReplaceAll(shellWord(w), "%", "%%")
	}
	return strings.Join(words, " "), nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// shellWord is s as one word of the shells ssh(1) may run commands by.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@=%", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// sshPath is a path as the value of a setting that ssh(1) expands.
func sshPath(path string) (string, error) {
	word, err := sshWord(path)
	if err != nil {
		return "", err
	}
	if strings.Contains(path, "${") { // there is no way to say that it is not a variable
		return "", hint.Errorf("Set CAL_HOME to a directory without ${ in its name.", "ssh cannot be told of %q", path)
	}
	return strings.ReplaceAll(word, "%", "%%"), nil
}

// sshWord is s as one argument in ssh_config(5): in quotes, where a backslash keeps quotes and itself from meaning more.
func sshWord(s string) (string, error) {
	if strings.ContainsFunc(s, isControl) {
		return "", hint.Errorf("Set CAL_HOME to a directory without control characters in its name.",
			"ssh cannot be told of %q", s)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, nil
}

// knownHosts is the host keys of all workspaces whose guest has shown one, as sshd(8) describes the file.
func (a *App) knownHosts() ([]byte, error) {
	names, err := a.Config().Workspaces()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("# Made by CALMenu ssh-config: the one host key each guest may show.\n")
	for _, n := range names {
		id, err := guest.EnsureIdentity(a.identityDir(n))
		if err != nil {
			return nil, err
		}
		key, err := a.pinned(id)
		if errors.Is(err, guest.ErrNotPinned) {
			continue // it is met when it is started first
		}
		if err != nil {
			return nil, err
		}
		b.WriteString(SSHHost(n) + " ")
		b.Write(ssh.MarshalAuthorizedKey(key))
	}
	return b.Bytes(), nil
}

// WriteSSHConfig writes the file with all workspaces, and the host keys they are known by.
func (a *App) WriteSSHConfig(ctx context.Context, start bool) error {
	l := flock.New(filepath.Join(a.Home.LocksDir(), "ssh_config.lock"), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if ok, err := l.TryLockContext(ctx, lockPoll); err != nil || !ok {
		return fmt.Errorf("locking ssh's configuration: %w", err)
	}
	defer func() { _ = l.Close() }()
	text, err := a.SSHConfig(nil, start)
	if err != nil {
		return err
	}
	known, err := a.knownHosts()
	if err != nil {
		return err
	}
	for file, data := range map[string][]byte{a.sshKnownHostsFile(): known, a.SSHConfigFile(): []byte(text)} {
		if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, data) {
			continue
		}
		if err := atomicfile.Write(file, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// RefreshSSHConfig writes the file anew if somebody has asked for it before. What hinders it goes to the log: the
// workspace it is about is as well without it.
func (a *App) RefreshSSHConfig() {
	old, err := os.ReadFile(a.SSHConfigFile())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = a.WriteSSHConfig(context.Background(), bytes.Contains(old, []byte(sshStartNote)))
	}
	if err != nil {
		a.Log.Warn().Err(err).Msg("refreshing ssh's configuration")
	}
}
