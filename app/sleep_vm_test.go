package app

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/host"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/nettest"
)

// TestWakeInARealGuest tells a keeper of a sleep and of wakes: the guest's clock is stepped, a connection that does not
// answer is made again, and isolation is proven anew. The guest's network is there again after its machine was stopped.
func TestWakeInARealGuest(t *testing.T) {
	stops := nettest.Count("CAL_TEST_STOPS", 1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 8*time.Minute+time.Duration(stops)*time.Minute)
	defer cancel()
	asked := knocks(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a := realGuest(t, ctx, "demo")
	w, err := a.Workspace("demo")
	must(err)
	c, err := a.Connect(ctx, w)
	must(err)
	defer func() { _ = c.Close() }()
	keepCtx, stop := context.WithCancel(ctx)
	kept := make(chan error, 1)
	go func() { kept <- a.Keep(keepCtx, "demo", Hooks{}) }()
	soon := func(what string, ok func() bool) {
		t.Helper()
		for pause := time.NewTicker(200 * time.Millisecond); !ok(); {
			select {
			case <-pause.C:
			case <-ctx.Done():
				t.Fatalf("waiting for %s", what)
			}
		}
	}
	// said counts the lines of the log with all of these texts.
	said := func(texts ...string) (n int) {
		b, err := os.ReadFile(a.LogFile())
		must(err)
		for line := range strings.Lines(string(b)) {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				n++
			}
		}
		return n
	}
	// The guest's network has a connection of its own, which comes and goes by itself.
	const up, down, link = `"up":true`, `"up":false`, `"message":"guest connection"`
	soon("the connection", func() bool { return said(up, link) == 1 })
	soon("the network, which all probes wait for", func() bool { return a.held("demo", settledLock) })

	must(c.SetClock(ctx, time.Now().Add(-time.Hour))) // what a guest's clock is like after an hour of sleep
	a.Rhythm.Tell(host.WillSleep)
	soon("the probes to rest", func() bool { return said(`"message":"resting"`) == 3 })
	woken := time.Now()
	a.Rhythm.Tell(host.DidWake)
	a.Rhythm.Tell(host.DidWake)
	soon("the guest's clock", func() bool {
		skew, err := c.ClockSkew(ctx)
		must(err)
		return skew.Abs() < 10*time.Second
	})
	proven := func(since time.Time) func() bool {
		return func() bool {
			r, err := isolation.Load(a.Home.WorkspaceDir("demo"))
			must(err)
			return r.Time.After(since) && r.Level != isolation.Broken
		}
	}
	soon("isolation to be proven anew", proven(woken))
	if said(down, link) != 0 {
		t.Error("a connection that lives was made again")
	}

	m, err := a.Driver.Machine(ctx, "demo")
	must(err)
	must(syscall.Kill(m.PID, syscall.SIGSTOP)) // a guest that does not answer
	changed := time.Now()
	a.Rhythm.Tell(host.NetworkChanged)
	soon("the connection to be given up", func() bool { return said(down, link) > 0 })
	must(syscall.Kill(m.PID, syscall.SIGCONT))
	soon("the connection to be made again", func() bool { return said(up, link) >= 2 })
	soon("isolation to be proven anew", proven(changed))
	t.Logf("given up and made again within %v", time.Since(changed).Round(time.Second/10))
	if asked != nil {
		asked.afterStops(ctx, t, a, m.PID, stops)
	}
	stop()
	must(<-kept)
}

// knocking is a server on the host that a guest asks for something again and again.
type knocking struct {
	url  string
	came chan time.Time
}

// knocks starts the server on an address of this host that is not its loopback, and has guests allowed there; nil if there
// is no such address.
func knocks(t *testing.T) *knocking {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil || n.IP.IsLoopback() {
			continue
		}
		k := &knocking{came: make(chan time.Time, 1)}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			select {
			case k.came <- time.Now():
			default:
			}
		}))
		_ = s.Listener.Close()
		if s.Listener, err = net.Listen("tcp", net.JoinHostPort(n.IP.String(), "0")); err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(s.Close)
		k.url = s.URL
		t.Setenv("CAL_NETWORK_ALLOW", s.Listener.Addr().String())
		return k
	}
	t.Log("the network after a stop is not looked at: this host has no address but its loopback's")
	return nil
}

// afterStops stops a guest's machine for ever longer and lets it go on, and tells how long its network then takes.
func (k *knocking) afterStops(ctx context.Context, t *testing.T, a *App, pid, stops int) {
	t.Helper()
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r, err := c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", `setsid sh -c 'while :; do curl -s -o /dev/null --noproxy "*" ` +
		`--max-time 2 "$0"; sleep 0.2; done' "$1" </dev/null >/dev/null 2>&1 &`, "sh", k.url}, Limit: 4 << 10})
	if err != nil || r.Exit != 0 {
		t.Fatalf("having the guest ask: %+v, %v", r, err)
	}
	next := func(what string) time.Time {
		t.Helper()
		for len(k.came) > 0 {
			<-k.came
		}
		select {
		case at := <-k.came:
			return at
		case <-ctx.Done():
			t.Fatalf("%s: the guest reaches nothing", what)
			return time.Time{}
		}
	}
	next("at first")
	for i := range stops {
		d := time.Duration([]int{5, 12, 25, 40, 60}[i%5]) * time.Second
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		went := time.Now()
		back := next("after a stop").Sub(went)
		skew, err := c.ClockSkew(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("stopped for %v: the guest's network works again after %v; its clock is off by %v",
			d, back.Round(time.Second/100), skew.Round(time.Second/100))
	}
}
