package vmtest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client logs in to a fresh guest and returns its home too.
func client(t *testing.T) (*ssh.Client, string) {
	t.Helper()
	home, host, user := filepath.Join(t.TempDir(), "home"), newKey(t), newKey(t)
	conn, err := vmtest.StartSSHGuest(t, home, host, user.PublicKey())(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return login(t, conn, host.PublicKey(), ssh.PublicKeys(user)), home
}

func login(t *testing.T, conn net.Conn, host ssh.PublicKey, auth ssh.AuthMethod) *ssh.Client {
	t.Helper()
	sc, chans, reqs, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		User: "cal", Auth: []ssh.AuthMethod{auth}, HostKeyCallback: ssh.FixedHostKey(host), Timeout: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := ssh.NewClient(sc, chans, reqs)
	t.Cleanup(func() { c.Close() })
	return c
}

func session(t *testing.T, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSSHGuestRunsCommands(t *testing.T) {
	c, home := client(t)
	tests := []struct{ cmd, in, out, errOut, fails string }{
		{cmd: "echo $CAL_VM $HOME $PWD", out: "true " + home + " " + home + "\n"},
		{cmd: "cat", in: "hello", out: "hello"},
		{cmd: "echo oops >&2; exit 42", errOut: "oops\n", fails: "exited with status 42"},
		{cmd: "kill -9 $$", fails: "signal KILL"},
		{cmd: "sudo -n env | grep -c ^HOME=", out: "1\n"},
		{cmd: "sudo mount -o remount,rw / && echo harmless", out: "harmless\n"},
	}
	for _, tt := range tests {
		s := session(t, c)
		var out, errOut bytes.Buffer
		s.Stdin, s.Stdout, s.Stderr = strings.NewReader(tt.in), &out, &errOut
		err := s.Run(tt.cmd)
		if (err == nil) != (tt.fails == "") || (err != nil && !strings.Contains(err.Error(), tt.fails)) {
			t.Errorf("%s: %v, want %q", tt.cmd, err, tt.fails)
		}
		if out.String() != tt.out || errOut.String() != tt.errOut {
			t.Errorf("%s: printed %q and %q, want %q and %q", tt.cmd, out.String(), errOut.String(), tt.out, tt.errOut)
		}
	}
}

func TestSSHGuestHasTerminals(t *testing.T) {
	c, _ := client(t)
	s := session(t, c)
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(`trap 'stty size; exit 3' WINCH; echo $TERM; stty size; while :; do read x; done`); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	await := func(want string) {
		buf := make([]byte, 256)
		for !strings.Contains(seen.String(), want) {
			n, err := out.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				t.Fatalf("waiting for %q after %q: %v", want, seen.String(), err)
			}
		}
	}
	await("24 80")
	if err := s.WindowChange(30, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	await("30 100")
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("command on a terminal ended with %v, want status 3", err)
	}
	if !strings.HasPrefix(seen.String(), "xterm") {
		t.Errorf("terminal showed %q", seen.String())
	}
}

func TestSSHGuestServesFiles(t *testing.T) {
	c, home := client(t)
	f, err := sftp.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	w, err := f.Create("note")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, "by sftp")
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(home, "note")); err != nil || string(got) != "by sftp" {
		t.Errorf("file holds %q, %v", got, err)
	}
}

func TestSSHGuestForwardsToTheHost(t *testing.T) {
	c, _ := client(t)
	l, err := c.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "there and back"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "there and back" {
		t.Errorf("forward echoed %q, %v", got, err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("cancelling the forward: %v", err)
	}
}

// A memory machine pins the host key it was seeded with, ends by its guest's own poweroff, and takes a rollback.
func TestMemoryGuestIsAWholeMachine(t *testing.T) {
	host, user := newKey(t), newKey(t)
	m := vmtest.NewMemory(t, vmtest.MemoryOptions{Authorized: user.PublicKey()})
	start := func() *ssh.Client {
		if err := m.Start(t.Context(), "ws", vm.StartOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		conn, err := m.DialSSH(t.Context(), "ws")
		if err != nil {
			t.Fatal(err)
		}
		sc, chans, reqs, err := ssh.NewClientConn(conn, "ws", &ssh.ClientConfig{
			User: "cal", Auth: []ssh.AuthMethod{ssh.PublicKeys(user)},
			HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
				if bytes.Equal(k.Marshal(), host.PublicKey().Marshal()) {
					return errors.New("a machine without seeds cannot have this key")
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return ssh.NewClient(sc, chans, reqs)
	}
	stop := func(c *ssh.Client) {
		defer c.Close()
		err := m.Stop(t.Context(), "ws", vm.Shutdown{Grace: time.Minute, Guest: func(context.Context) error {
			return session(t, c).Run("sudo -n shutdown -h now")
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := m.EnsureImage(t.Context(), m.DefaultImage(), nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Create(t.Context(), vm.Spec{Name: "ws"}, nil); err != nil {
		t.Fatal(err)
	}
	c := start()
	if err := session(t, c).Run("echo precious >work"); err != nil {
		t.Fatal(err)
	}
	if err := m.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := session(t, c).Run("rm -rf ~"); err != nil {
		t.Fatal(err)
	}
	stop(c)
	if err := m.Restore(t.Context(), "ws", "s1", "undo1"); err != nil {
		t.Fatal(err)
	}
	c = start()
	if out, err := session(t, c).Output("cat work"); err != nil || string(out) != "precious\n" {
		t.Errorf("after rollback work holds %q, %v", out, err)
	}
	stop(c)
}
