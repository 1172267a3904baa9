package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// lending lends a connection until the test ends, and returns where, and what ends it.
func lending(t *testing.T, client func(context.Context) (*Client, error)) (path string, stop func()) {
	t.Helper()
	l, err := newLender(client, "")
	must(t, err)
	return lendingBy(t, l)
}

func lendingBy(t *testing.T, l *lender) (path string, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lend") // not t.TempDir: a socket's path is short
	must(t, err)
	path = filepath.Join(dir, "guest.sock")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.lend(ctx, path) }()
	over := false
	stop = func() {
		cancel()
		if !over {
			over = true
			if err := wait(t, "the lender", ended); !errors.Is(err, context.Canceled) {
				t.Errorf("lending ended with %v", err)
			}
		}
	}
	t.Cleanup(func() { stop(); _ = os.RemoveAll(dir) })
	eventually(t, "the socket to be there", func() bool { return exists(path) })
	return path, stop
}

func always(c *Client) func(context.Context) (*Client, error) {
	return func(context.Context) (*Client, error) { return c, nil }
}

func borrow(t *testing.T, path string, o Options) *Client {
	t.Helper()
	c, err := Borrow(t.Context(), path, o)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestBorrow does over a borrowed connection what is done over one of its own.
func TestBorrow(t *testing.T) {
	s := startSSHD(t)
	own := s.connect()
	path, stop := lending(t, always(own))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	c := borrow(t, path, s.options())

	r, err := c.Output(t.Context(), Cmd{Argv: []string{"sh", "-c", "cat; echo b >&2; exit 7"}, Stdin: strings.NewReader("a")})
	if err != nil || string(r.Stdout) != "a" || string(r.Stderr) != "b\n" || r.Exit != 7 {
		t.Errorf("got %q, %q, exit %d, %v", r.Stdout, r.Stderr, r.Exit, err)
	}
	var signal *SignalError
	if _, err := c.Output(t.Context(), Cmd{Argv: []string{"sh", "-c", "kill -9 $$"}}); !errors.As(err, &signal) {
		t.Errorf("a command that was killed: %v", err)
	}
	many := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if r, err = c.Output(t.Context(), Cmd{Argv: []string{"cat"}, Stdin: bytes.NewReader(many)}); err != nil || !bytes.Equal(r.Stdout, many) {
		t.Errorf("1 MiB there and back: %d bytes, %v", len(r.Stdout), err)
	}
	must(t, c.WriteFile(t.Context(), filepath.Join(s.dir, "file"), 0o600, many))

	// A command ends with the borrower's patience, and with the borrower.
	for _, end := range []func(cancel func()){func(cancel func()) { cancel() }, func(func()) { _ = c.Close() }} {
		pid := filepath.Join(s.dir, "pid")
		_ = os.Remove(pid)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() {
			_, err := c.Output(ctx, Cmd{Argv: []string{"sh", "-c", `echo $$ >"$0.new"; mv "$0.new" "$0"; cat; exec sleep 100`, pid}, Stdin: never{ctx}})
			ran <- err
		}()
		eventually(t, "the command to start", func() bool { return exists(pid) })
		end(cancel)
		if err := wait(t, "the command", ran); err == nil {
			t.Error("the command ended well")
		}
		cancel()
	}
	if own.Err() != nil {
		t.Errorf("the lender's connection has ended: %v", own.Err())
	}

	c = borrow(t, path, s.options())
	stop()
	<-c.Done()
	if _, err := Borrow(t.Context(), path, s.options()); err == nil {
		t.Error("borrowed from nobody")
	}
	if exists(path) {
		t.Error("the socket is still there")
	}
}

// never is an input that says nothing until its end.
type never struct{ ctx context.Context }

func (n never) Read([]byte) (int, error) { <-n.ctx.Done(); return 0, io.EOF }

// TestBorrowedConnectionEndsWithTheGuest, and a guest that answers no more is found out.
func TestBorrowedConnectionEndsWithTheGuest(t *testing.T) {
	s := startSSHD(t)
	own := s.connect()
	path, _ := lending(t, always(own))
	c := borrow(t, path, s.options())
	_ = own.Close()
	<-c.Done()
	if err := c.Ping(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("got %v", err)
	}
	if _, err := Borrow(t.Context(), path, s.options()); err == nil {
		t.Error("borrowed a connection that has ended")
	}
}

// TestLendSessionsOnly refuses what is no session, and what could change the lender's own use of the guest.
func TestLendSessionsOnly(t *testing.T) {
	s := startSSHD(t)
	path, _ := lending(t, always(s.connect()))
	c := borrow(t, path, s.options())
	if conn, err := c.ssh.Dial("tcp", "127.0.0.1:22"); err == nil {
		conn.Close()
		t.Error("a connection out of the guest was lent")
	}
	if l, err := c.Listen("127.0.0.1:0"); err == nil {
		l.Close()
		t.Error("a port in the guest was lent")
	}
	ch, requests, err := c.ssh.OpenChannel("session", nil)
	must(t, err)
	go ssh.DiscardRequests(requests)
	if ok, err := ch.SendRequest("auth-agent-req@openssh.com", true, nil); ok || err != nil {
		t.Errorf("an agent forwarded: %v, %v", ok, err)
	}
	_ = ch.Close()
}

// TestFreezeOverABorrowedConnection thaws the guest when the lender dies in the middle.
func TestFreezeOverABorrowedConnection(t *testing.T) {
	s, frozen := freezable(t)
	path, stop := lending(t, always(s.connect()))
	c := borrow(t, path, s.options())
	must(t, c.Freeze(t.Context(), "", func() error {
		if !frozen() {
			t.Error("not frozen")
		}
		return nil
	}))
	if frozen() {
		t.Error("not thawed")
	}
	err := c.Freeze(t.Context(), "", func() error { stop(); <-c.Done(); return nil })
	if !errors.Is(err, ErrThawed) {
		t.Errorf("got %v", err)
	}
	eventually(t, "guest to thaw", func() bool { return !frozen() })
}

// TestLendAfterACrash replaces what an ended process left.
func TestLendAfterACrash(t *testing.T) {
	dir, err := os.MkdirTemp("", "lend")
	must(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "guest.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	must(t, err)
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	s := startSSHD(t)
	if _, err := Borrow(t.Context(), path, s.options()); err == nil {
		t.Error("borrowed from nobody")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	client := always(s.connect())
	go func() { ended <- Lend(ctx, path, client, "") }()
	var c *Client
	eventually(t, "the connection to be lent", func() bool { c, err = Borrow(ctx, path, s.options()); return err == nil })
	_ = c.Close()
	cancel()
	if err := wait(t, "the lender", ended); !errors.Is(err, context.Canceled) {
		t.Errorf("lending ended with %v", err)
	}
	if err := Lend(t.Context(), filepath.Join(dir, strings.Repeat("x", 200)), nil, ""); err == nil {
		t.Error("a name that is too long was taken")
	}
}

// TestBorrowWaitsForNobody gives up on a lender that says nothing.
func TestBorrowWaitsForNobody(t *testing.T) {
	s := startSSHD(t)
	path, _ := lending(t, func(ctx context.Context) (*Client, error) { <-ctx.Done(); return nil, ctx.Err() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Borrow(ctx, path, s.options()); err == nil {
		t.Error("borrowed from a lender without a connection")
	}
}

// TestSpareShell runs root's commands in a shell that was started before, one after the other, and what the shell reads
// beyond its line is the command's.
func TestSpareShell(t *testing.T) {
	s := startSSHD(t)
	s.program("sudo", `[ "$1" = -n ] && shift; echo "$@" >>"`+s.dir+`/sudo"; exec "$@"`)
	l, err := newLender(always(s.connect()), "")
	must(t, err)
	path, _ := lendingBy(t, l)
	c := borrow(t, path, s.options())
	const script = "echo \"$0\" \"it's\n\n\\$HOME\"; cat; exit 3"
	for range 3 {
		eventually(t, "a spare shell", func() bool { return waits(l.spares[0]) })
		r, err := c.Output(t.Context(), Cmd{Argv: c.sudo("sh", "-c", script, "a 'b'\nc"), Stdin: strings.NewReader("in\nput")})
		if want := "a 'b'\nc it's\n\n$HOME\nin\nput"; err != nil || string(r.Stdout) != want || r.Exit != 3 {
			t.Errorf("got %q, %q, exit %d, %v; want %q", r.Stdout, r.Stderr, r.Exit, err, want)
		}
	}
	if got, _ := os.ReadFile(filepath.Join(s.dir, "sudo")); strings.Contains(string(got), "exit 3") {
		t.Errorf("sudo was started for a command: %s", got)
	}
}

func waits(k *spares) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.spare != nil
}

// TestSpareCopy runs a command that was started before, one after the other, and one that has ended meanwhile anew.
func TestSpareCopy(t *testing.T) {
	s := startSSHD(t)
	started := filepath.Join(s.dir, "started")
	cmd := Cmd{Argv: []string{"sh", "-c", `echo $$ >>"$0"; cat; echo over`, started}}
	l, err := newLender(always(s.connect()), "", cmd)
	must(t, err)
	path, _ := lendingBy(t, l)
	c := borrow(t, path, s.options())
	pids := func() []string {
		b, _ := os.ReadFile(started)
		return strings.Fields(string(b))
	}
	asked := cmd
	for i := range 3 {
		eventually(t, "a spare copy", func() bool { return waits(l.spares[0]) && len(pids()) > i })
		before := len(pids())
		asked.Stdin = strings.NewReader("in\nput\n")
		r, err := c.Output(t.Context(), asked)
		if want := "in\nput\nover\n"; err != nil || string(r.Stdout) != want || r.Exit != 0 {
			t.Errorf("got %q, exit %d, %v; want %q", r.Stdout, r.Exit, err, want)
		}
		if i == 0 && before != 1 {
			t.Errorf("%d were started before anybody asked", before)
		}
	}
	eventually(t, "a spare copy", func() bool { return waits(l.spares[0]) && len(pids()) == 4 })
	pid, err := strconv.Atoi(pids()[3])
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	l.spares[0].mu.Lock()
	killed := l.spares[0].spare
	l.spares[0].mu.Unlock()
	<-killed.over
	asked.Stdin = strings.NewReader("again\n")
	if r, err := c.Output(t.Context(), asked); err != nil || string(r.Stdout) != "again\nover\n" {
		t.Errorf("after the spare was killed: got %q, %v", r.Stdout, err)
	}
	other := Cmd{Argv: []string{"sh", "-c", "cat; echo other"}, Stdin: strings.NewReader("")}
	if r, err := c.Output(t.Context(), other); err != nil || string(r.Stdout) != "other\n" {
		t.Errorf("another command: got %q, %v", r.Stdout, err)
	}
}

// TestSpareOfTheUsers runs commands that may run in a shell that was there before in one, and others in none.
func TestSpareOfTheUsers(t *testing.T) {
	s := startSSHD(t)
	l, err := newLender(always(s.connect()), "")
	must(t, err)
	path, _ := lendingBy(t, l)
	c := borrow(t, path, s.options())
	for _, x := range []struct {
		argv []string
		want string
	}{
		{[]string{"sh", "-c", "echo \"it's\n\n$0\"; cat; exit 3"}, "it's\n\nsh\nin\nput"},
		{[]string{"sh", "-c", "echo \"$1\n$0\"; cat; exit 3", "a 'b'", "c\nd"}, "c\nd\na 'b'\nin\nput"},
	} {
		for _, early := range []bool{true, false} {
			eventually(t, "a spare shell", func() bool { return waits(l.spares[1]) })
			r, err := c.Output(t.Context(), Cmd{Argv: x.argv, Early: early, Stdin: strings.NewReader("in\nput")})
			if err != nil || string(r.Stdout) != x.want || r.Exit != 3 {
				t.Errorf("%q, early: %v: got %q, %q, exit %d, %v", x.argv, early, r.Stdout, r.Stderr, r.Exit, err)
			}
			if waits(l.spares[1]) == early {
				t.Errorf("early: %v: the spare shell was left: %v", early, !early)
			}
		}
	}
	own := s.connect() // one's own connection knows no spares
	if r, err := own.Output(t.Context(), Cmd{Argv: []string{"echo", "a"}, Early: true}); err != nil || string(r.Stdout) != "a\n" {
		t.Errorf("got %q, %v", r.Stdout, err)
	}
}

// TestSpareHelper has root's run of CALMenu's program become what is asked for; while there is none, root's shell does.
func TestSpareHelper(t *testing.T) {
	s := startSSHD(t)
	s.program("sudo", `[ "$1" = -n ] && shift; exec "$@"`)
	s.program("own", `if [ "$1" = standby ]; then
	n=$(dd bs=1 count=6 2>/dev/null | sed 's/^0*//')
	echo "became $(dd bs=1 count="$n" 2>/dev/null | tr '\000' '|')"
else echo "started $*"; fi; cat`)
	l, err := newLender(always(s.connect()), "own")
	must(t, err)
	path, _ := lendingBy(t, l)
	c := borrow(t, path, s.options())
	ask := func() string {
		t.Helper()
		r, err := c.Output(t.Context(), Cmd{Argv: c.sudo("own", "verb", "it's", ""), Stdin: strings.NewReader("in")})
		must(t, err)
		return string(r.Stdout)
	}
	for range 2 {
		eventually(t, "a spare run", func() bool { return waits(l.spares[0]) })
		if got := ask(); got != "became verb|it's|\nin" {
			t.Errorf("got %q", got)
		}
		if got := ask(); got != "started verb it's \nin" {
			t.Errorf("without one: got %q", got)
		}
	}
}
