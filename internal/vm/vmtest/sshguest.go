package vmtest

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHGuestOptions describe a sandbox that plays the guest.
type SSHGuestOptions struct {
	// Home is the directory that is the guest user's home; made if missing.
	Home    string
	HostKey ssh.Signer
	// Memory is a directory for what the guest does not keep on its disk: CAL_GUEST_MEMORY of its commands, unless empty.
	Memory string
	// Authorized open the guest, beside those of Home/.ssh/authorized_keys as it is at each login.
	Authorized []ssh.PublicKey
	// User is the account's name; empty accepts any. Password, unless empty, opens the guest too.
	User, Password string
	// OnPowerOff is called once after a command of the guest ran poweroff, halt, reboot or shutdown. May be nil.
	OnPowerOff func()
}

// SSHGuest is an SSH server on a loopback port that runs commands on this host in a sandbox: HOME is a directory of the
// test, CAL_VM is "true", and the programs that would change a machine (sudo, poweroff, apt-get, ...) are harmless
// stand-ins found first in PATH. It serves exec, shell, env, PTYs, window changes, signals, SFTP and remote forwards.
// It is a test's stand-in, not a boundary: only commands the test itself sends may be run in it.
type SSHGuest struct {
	options  SSHGuestOptions
	config   *ssh.ServerConfig
	listener net.Listener
	bin      string // stand-in programs
	off      string // appears when the guest wants to power off

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	once   sync.Once // OnPowerOff
}

// StartSSHGuest serves home as a guest until the test ends and returns a function that dials it.
func StartSSHGuest(t testing.TB, home string, hostKey ssh.Signer, authorized ssh.PublicKey) (
	dial func(ctx context.Context) (net.Conn, error),
) {
	t.Helper()
	o := SSHGuestOptions{Home: home, HostKey: hostKey}
	if authorized != nil {
		o.Authorized = []ssh.PublicKey{authorized}
	}
	g, err := NewSSHGuest(o)
	if err != nil {
		t.Fatalf("starting SSH guest: %v", err)
	}
	t.Cleanup(func() {
		g.Close()
		g.Wait()
	})
	return g.Dial
}

// NewSSHGuest starts a guest. Close ends it.
func NewSSHGuest(o SSHGuestOptions) (*SSHGuest, error) {
	g := &SSHGuest{options: o}
	if err := os.MkdirAll(o.Home, 0o700); err != nil {
		return nil, fmt.Errorf("making guest home: %w", err)
	}
	dir, err := os.MkdirTemp("", "calguest")
	if err != nil {
		return nil, fmt.Errorf("making guest programs: %w", err)
	}
	g.bin, g.off = filepath.Join(dir, "bin"), filepath.Join(dir, "poweroff")
	if err := writeStandIns(g.bin); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	g.config = &ssh.ServerConfig{PublicKeyCallback: g.checkKey, MaxAuthTries: 20}
	if o.Password != "" {
		g.config.PasswordCallback = g.checkPassword
	}
	g.config.AddHostKey(o.HostKey)
	if g.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, errors.Join(fmt.Errorf("listening: %w", err), os.RemoveAll(dir))
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	context.AfterFunc(g.ctx, func() { g.listener.Close() })
	g.tasks.Go(g.accept)
	return g, nil
}

// Addr is the loopback address the guest's SSH server listens on.
func (g *SSHGuest) Addr() string { return g.listener.Addr().String() }

// Dial connects to the guest's SSH server.
func (g *SSHGuest) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", g.Addr())
}

// Close cuts the guest's power: all connections and commands end. It does not wait for them.
func (g *SSHGuest) Close() { g.cancel() }

// Wait returns when everything a closed guest ran has ended.
func (g *SSHGuest) Wait() {
	g.tasks.Wait()
	// A tmux server leaves its session's process group; it dies with the machine all the same.
	sockets, _ := filepath.Glob(filepath.Join(g.bin, "tmux-*", "*"))
	for _, s := range sockets {
		_ = exec.Command("tmux", "-S", s, "kill-server").Run()
	}
	os.RemoveAll(filepath.Dir(g.bin))
}

func (g *SSHGuest) checkUser(c ssh.ConnMetadata) error {
	if g.options.User != "" && c.User() != g.options.User {
		return fmt.Errorf("no such user %q", c.User())
	}
	return nil
}

func (g *SSHGuest) checkKey(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	keys := g.options.Authorized
	if data, err := os.ReadFile(filepath.Join(g.options.Home, ".ssh", "authorized_keys")); err == nil {
		keys = append(parseAuthorized(data), keys...)
	}
	for _, k := range keys {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return nil, g.checkUser(c)
		}
	}
	return nil, errors.New("key is not authorized")
}

func (g *SSHGuest) checkPassword(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	want := []byte(g.options.Password)
	if rotated, err := os.ReadFile(filepath.Join(g.options.Home, rootDir, "password")); err == nil {
		want = rotated
	}
	if subtle.ConstantTimeCompare(password, want) != 1 {
		return nil, errors.New("wrong password")
	}
	return nil, g.checkUser(c)
}

// parseAuthorized reads the keys of an authorized_keys file, skipping what is none.
func parseAuthorized(data []byte) (keys []ssh.PublicKey) {
	for len(data) > 0 {
		key, _, _, rest, err := ssh.ParseAuthorizedKey(data)
		if err != nil {
			return keys
		}
		keys, data = append(keys, key), rest
	}
	return keys
}

func (g *SSHGuest) accept() {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return
		}
		g.tasks.Go(func() { g.serve(conn) })
	}
}

// serve handles one connection until it or the guest ends.
func (g *SSHGuest) serve(conn net.Conn) {
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return
	}
	config := *g.config
	if data, err := os.ReadFile(filepath.Join(g.options.Home, sshdConfig)); err == nil &&
		strings.Contains(string(data), "PasswordAuthentication no") {
		config.PasswordCallback = nil
	}
	sc, channels, requests, err := ssh.NewServerConn(conn, &config)
	if err != nil {
		conn.Close()
		return
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return
	}
	f := &forwards{conn: sc, listeners: map[string]net.Listener{}}
	defer f.close()
	g.tasks.Go(func() { f.serve(requests) })
	for nc := range channels {
		if nc.ChannelType() != "session" {
			_ = nc.Reject(ssh.UnknownChannelType, "only sessions are served")
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			continue
		}
		s := &session{guest: g, ctx: ctx, ch: ch}
		g.tasks.Go(func() { s.serve(reqs) })
	}
}

// Environ is what commands of the guest find in their environment, and Home where they start.
func (g *SSHGuest) Environ() []string {
	user := g.options.User
	if user == "" {
		user = "cal"
	}
	env := []string{
		"HOME=" + g.options.Home, "USER=" + user, "LOGNAME=" + user, "SHELL=/bin/sh", "CAL_VM=true", "LANG=C.UTF-8",
		"PATH=" + g.bin + ":" + os.Getenv("PATH"), "TMUX_TMPDIR=" + g.bin, "CAL_GUEST_POWEROFF=" + g.off,
		"CAL_GUEST_ROOT=" + filepath.Join(g.options.Home, rootDir),
	}
	if g.options.Memory != "" {
		env = append(env, "CAL_GUEST_MEMORY="+g.options.Memory)
	}
	return env
}

// CheckPowerOff calls OnPowerOff, once, if a command of the guest asked for it. Sessions do so by themselves; it is for
// commands run with Environ by other means.
func (g *SSHGuest) CheckPowerOff() {
	if _, err := os.Stat(g.off); err == nil && g.options.OnPowerOff != nil {
		g.once.Do(g.options.OnPowerOff)
	}
}
