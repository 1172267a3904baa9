package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/vm/qemu"
)

// sshPeer is OpenSSH's way into a guest: what a person would use instead of CALMenu.
type sshPeer struct {
	args    []string // options of ssh; the destination is user@127.0.0.1
	target  string
	address string // host and port; empty where nothing but ssh needs it
	// evidence is the command line of the machine's process.
	evidence string
}

// openSSH finds a running guest's port and writes a known_hosts of its own for it: the person's is not touched.
func (c *cal) openSSH(ctx context.Context, name string) (sshPeer, error) {
	fail := func(err error) (sshPeer, error) {
		return sshPeer{}, fmt.Errorf("reaching %q by OpenSSH: %w", name, err)
	}
	d := qemu.New(qemu.Options{Dir: c.machines()})
	exposed, err := d.Exposure(ctx, name)
	if err != nil {
		return fail(err)
	}
	if len(exposed.Listeners) == 0 {
		return fail(errors.New("its machine's process listens nowhere"))
	}
	peer, err := c.sshTo(name, exposed.Listeners[0])
	peer.evidence = exposed.Evidence
	return peer, err
}

// sshTo is OpenSSH's way to a guest with a workspace's keys that is reached at an address.
func (c *cal) sshTo(name, address string) (sshPeer, error) {
	fail := func(err error) (sshPeer, error) {
		return sshPeer{}, fmt.Errorf("reaching %q by OpenSSH: %w", name, err)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fail(err)
	}
	keys := filepath.Join(c.machines(), name, "keys")
	text, err := os.ReadFile(filepath.Join(keys, "ssh_host_ed25519_key"))
	if err != nil {
		return fail(err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return fail(err)
	}
	known := filepath.Join(c.dir, "known_hosts-"+port)
	line := fmt.Appendf(nil, "[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(key.PublicKey()))
	if err := os.WriteFile(known, line, 0o600); err != nil {
		return fail(err)
	}
	return sshPeer{
		args: []string{
			"-F", "none", "-p", port, "-i", filepath.Join(keys, "id_ed25519"),
			"-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15",
			"-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=/dev/null",
		},
		target:  qemu.New(qemu.Options{Dir: c.machines()}).Info().Capabilities.User + "@" + host,
		address: address,
	}, nil
}

// output runs a command in the guest and returns what it prints.
func (p sshPeer) output(ctx context.Context, remote string) (string, error) {
	cmd := p.command(ctx, nil, remote)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running %q in the guest: %w: %s", remote, err, lastLines(problems.String(), 3))
	}
	return string(out), nil
}

// command is ssh with further options and a remote command, which the guest's shell reads.
func (p sshPeer) command(ctx context.Context, options []string, remote ...string) *exec.Cmd {
	args := append(append(append([]string(nil), p.args...), options...), p.target)
	cmd := exec.CommandContext(ctx, "ssh", append(args, remote...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}
