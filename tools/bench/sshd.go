package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// loopback is OpenSSH's server on this host's loopback, with keys of its own: a guest that costs nothing, so that what is
// measured is the two clients.
type loopback struct {
	dir  string
	addr string
	user string
	host string // its public key
	cmd  *exec.Cmd
}

const sshdProgram = "/usr/sbin/sshd"

func startLoopback(ctx context.Context, dir string) (*loopback, error) {
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("starting sshd: %w", err)
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil && os.Geteuid() == 0 {
		return nil, fmt.Errorf("starting sshd: %w", err)
	}
	l := &loopback{dir: dir, user: me.Username}
	for _, name := range []string{"host", "client"} {
		if err := writeKey(l.file(name)); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	l.addr = net.JoinHostPort("127.0.0.1", port)
	config := strings.Join([]string{
		"ListenAddress 127.0.0.1", "Port " + port, "HostKey " + l.file("host"), "AuthorizedKeysFile " + l.file("client.pub"),
		"StrictModes no", "UsePAM no", "Subsystem sftp internal-sftp",
		"PasswordAuthentication no", "PidFile none", "PrintMotd no", "PrintLastLog no",
		// What the shell of whoever runs this does at its start is not what is measured.
		"SetEnv HOME=" + l.dir,
	}, "\n")
	if err := os.WriteFile(l.file("sshd_config"), []byte(config+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("starting sshd: %w", err)
	}
	l.cmd = exec.CommandContext(ctx, sshdProgram, "-D", "-e", "-f", l.file("sshd_config"))
	if err := l.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting sshd: %w", err)
	}
	for range 100 {
		c, err := net.Dial("tcp", l.addr)
		if err == nil {
			return l, errors.Join(c.Close(), l.known())
		}
		time.Sleep(20 * time.Millisecond)
	}
	l.stop()
	return nil, errors.New("starting sshd: it does not listen")
}

func (l *loopback) stop() {
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait() // it was killed
}

func (l *loopback) file(name string) string { return filepath.Join(l.dir, name) }

// known writes the host key where ssh looks for it.
func (l *loopback) known() error {
	pub, err := os.ReadFile(l.file("host.pub"))
	if err != nil {
		return fmt.Errorf("reading the host key: %w", err)
	}
	l.host = string(pub)
	host, port, err := net.SplitHostPort(l.addr)
	if err != nil {
		return fmt.Errorf("reading the server's address: %w", err)
	}
	return os.WriteFile(l.file("known_hosts"), fmt.Appendf(nil, "[%s]:%s %s", host, port, pub), 0o600)
}

// peer is OpenSSH's client for it.
func (l *loopback) peer() (sshPeer, error) {
	host, port, err := net.SplitHostPort(l.addr)
	if err != nil {
		return sshPeer{}, fmt.Errorf("reading the server's address: %w", err)
	}
	return sshPeer{args: []string{
		"-F", "none", "-p", port, "-i", l.file("client"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + l.file("known_hosts"),
		"-o", "GlobalKnownHostsFile=/dev/null",
	}, target: l.user + "@" + host}, nil
}

// ours is how CALMenu's client reaches it.
func (l *loopback) ours() endpoint {
	return endpoint{Addr: l.addr, User: l.user, Key: l.file("client"), Host: l.host}
}

func writeKey(path string) error {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	public, err := ssh.NewPublicKey(pub)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	return errors.Join(os.WriteFile(path, pem.EncodeToMemory(block), 0o600),
		os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(public), 0o600))
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a port: %w", err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
