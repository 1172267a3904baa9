package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListen(t *testing.T) {
	s := startSSHD(t)
	c := s.connect()
	l, err := c.Listen("127.0.0.1:0")
	must(t, err)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	// The guest's loopback is this machine's here.
	conn, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "hello")
	must(t, err)
	must(t, conn.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	must(t, l.Close())
	eventually(t, "guest's port to close", func() bool {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func TestSFTP(t *testing.T) {
	s := startSSHD(t)
	f, err := s.connect().SFTP()
	must(t, err)
	defer func() { _ = f.Close() }()
	name := s.file("some file", "content", 0o644)
	r, err := f.Open(name)
	must(t, err)
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	r.Close()
}

func TestWriteFile(t *testing.T) {
	s := startSSHD(t)
	c := s.connect()
	big := bytes.Repeat([]byte{0, 1, 254, 255, '\n'}, 100_000)
	for _, tt := range []struct {
		name string
		mode os.FileMode
		data []byte
	}{
		{"it's a $name", 0o644, []byte("one\n")},
		{"it's a $name", 0o755, []byte("two, over the first")},
		{"empty", 0o600, nil},
		{"-dash", 0o640, big},
	} {
		path := filepath.Join(s.dir, tt.name)
		must(t, c.WriteFile(t.Context(), path, tt.mode, tt.data))
		got, err := c.Output(t.Context(), Cmd{Argv: []string{"cat", path}})
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		if !bytes.Equal(got.Stdout, tt.data) || info.Mode() != tt.mode {
			t.Errorf("%s: %d bytes, mode %v", tt.name, len(got.Stdout), info.Mode())
		}
	}
	must(t, os.Mkdir(filepath.Join(s.dir, "folder"), 0o777))
	for _, path := range []string{"", "x/", filepath.Join(s.dir, "folder"), "/no/such/file"} {
		if err := c.WriteFile(t.Context(), path, 0o600, []byte("x")); err == nil {
			t.Errorf("wrote %q", path)
		}
	}
	left, err := filepath.Glob(filepath.Join(s.dir, "*.????????"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestClock(t *testing.T) {
	s := startSSHD(t)
	s.program("sudo", `[ "$1" = -n ] && shift && exec "$@"`)
	s.program("date", `case "$1" in +*) exec /bin/date -d "+100 seconds" "$@";; *) echo "$*" >`+s.dir+`/set;; esac`)
	c := s.connect()
	skew, err := c.ClockSkew(t.Context())
	if err != nil || (skew-100*time.Second).Abs() > 30*time.Second {
		t.Errorf("skew is %v, %v", skew, err)
	}
	must(t, c.SetClock(t.Context(), time.Unix(1_700_000_000, 5)))
	got, err := os.ReadFile(filepath.Join(s.dir, "set"))
	if err != nil || string(got) != "-u -s @1700000000.000000005\n" {
		t.Errorf("guest was told %q, %v", got, err)
	}
	o := s.options()
	o.GuestOS = "darwin"
	mac, err := Connect(t.Context(), o)
	must(t, err)
	defer func() { _ = mac.Close() }()
	must(t, mac.SetClock(t.Context(), time.Unix(1_700_000_000, 5)))
	got, err = os.ReadFile(filepath.Join(s.dir, "set"))
	if err != nil || string(got) != "-u 111422132023.20\n" {
		t.Errorf("macOS guest was told %q, %v", got, err)
	}
}

func FuzzParseUnix(f *testing.F) {
	for _, s := range []string{
		"", "0", "1700000000", "1700000000.123456789", "-1", "1.5", "9223372036854775807", "x", "1.-12345678",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := parseUnix(s); err == nil && (got.Unix() < 0 || got.Unix() > 1<<33) {
			t.Errorf("%q is %v", s, got)
		}
	})
}

func TestPowerOff(t *testing.T) {
	s := startSSHD(t)
	s.program("sudo", `[ "$1" = -n ] && shift && exec "$@"`)
	s.program("systemctl", `echo "$*" >`+s.dir+`/off`)
	s.program("shutdown", `echo "$*" >`+s.dir+`/off; kill -9 $PPID`) // takes the connection along
	must(t, s.connect().PowerOff(t.Context()))
	if got, _ := os.ReadFile(filepath.Join(s.dir, "off")); string(got) != "poweroff\n" {
		t.Errorf("guest was told %q", got)
	}
	o := s.options()
	o.GuestOS = "darwin"
	mac, err := Connect(t.Context(), o)
	must(t, err)
	defer func() { _ = mac.Close() }()
	must(t, mac.PowerOff(t.Context()))
	if got, _ := os.ReadFile(filepath.Join(s.dir, "off")); string(got) != "-h now\n" {
		t.Errorf("macOS guest was told %q", got)
	}
	s.program("systemctl", `echo "nothing to\033[31m do" >&2; exit 5`)
	err = s.connect().PowerOff(t.Context())
	if err == nil || !strings.Contains(err.Error(), "nothing to[31m do (exit status 5)") {
		t.Errorf("a refusal became %v", err)
	}
}

// freezable makes the guest's fsfreeze a file that is there while it is frozen.
func freezable(t *testing.T) (s *sshd, frozen func() bool) {
	s = startSSHD(t)
	flag := filepath.Join(s.dir, "frozen")
	s.program("sudo", `[ "$1" = -n ] && shift && exec "$@"`)
	s.program("fsfreeze", `case "$1" in
-f) [ -e `+flag+` ] && exit 1; touch `+flag+`; echo "$*" >>`+s.dir+`/calls;;
-u) [ -e `+flag+` ] || exit 1; rm `+flag+`;; esac`)
	return s, func() bool { return exists(flag) }
}

func TestFreeze(t *testing.T) {
	s, frozen := freezable(t)
	c := s.connect()
	for range 2 {
		during := false
		must(t, c.Freeze(t.Context(), "", func() error { during = frozen(); return nil }))
		if !during || frozen() {
			t.Fatalf("frozen during: %v, after: %v", during, frozen())
		}
	}
	if calls, _ := os.ReadFile(filepath.Join(s.dir, "calls")); string(calls) != "-f /\n-f /\n" {
		t.Errorf("guest was asked %q", calls)
	}
}

func TestFreezeThawsWhateverHappens(t *testing.T) {
	failure := errors.New("no space")
	for name, do := range map[string]func(c *Client, cancel func()) error{
		"error":           func(*Client, func()) error { return failure },
		"panic":           func(*Client, func()) error { panic(failure) },
		"context ends":    func(_ *Client, cancel func()) error { cancel(); return failure },
		"connection ends": func(c *Client, _ func()) error { _ = c.Close(); return failure },
	} {
		t.Run(name, func(t *testing.T) {
			s, frozen := freezable(t)
			c := s.connect()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var panicked any
			func() {
				defer func() { panicked = recover() }()
				err := c.Freeze(ctx, "", func() error {
					if !frozen() {
						t.Error("not frozen")
					}
					return do(c, cancel)
				})
				if !errors.Is(err, failure) {
					t.Errorf("got %v", err)
				}
			}()
			if (panicked != nil) != (name == "panic") {
				t.Errorf("panicked with %v", panicked)
			}
			eventually(t, "guest to thaw", func() bool { return !frozen() })
		})
	}
}

func TestFreezeTooLong(t *testing.T) {
	s, frozen := freezable(t)
	s.program("sleep", "exec /bin/sleep 0.3")
	err := s.connect().Freeze(t.Context(), "", func() error {
		eventually(t, "watchdog to thaw the guest", func() bool { return !frozen() })
		return nil
	})
	if !errors.Is(err, ErrThawed) {
		t.Errorf("got %v", err)
	}
}

func TestFreezeRefused(t *testing.T) {
	s, _ := freezable(t)
	s.program("fsfreeze", `echo "fsfreeze: /: freeze failed" >&2; exit 1`)
	called := false
	err := s.connect().Freeze(t.Context(), "", func() error { called = true; return nil })
	if err == nil || called || !strings.Contains(err.Error(), "freeze failed") {
		t.Errorf("got %v, called %v", err, called)
	}
	s.program("sudo", `echo "sudo: a password is required" >&2; exit 1`)
	err = s.connect().Freeze(t.Context(), "", func() error { called = true; return nil })
	if err == nil || called || !strings.Contains(err.Error(), "password is required") {
		t.Errorf("got %v, called %v", err, called)
	}
}

// TestFreezeByHelper has CALMenu's program freeze, which is told so only when it is ready; where it is missing, or cannot, the
// guest's own tools do.
func TestFreezeByHelper(t *testing.T) {
	s, frozen := freezable(t)
	told := filepath.Join(s.dir, "told")
	s.program("own", `[ "$1" = freeze ] || exit 2
echo ready
while read -r x; do
	echo "$x" >>`+told+`
	case $x in
	freeze) touch `+s.dir+`/frozen; echo frozen;;
	thaw) rm `+s.dir+`/frozen; echo thawed; exit;;
	esac
done`)
	s.program("broken", `echo "it cannot" >&2; exit 1`)
	c := s.connect()
	for _, x := range []struct{ helper, calls string }{{"own", ""}, {"missing", "-f /\n"}, {"broken", "-f /\n-f /\n"}} {
		z := c.BeginFreeze(t.Context(), x.helper)
		<-z.begun
		if exists(told) && x.helper == "own" || frozen() {
			t.Errorf("%s: told before it was to be", x.helper)
		}
		during := false
		must(t, z.Freeze(t.Context(), func() error { during = frozen(); return nil }))
		if !during || frozen() {
			t.Errorf("%s: frozen during: %v, after: %v", x.helper, during, frozen())
		}
		if err := z.Freeze(t.Context(), func() error { return nil }); err == nil {
			t.Errorf("%s: frozen twice", x.helper)
		}
		z.Close()
		if calls, _ := os.ReadFile(filepath.Join(s.dir, "calls")); string(calls) != x.calls {
			t.Errorf("%s: guest's own tools were asked %q", x.helper, calls)
		}
	}
	if got, _ := os.ReadFile(told); string(got) != "freeze\nthaw\n" {
		t.Errorf("it was told %q", got)
	}
}

// TestFreezeGivenUp ends what was begun, and freezes nothing.
func TestFreezeGivenUp(t *testing.T) {
	s, frozen := freezable(t)
	ended := filepath.Join(s.dir, "ended")
	s.program("own", `echo ready; read -r x; echo "$x" >`+ended)
	c := s.connect()
	z := c.BeginFreeze(t.Context(), "own")
	<-z.begun
	z.Close()
	eventually(t, "it to end", func() bool { return exists(ended) })
	if got, _ := os.ReadFile(ended); string(got) != "\n" || frozen() {
		t.Errorf("told %q, frozen: %v", got, frozen())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	z = c.BeginFreeze(ctx, "own")
	defer z.Close()
	if err := z.Freeze(t.Context(), func() error { t.Error("frozen"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
