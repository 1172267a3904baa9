package desktop

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// server is a notification server that tells the test what it was given.
type server struct {
	can []string

	mu     sync.Mutex // guards last
	last   uint32
	got    chan []string // title, body, actions...
	expire chan int32    // nil: the test does not ask for it
	closed chan uint32
}

func (s *server) GetCapabilities() ([]string, *dbus.Error) { return s.can, nil }

func (s *server) Notify(_ string, _ uint32, _, title, body string, actions []string, _ map[string]dbus.Variant,
	expire int32,
) (uint32, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.got <- append([]string{title, body}, actions...)
	if s.expire != nil {
		s.expire <- expire
	}
	return s.last, nil
}

func (s *server) CloseNotification(id uint32) *dbus.Error {
	s.closed <- id
	return nil
}

// bus starts a session bus with s on it and returns the environment that leads there and the server's connection.
func bus(t *testing.T, s *server) (func(string) string, *dbus.Conn) {
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
	vars := map[string]string{"DBUS_SESSION_BUS_ADDRESS": strings.TrimSpace(address)}
	conn, err := dbus.Connect(vars["DBUS_SESSION_BUS_ADDRESS"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Export(s, notifyPath, notifyName); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(notifyName, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return env(vars), conn
}

func TestNotificationsCallBackOnce(t *testing.T) {
	s := &server{can: []string{"actions", "body", "body-markup"}, got: make(chan []string, 10)}
	env, conn := bus(t, s)
	d := newLinux(env)
	clicks := make(chan string, 10)
	err := d.Notify(t.Context(), Notification{
		Title: "T", Body: "a <b> & c",
		OnClick: func() { clicks <- "click" }, Actions: []Action{{"Show", func() { clicks <- "show" }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"T", "a &lt;b&gt; &amp; c", "default", "Open", "0", "Show"}, <-s.got); d != "" {
		t.Errorf("the server got (-want +got):\n%s", d)
	}
	if err := d.Notify(t.Context(), Notification{Title: "second", OnClick: func() { clicks <- "second" }}); err != nil {
		t.Fatal(err)
	}
	emit := func(id uint32, key string) {
		t.Helper()
		if err := conn.Emit(notifyPath, notifyName+".ActionInvoked", id, key); err != nil {
			t.Fatal(err)
		}
	}
	emit(1, "0")
	if got := within(t, clicks); got != "show" {
		t.Errorf("called %q, want show", got)
	}
	emit(1, "default") // answered already
	emit(9, "default") // somebody else's
	emit(2, "default")
	if got := within(t, clicks); got != "second" {
		t.Errorf("called %q, want second", got)
	}
	d.Close()
	if err := d.Notify(t.Context(), Notification{Title: "late"}); err == nil {
		t.Error("a closed desktop took a notification")
	}
}

// TestNotificationIsShownUntil: the server takes it away in time even if this program is no more, and at once when it is told to.
func TestNotificationIsShownUntil(t *testing.T) {
	s := &server{
		can: []string{"actions"}, got: make(chan []string, 10), expire: make(chan int32, 10), closed: make(chan uint32, 10),
	}
	env, conn := bus(t, s)
	d := newLinux(env)
	defer d.Close()
	notify := func(until context.Context, f func()) int32 {
		t.Helper()
		if err := d.Notify(t.Context(), Notification{Title: "T", OnClick: f, Until: until}); err != nil {
			t.Fatal(err)
		}
		return within(t, s.expire)
	}
	if got := notify(nil, nil); got != -1 {
		t.Errorf("one that says nothing of it is shown for %d ms", got)
	}
	told, tell := context.WithCancel(t.Context())
	clicks := make(chan string, 10)
	if got := notify(told, func() { clicks <- "late" }); got != 0 {
		t.Errorf("one without an end is shown for %d ms", got)
	}
	minute, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got := notify(minute, func() { clicks <- "in time" }); got < 1 || got > 60_000 {
		t.Errorf("one of a minute is shown for %d ms", got)
	}
	tell()
	if got := within(t, s.closed); got != 2 {
		t.Errorf("notification %d was taken away", got)
	}
	for id := range uint32(2) {
		if err := conn.Emit(notifyPath, notifyName+".ActionInvoked", id+2, clicked); err != nil {
			t.Fatal(err)
		}
	}
	if got := within(t, clicks); got != "in time" {
		t.Errorf("called %q", got)
	}
}

func within[T any](t *testing.T, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	return got
}

func TestServerWithoutActionsGetsTextAlone(t *testing.T) {
	s := &server{can: []string{"body"}, got: make(chan []string, 1)}
	env, _ := bus(t, s)
	d := newLinux(env)
	defer d.Close()
	if err := d.Notify(t.Context(), Notification{Title: "T", Body: "<b>", OnClick: func() {}}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"T", "<b>"}, <-s.got); d != "" {
		t.Errorf("the server got (-want +got):\n%s", d)
	}
}

func TestHandlersAreBounded(t *testing.T) {
	h := handlers[uint32]{}
	for id := range uint32(3 * most) {
		h.keep(id, map[string]func(){"default": func() {}})
	}
	if len(h.byID) != most || len(h.ids) != most {
		t.Errorf("%d handlers are kept, %d IDs", len(h.byID), len(h.ids))
	}
	if h.take(0, "default") != nil || h.take(3*most-1, "default") == nil {
		t.Error("not the newest are kept")
	}
}
