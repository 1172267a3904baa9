package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm/qemu"
)

// endpoint is a server as CALMenu's own client reaches it.
type endpoint struct {
	Addr, User string
	Key        string // file of the private key to log in with
	Host       string // the public key the server must show, as known_hosts has it
	Emulated   bool
	Bulk       bool // it is to carry much
}

// probeVerb is what this program is called with to be the client in a terminal; see runProbe.
const probeVerb = "console"

// command is this program as CALMenu's client, with the remote command in its terminal.
func (e endpoint) command(ctx context.Context, self, remote string) *exec.Cmd {
	at, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and a bool
	}
	cmd := exec.CommandContext(ctx, self, probeVerb, string(at), remote)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	return cmd
}

// runProbe is the session's own path, without the steps before it: SSH in this process, the console with its banner on
// standard input and output.
func runProbe(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("an endpoint and a command are needed")
	}
	var e endpoint
	if err := json.Unmarshal([]byte(args[0]), &e); err != nil {
		return fmt.Errorf("reading the endpoint: %w", err)
	}
	c, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	con, err := session.Open(os.Stdin, session.ConsoleOptions{
		Status: session.Status{Workspace: "bench", Agent: "bench", Mode: "Safe Mode"}, Term: os.Getenv("TERM"),
		Colour: true, Banner: true, Prefix: 0x1d, ClipboardWrite: true, ClipboardMax: 1 << 20, QuietAfter: 20 * time.Second,
	})
	if err != nil {
		return err
	}
	_, err = con.Run(ctx, session.Program{Guest: c, Cmd: guest.Cmd{Argv: []string{"sh", "-c", args[1]}}})
	return errors.Join(err, con.Close())
}

// endpoint is how CALMenu's own client reaches a workspace's guest.
func (c *cal) endpoint(ctx context.Context, name string) (endpoint, error) {
	d := qemu.New(qemu.Options{Dir: c.machines()})
	exposed, err := d.Exposure(ctx, name)
	if err != nil {
		return endpoint{}, fmt.Errorf("reaching %q: %w", name, err)
	}
	if len(exposed.Listeners) == 0 {
		return endpoint{}, fmt.Errorf("reaching %q: its machine's process listens nowhere", name)
	}
	keys := filepath.Join(c.machines(), name, "keys")
	text, err := os.ReadFile(filepath.Join(keys, "ssh_host_ed25519_key"))
	if err != nil {
		return endpoint{}, fmt.Errorf("reading the host key: %w", err)
	}
	host, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return endpoint{}, fmt.Errorf("reading the host key: %w", err)
	}
	caps := d.Info().Capabilities
	return endpoint{
		Addr: exposed.Listeners[0], User: caps.User, Emulated: caps.Emulated,
		Key: filepath.Join(keys, "id_ed25519"), Host: string(ssh.MarshalAuthorizedKey(host.PublicKey())),
	}, nil
}
