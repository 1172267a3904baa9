package host

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// logind is a fake one, on a bus of its own.
type logind struct {
	conn *dbus.Conn
	held chan lock
	why  chan string
}

func (l *logind) Inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	fd := dbus.UnixFD(w.Fd())
	l.held <- lock{r, w}
	l.why <- strings.Join([]string{what, who, why, mode}, "|")
	return fd, nil
}

// lock is what the fake has of a lock: ours can be read to its end once nobody holds it any more.
type lock struct{ ours, theirs *os.File }

// fakeLogind starts a bus with a logind and returns the environment that leads there.
func fakeLogind(t *testing.T) (*logind, func(string) string) {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed (apt install dbus-daemon)")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--session", "--nofork", "--nopidfile", "--print-address=1",
		"--address=unix:tmpdir="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSpace(address)
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l := &logind{conn: conn, held: make(chan lock, 4), why: make(chan string, 4)}
	if err := conn.Export(l, login1Path, manager); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(login1, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return l, func(key string) string {
		if key == "DBUS_SYSTEM_BUS_ADDRESS" {
			return address
		}
		return ""
	}
}

func TestLogindTellsOfSleep(t *testing.T) {
	l, env := fakeLogind(t)
	ctx, stop := context.WithCancel(t.Context())
	told := make(chan Event, 100)
	ended := make(chan error, 1)
	go func() { ended <- watchSystem(ctx, env, func(e Event) { told <- e }) }()
	// There is no word of when the match stands: it is said again until it is heard.
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	deadline := time.After(20 * time.Second)
	for heard := false; !heard; {
		if err := l.conn.Emit(login1Path, manager+".PrepareForSleep", true); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-told:
			heard = e == WillSleep
		case <-pause.C:
		case <-deadline:
			t.Fatal("no sleep was told of")
		}
	}
	if err := l.conn.Emit(login1Path, manager+".PrepareForSleep", "nonsense"); err != nil {
		t.Fatal(err)
	}
	if err := l.conn.Emit(login1Path, manager+".PrepareForSleep", false); err != nil {
		t.Fatal(err)
	}
	for woke := false; !woke; {
		select {
		case e := <-told:
			woke = e == DidWake
		case <-deadline:
			t.Fatal("no wake was told of")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestKeepAwake(t *testing.T) {
	l, env := fakeLogind(t)
	release, err := KeepAwake(t.Context(), env, "an agent works")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := <-l.why, "idle|CALMenu|an agent works|block"; got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
	l1 := <-l.held
	defer func() { _ = l1.ours.Close() }()
	if err := l1.theirs.Close(); err != nil { // the caller has its own by now
		t.Fatal(err)
	}
	if err := l1.ours.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := l1.ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the lock was let go before its release: %v", err)
	}
	release()
	release() // once more is no mistake
	if err := l1.ours.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := l1.ours.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the lock is still held after its release: %v", err)
	}
}

func TestNoSystemBus(t *testing.T) {
	env := func(string) string { return "unix:path=/nonexistent" }
	if _, err := KeepAwake(t.Context(), env, "x"); err == nil {
		t.Error("kept awake by nobody")
	}
	if err := watchSystem(t.Context(), env, func(Event) {}); err == nil {
		t.Error("watches nothing")
	}
}

// The kernel tells of an interface that comes up, in a network of the test's own.
func TestKernelTellsOfNetwork(t *testing.T) {
	opened := make(chan *os.File, 1)
	up := make(chan struct{})
	problem := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine: it is in another network
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			problem <- err
			return
		}
		f, err := routes()
		if err != nil {
			problem <- err
			return
		}
		opened <- f
		<-up
		problem <- loopbackUp()
	}()
	var f *os.File
	select {
	case f = <-opened:
	case err := <-problem:
		t.Skipf("a network of its own needs privileges: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told := make(chan Event, 10)
	ended := make(chan error, 1)
	go func() { ended <- follow(ctx, f, changesNetwork, func(e Event) { told <- e }) }()
	close(up)
	if err := <-problem; err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-told:
		if e != NetworkChanged {
			t.Errorf("told of %v", e)
		}
	case <-time.After(20 * time.Second):
		t.Error("nothing was told")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
}

func FuzzChangesNetwork(f *testing.F) {
	message := binary.NativeEndian.AppendUint32(nil, 16)
	message = binary.NativeEndian.AppendUint16(message, unix.RTM_NEWADDR)
	message = append(message, make([]byte, 10)...)
	f.Add(message)
	f.Add([]byte{})
	f.Add(append([]byte{16, 0, 0, 0, 3, 0}, make([]byte, 26)...))
	f.Fuzz(func(_ *testing.T, b []byte) { changesNetwork(b) })
}
