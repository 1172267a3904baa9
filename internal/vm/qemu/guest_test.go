//go:build linux

package qemu

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/vm"
)

// guest is a key pair for the guest and one for whoever uses it.
type guest struct {
	host   ssh.Signer
	client ssh.Signer
	seed   []vm.SeedFile
}

func newGuest(t *testing.T) guest {
	t.Helper()
	host, hostPEM := newKey(t)
	client, _ := newKey(t)
	return guest{host, client, []vm.SeedFile{
		{Path: "/etc/ssh/ssh_host_ed25519_key", Mode: 0o600, Data: hostPEM},
		{Path: "/home/admin/.ssh", Mode: os.ModeDir | 0o700, UID: 1000, GID: 1000},
		{
			Path: "/home/admin/.ssh/authorized_keys", Mode: 0o600, UID: 1000, GID: 1000,
			Data: ssh.MarshalAuthorizedKey(client.PublicKey()),
		},
	}}
}

func newKey(t *testing.T) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// run runs a command in a guest that may still be booting, until ctx ends.
func (g guest) run(ctx context.Context, d vm.Driver, name, command string) (string, error) {
	for {
		out, err := g.tryRun(ctx, d, name, command)
		var exit *ssh.ExitError
		var cut *ssh.ExitMissingError
		if err == nil || errors.As(err, &exit) || errors.As(err, &cut) || errors.Is(err, vm.ErrNotRunning) {
			return out, err
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return out, err
		}
	}
}

func (g guest) tryRun(ctx context.Context, d vm.Driver, name, command string) (string, error) {
	client, err := g.connect(ctx, d, name)
	if err != nil {
		return "", err
	}
	defer client.Close()
	return runOn(ctx, client, command)
}

func (g guest) connect(ctx context.Context, d vm.Driver, name string) (*ssh.Client, error) {
	conn, err := d.DialSSH(ctx, name)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	config := &ssh.ClientConfig{
		User:            "admin",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(g.client)},
		HostKeyCallback: ssh.FixedHostKey(g.host.PublicKey()),
	}
	config.Ciphers = []string{"chacha20-poly1305@openssh.com"}
	c, channels, requests, err := ssh.NewClientConn(conn, name, config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

func runOn(ctx context.Context, client *ssh.Client, command string) (string, error) {
	defer context.AfterFunc(ctx, func() { client.Close() })()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	out, err := session.CombinedOutput(command)
	return string(out), err
}

func (g guest) powerOff(ctx context.Context, d vm.Driver, name string) error {
	_, err := g.run(ctx, d, name, "sudo systemctl poweroff")
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return err
	}
	return nil // the connection may go with the guest
}

// marks are 64 KiB from the end of the disk, where the file system has put nothing yet.
const (
	markDisk   = 6 << 30
	markOffset = markDisk - 64<<10
	markSize   = 4096
)

// writeMark writes to the disk: in the running guest, else with qemu-io.
func (g guest) writeMark(ctx context.Context, d vm.Driver, name, value string) error {
	block := make([]byte, markSize)
	copy(block, value)
	if m, err := d.Machine(ctx, name); err != nil {
		return err
	} else if m.Running {
		out, err := g.run(ctx, d, name, fmt.Sprintf(
			"{ printf %%s %s; head -c %d /dev/zero; } | sudo dd of=/dev/vda bs=%d seek=%d count=1 conv=fsync iflag=fullblock",
			value, markSize-len(value), markSize, markOffset/markSize))
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	file := filepath.Join(os.TempDir(), "calmenu-mark-"+newLayerID())
	if err := os.WriteFile(file, block, 0o644); err != nil {
		return err
	}
	defer os.Remove(file)
	return diskIO(ctx, d.(*Driver), name, fmt.Sprintf("write -s %s %d %d", file, int64(markOffset), markSize))
}

// readMark reads what writeMark wrote.
func (g guest) readMark(ctx context.Context, d vm.Driver, name string) (string, error) {
	if m, err := d.Machine(ctx, name); err != nil {
		return "", err
	} else if m.Running {
		out, err := g.run(ctx, d, name, fmt.Sprintf(
			"sudo dd if=/dev/vda bs=%d skip=%d count=1 iflag=direct status=none | tr -d '\\0'", markSize, markOffset/markSize))
		return out, err
	}
	q := d.(*Driver)
	r, err := q.readRecord(name)
	if err != nil {
		return "", err
	}
	file := filepath.Join(os.TempDir(), "calmenu-mark-"+newLayerID())
	defer os.Remove(file)
	cmd := exec.CommandContext(ctx, "qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=4096",
		fmt.Sprintf("skip=%d", markOffset/markSize), "if="+layerFile(r.Disk.Active), "of="+file)
	cmd.Dir = q.machineDir(name)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	block, err := os.ReadFile(file)
	return strings.TrimRight(string(block[:min(len(block), markSize)]), "\x00"), err
}

// diskIO runs a command of qemu-io on a stopped machine's active layer, as the account that owns it.
func diskIO(ctx context.Context, d *Driver, name, command string) error {
	r, err := d.readRecord(name)
	if err != nil {
		return err
	}
	acc, err := vmAccount(ctx)
	if err != nil {
		return err
	}
	_, err = acc.run(ctx, d.machineDir(name), "qemu-io", "-f", "qcow2", "-c", command, layerFile(r.Disk.Active))
	return err
}
