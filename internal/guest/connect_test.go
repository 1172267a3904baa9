package guest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/hint"
)

func TestConnect(t *testing.T) {
	s := startSSHD(t)
	for name, ciphers := range map[string][]string{"hardware": Ciphers(false), "emulated": Ciphers(true)} {
		t.Run(name, func(t *testing.T) {
			o := s.options()
			o.Ciphers = ciphers
			c, err := Connect(t.Context(), o)
			must(t, err)
			defer func() { _ = c.Close() }()
			if !strings.HasPrefix(c.ServerVersion(), "SSH-2.0-OpenSSH") {
				t.Errorf("server version is %q", c.ServerVersion())
			}
			must(t, c.Ping(t.Context()))
			if c.Err() != nil {
				t.Errorf("live connection has error %v", c.Err())
			}
		})
	}
}

func TestCiphersUnderEmulationAreChaChaOnly(t *testing.T) {
	if got := Ciphers(true); !slices.Equal(got, []string{"chacha20-poly1305@openssh.com"}) {
		t.Errorf("emulated: %v", got)
	}
	if got := Ciphers(false)[0]; got != "aes128-gcm@openssh.com" {
		t.Errorf("hardware: %v first", got)
	}
}

func TestConnectRefusesAnotherHostKey(t *testing.T) {
	s := startSSHD(t)
	other, err := EnsureIdentity(t.TempDir())
	must(t, err)
	o := s.options()
	o.HostKey = other.HostPublic()
	_, err = Connect(t.Context(), o)
	var mismatch *HostKeyError
	if !errors.As(err, &mismatch) {
		t.Fatalf("got %v", err)
	}
	if mismatch.Want != ssh.FingerprintSHA256(other.HostPublic()) ||
		mismatch.Got != ssh.FingerprintSHA256(s.identity.HostPublic()) || hint.Of(err) == "" {
		t.Errorf("got %+v with hint %q", mismatch, hint.Of(err))
	}
	if _, err = WaitConnect(t.Context(), o, nil); !errors.As(err, &mismatch) {
		t.Errorf("WaitConnect did not give up: %v", err)
	}
}

func TestConnectWithoutHostKeyIsRefused(t *testing.T) {
	s := startSSHD(t)
	o := s.options()
	o.HostKey = nil
	if _, err := Connect(t.Context(), o); err == nil {
		t.Fatal("connected to a guest whose host key nobody checked")
	}
	o.FirstContact = s.identity.PinHost
	c, err := Connect(t.Context(), o)
	must(t, err)
	_ = c.Close()
	pinned, err := s.identity.Pinned()
	must(t, err)
	if ssh.FingerprintSHA256(pinned) != ssh.FingerprintSHA256(s.identity.HostPublic()) {
		t.Error("first contact pinned another key")
	}
}

func TestRefusedKeyEndsWaiting(t *testing.T) {
	s := startSSHD(t)
	other, err := EnsureIdentity(t.TempDir())
	must(t, err)
	o := s.options()
	o.Auth = []ssh.AuthMethod{ssh.PublicKeys(other.Signer())}
	attempts := 0
	_, err = WaitConnect(t.Context(), o, func(int, error) { attempts++ })
	if !errors.Is(err, ErrAuth) || attempts != refusals {
		t.Errorf("got %v after %d attempts", err, attempts)
	}
}

func TestWaitConnectRetriesWhileTheGuestBoots(t *testing.T) {
	s := startSSHD(t)
	o := s.options()
	tries := 0
	var silent []net.Conn
	o.Dial = func(ctx context.Context) (net.Conn, error) {
		switch tries++; tries {
		case 1:
			return nil, syscall.ECONNREFUSED
		case 2: // a port forwarded to nobody: accepts and is silent
			near, far := net.Pipe()
			silent = append(silent, far)
			return near, nil
		case 3: // accepts and closes
			near, far := net.Pipe()
			far.Close()
			return near, nil
		}
		return s.dial(ctx)
	}
	var failed []int
	c, err := WaitConnect(t.Context(), o, func(attempt int, err error) { failed = append(failed, attempt) })
	must(t, err)
	_ = c.Close()
	for _, conn := range silent {
		conn.Close()
	}
	if !slices.Equal(failed, []int{1, 2, 3}) {
		t.Errorf("failed attempts %v", failed)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	s := startSSHD(t)
	o := s.options()
	ctx, cancel := context.WithCancel(t.Context())
	var far net.Conn
	o.Dial = func(context.Context) (net.Conn, error) {
		var near net.Conn
		near, far = net.Pipe()
		cancel()
		return near, nil
	}
	if _, err := Connect(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	far.Close()
	if _, err := WaitConnect(ctx, o, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitConnect: got %v", err)
	}
	far.Close()
}

func TestKeepaliveEndsAFrozenConnection(t *testing.T) {
	s := startSSHD(t)
	o := s.options()
	o.Keepalive, o.Timeout = 50*time.Millisecond, 2*time.Second
	c, err := Connect(t.Context(), o)
	must(t, err)
	s.signal(syscall.SIGSTOP)
	wait(t, "connection to a stopped server to end", c.Done())
	if !errors.Is(c.Err(), ErrLost) {
		t.Errorf("reason is %v", c.Err())
	}
	checkDead(t, c, ErrLost)
}

func TestCallsOnAnEndedConnectionFailAtOnce(t *testing.T) {
	s := startSSHD(t)
	c := s.connect()
	s.signal(syscall.SIGKILL)
	wait(t, "connection to a killed server to end", c.Done())
	checkDead(t, c, ErrLost)
	c = s.connect()
	must(t, c.Close())
	checkDead(t, c, ErrClosed)
}

func checkDead(t *testing.T, c *Client, reason error) {
	t.Helper()
	ctx := t.Context()
	calls := map[string]func() error{
		"Output":    func() error { _, err := c.Output(ctx, Cmd{Argv: []string{"true"}}); return err },
		"PTY":       func() error { _, err := c.PTY(ctx, Cmd{Argv: []string{"true"}}, Terminal{}); return err },
		"Listen":    func() error { _, err := c.Listen("127.0.0.1:0"); return err },
		"SFTP":      func() error { _, err := c.SFTP(); return err },
		"WriteFile": func() error { return c.WriteFile(ctx, "x", 0o600, nil) },
		"Freeze":    func() error { return c.Freeze(ctx, "", func() error { return nil }) },
		"SetClock":  func() error { return c.SetClock(ctx, time.Now()) },
		"PowerOff":  func() error { return c.PowerOff(ctx) },
		"Ping":      func() error { return c.Ping(ctx) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, reason) {
			t.Errorf("%s: got %v, want %v", name, err, reason)
		}
	}
}

func TestLinkReconnects(t *testing.T) {
	s := startSSHD(t)
	type change struct {
		up  bool
		err error
	}
	changes := make(chan change, 64)
	l := NewLink(s.options(), func(up bool, err error) { changes <- change{up, err} })
	defer func() { _ = l.Close() }()
	first, err := l.Client(t.Context())
	must(t, err)
	if c := wait(t, "up", changes); !c.up || c.err != nil {
		t.Fatalf("first change is %+v", c)
	}
	s.signal(syscall.SIGKILL)
	if c := wait(t, "down", changes); c.up || !errors.Is(c.err, ErrLost) {
		t.Fatalf("second change is %+v", c)
	}
	second, err := l.Client(t.Context())
	must(t, err)
	if first == second {
		t.Error("got the dead connection again")
	}
	if c := wait(t, "up again", changes); !c.up {
		t.Fatalf("third change is %+v", c)
	}
	must(t, l.Close())
	if _, err := l.Client(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed link gave %v", err)
	}
	if !errors.Is(second.Err(), ErrClosed) {
		t.Errorf("closed link left its connection: %v", second.Err())
	}
}

// lateClock gives the guest a clock that stands still until it is set. How it was set is in the file "dates".
func (s *sshd) lateClock() {
	s.t.Helper()
	dates := filepath.Join(s.dir, "dates")
	s.program("date", `case $1 in
+*) [ -e `+dates+` ] && exec /bin/date "$@"; echo 1700000000.000000000;;
*) echo "$@" >>`+dates+`;;
esac`)
}

func TestLinkRenewsAfterTheHostSlept(t *testing.T) {
	s := startSSHD(t)
	s.program("sudo", `shift; exec "$@"`)
	s.lateClock()
	var slept atomic.Int64 // seconds
	started := time.Now()
	changes := make(chan bool, 64)
	l := newLink(s.options(), func(up bool, err error) {
		if up && err != nil {
			t.Errorf("clock was not set: %v", err)
		}
		changes <- up
	}, 10*time.Millisecond, func() clocks {
		mono := time.Since(started)
		return clocks{wall: started.Add(mono + time.Duration(slept.Load())*time.Second), mono: mono}
	})
	defer func() { _ = l.Close() }()
	first, err := l.Client(t.Context())
	must(t, err)
	wait(t, "up", changes)
	if exists(s.dir + "/dates") {
		t.Error("clock was set without need")
	}
	slept.Store(3600)
	wait(t, "connection of before the sleep to end", first.Done())
	wait(t, "down", changes)
	if !wait(t, "up again", changes) {
		t.Error("not up after the sleep")
	}
	if !exists(s.dir + "/dates") {
		t.Error("guest's clock was not set")
	}
}

// The system says that it woke, or that the network is another: the connection is kept if it lives.
func TestLinkIsCheckedAtOnce(t *testing.T) {
	s := startSSHD(t)
	s.program("sudo", `shift; exec "$@"`)
	s.lateClock()
	changes := make(chan bool, 64)
	l := NewLink(s.options(), func(up bool, _ error) { changes <- up })
	defer func() { _ = l.Close() }()
	first, err := l.Client(t.Context())
	must(t, err)
	wait(t, "up", changes)
	l.Check(false)
	l.Check(true)
	l.Check(true) // twice, as several tell of one wake
	eventually(t, "the guest's clock to be set", func() bool { return exists(s.dir + "/dates") })
	must(t, first.Err())
	if c, err := l.Client(t.Context()); err != nil || c != first {
		t.Errorf("a connection that lives was renewed: %v", err)
	}

	must(t, os.Remove(s.dir+"/dates"))
	must(t, first.raw.Close()) // what a host that slept finds
	l.Check(true)
	if wait(t, "down", changes) {
		t.Error("up although the connection is gone")
	}
	if !wait(t, "up again", changes) {
		t.Error("not up again")
	}
	eventually(t, "the guest's clock to be set again", func() bool { return exists(s.dir + "/dates") })
}

func TestLinkGivesUpOnAWrongHostKey(t *testing.T) {
	s := startSSHD(t)
	other, err := EnsureIdentity(t.TempDir())
	must(t, err)
	o := s.options()
	o.HostKey = other.HostPublic()
	l := NewLink(o, nil)
	defer func() { _ = l.Close() }()
	var mismatch *HostKeyError
	if _, err := l.Client(t.Context()); !errors.As(err, &mismatch) {
		t.Errorf("got %v", err)
	}
}
