package tart_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/vm"
)

// login opens an SSH connection to the guest with the image's stock password.
func login(t *testing.T, conn net.Conn) *ssh.Client {
	t.Helper()
	sc, chans, reqs, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		User: "admin", Auth: []ssh.AuthMethod{ssh.Password("admin")}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := ssh.NewClient(sc, chans, reqs)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDriverRow50_ssh_through_the_guest_agent(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	d.start(t, "ws")
	conn, err := d.DialSSH(t.Context(), "ws")
	if err != nil {
		t.Fatal(err)
	}
	c := login(t, conn)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.Stdin, s.Stdout = io.LimitReader(zeros{}, 1<<20), &out
	if err := s.Run("wc -c"); err != nil || strings.TrimSpace(out.String()) != "1048576" {
		t.Errorf("a megabyte through the connection: %q, %v", out.String(), err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a closed connection can be read")
	}
}

func TestDriverDialsOtherPortsAsSSH(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	if _, err := d.DialPort(t.Context(), "ws", 1080); !errors.Is(err, vm.ErrNotRunning) {
		t.Errorf("a stopped machine's port: %v", err)
	}
	d.start(t, "ws")
	at := netip.MustParseAddrPort(nettest.Serve(t, func(conn *net.TCPConn) { // it speaks first, and then echoes
		_, _ = io.WriteString(conn, "hello ")
		_, _ = io.Copy(conn, conn)
	}))
	conn, err := d.DialPort(t.Context(), "ws", at.Port())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "echoed"); err != nil {
		t.Error(err)
	}
	got := make([]byte, len("hello echoed"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello echoed" {
		t.Errorf("%q, %v", got, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestConnectionThroughTheAgentHasDeadlines(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	d.start(t, "ws")
	conn, err := d.DialSSH(t.Context(), "ws")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, conn) // the greeting, and then nothing
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("reading past the deadline: %v", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	// The machine's end ends the connection.
	if err := d.Stop(t.Context(), "ws", vm.Shutdown{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("reading to the end of a stopped machine: %v", err)
	}
}

// A rollback is seen in the guest, and so is the guest's own mess before it.
func TestGuestIsRolledBack(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	run := func(command string) string {
		d.start(t, "ws")
		conn, err := d.DialSSH(t.Context(), "ws")
		if err != nil {
			t.Fatal(err)
		}
		s, err := login(t, conn).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.CombinedOutput(command)
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		if err := d.Stop(t.Context(), "ws", d.shutdown("ws")); err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	run("echo precious >work")
	if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	if out := run("rm -rf ~; ls ~ 2>/dev/null || true"); out != "" {
		t.Errorf("after rm -rf ~ there is %q", out)
	}
	if err := d.Restore(t.Context(), "ws", "s1", "undo1"); err != nil {
		t.Fatal(err)
	}
	if out := run("cat work"); out != "precious\n" {
		t.Errorf("after the rollback work holds %q", out)
	}
}

const agentless = `{"guests": {"*": {"no_agent": true, "ip": "192.168.64.7", "ip_delay": 1}},
"registry": {"ghcr.io/cirruslabs/macos-sequoia-base:latest": {}}}`

func TestDriverRow53_without_an_agent_the_address_is_dialled(t *testing.T) {
	t.Parallel()
	d := newDriver(t, agentless)
	d.machine(t, "ws")
	var dialled string
	d.options.DialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled = address
		guest, err := os.ReadFile(d.w.path("vms", "cal-ws", "double-ssh"))
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, string(guest))
	}
	d = d.reopen(t)
	d.start(t, "ws")
	var conn net.Conn
	d.w.await("a connection", func() bool {
		var err error
		conn, err = d.DialSSH(t.Context(), "ws")
		return err == nil
	})
	login(t, conn)
	if dialled != "192.168.64.7:22" {
		t.Errorf("dialled %q", dialled)
	}
	conn, err := d.DialPort(t.Context(), "ws", 49152) // the same server answers
	if err != nil {
		t.Fatal(err)
	}
	login(t, conn)
	if dialled != "192.168.64.7:49152" {
		t.Errorf("dialled %q", dialled)
	}
}

func TestDriverRow48_stale_address_and_local_network_privacy(t *testing.T) {
	t.Parallel()
	d := newDriver(t, agentless)
	d.machine(t, "ws")
	d.options.DialTCP = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	}
	d = d.reopen(t)
	d.start(t, "ws")
	d.w.await("a lease", func() bool { return d.w.tart("ip", "cal-ws").code == 0 })
	_, err := d.DialSSH(t.Context(), "ws")
	wantError(t, err, nil, "macOS does not let CALMenu reach it, although it runs: ", "Local Network")
	wantError(t, err, nil, "no route to host", "System Settings > Privacy & Security > Local Network > CALMenu")
	wantError(t, err, nil, "is the Tart Guest Agent running?", "Local Network")
}

func TestDriverRow46_dial_ends_with_its_context(t *testing.T) {
	t.Parallel()
	d := newDriver(t, `{"guests": {"*": {"boot_delay": 5000}}, "registry": {
"ghcr.io/cirruslabs/macos-sequoia-base:latest": {}}}`)
	d.machine(t, "ws")
	d.start(t, "ws")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := d.DialSSH(ctx, "ws")
	wantError(t, err, context.DeadlineExceeded, "", "")
}
