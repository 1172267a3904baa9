package app

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hostproxy"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// networkOf is the network of a workspace whose settings are given, and the application.
func networkOf(t *testing.T, values map[string]string) (*network, *App) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CAL_HOME", filepath.Join(t.TempDir(), "cal"))
	a, err := Open(Options{Driver: vmtest.NewMemory(t, vmtest.MemoryOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if err := a.Config().CreateWorkspace("demo", values); err != nil {
		t.Fatal(err)
	}
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	n := a.openNetwork(t.Context(), w)
	t.Cleanup(n.close)
	return n, a
}

// soonAllowed waits until the policy allows a destination, or does not.
func soonAllowed(t *testing.T, n *network, host string, want bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for n.policy().DecideName(host, 443).Allowed != want {
		if time.Now().After(deadline) {
			t.Fatalf("%s: allowed is not %v: %+v", host, want, n.policy().DecideName(host, 443))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestChangesOfThePolicyAreInForceAtOnce(t *testing.T) {
	n, a := networkOf(t, map[string]string{"network.allow": "[\"a.test:443\"]", "network.rules": "deny b.test", "agent": "claude-code"})
	p := n.policy()
	if d := p.DecideName("a.test", 443); !d.Allowed || !strings.Contains(d.Origin, "network.allow (vm.yaml:") {
		t.Errorf("%+v", d)
	}
	if d := p.DecideName("api.anthropic.com", 443); !d.Allowed || d.Origin != "services of Claude Code" {
		t.Errorf("%+v", d)
	}
	set := func(file, key, value string) {
		t.Helper()
		if err := a.Config().Set(file, key, value); err != nil {
			t.Fatal(err)
		}
	}
	set(a.Home.VMFile("demo"), "network.allow", "c.test")
	soonAllowed(t, n, "c.test", true)
	soonAllowed(t, n, "a.test", false)
	set(a.Home.ConfigFile(), "network.policy", "open")
	soonAllowed(t, n, "d.test", true)
	soonAllowed(t, n, "b.test", false)
	set(a.Home.VMFile("demo"), "network.policy", "offline")
	soonAllowed(t, n, "c.test", false)
	set(a.Home.VMFile("demo"), "network.policy", "allowlist")
	soonAllowed(t, n, "c.test", true)

	ctx := t.Context()
	if _, err := a.AllowNetwork(ctx, "demo", "e.test:443", true); err != nil {
		t.Fatal(err)
	}
	soonAllowed(t, n, "e.test", true)
	if err := a.DenyNetwork("demo", "e.test:443"); err != nil {
		t.Fatal(err)
	}
	soonAllowed(t, n, "e.test", false)
	if against, err := a.AllowNetwork(ctx, "demo", "b.test", false); err != nil || against != "" {
		t.Errorf("%q, %v", against, err)
	}
	soonAllowed(t, n, "b.test", true)
	w, err := a.Workspace("demo")
	if err != nil || !slices.Equal(w.Network.Allow, []string{"c.test", "b.test"}) || !slices.Equal(w.Network.Rules, []string{"deny e.test:443"}) {
		t.Errorf("%v, %v, %v", w.Network.Allow, w.Network.Rules, err)
	}
	set(a.Home.VMFile("demo"), "network.rules", "deny *.test")
	if against, err := a.AllowNetwork(ctx, "demo", "x.f.test", false); err != nil || !strings.Contains(against, `"*.test"`) {
		t.Errorf("against it: %q, %v", against, err)
	}
}

// TestLoginsForProxiesAreInForceAtOnce: a person who was refused by the proxy gives the login, and tries again.
func TestLoginsForProxiesAreInForceAtOnce(t *testing.T) {
	keyring.MockInit()
	n, a := networkOf(t, map[string]string{"agent": "shell"})
	n.policy() // changes from now on are noticed
	if err := a.Config().Set(a.Home.ConfigFile(), "network.host_proxy", "http://p.test:8080"); err != nil {
		t.Fatal(err)
	}
	soon := func(want string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for {
			proxy, err := n.upstream(&url.URL{Scheme: "https", Host: "a.test:443"})
			if err == nil && proxy != nil && proxy.String() == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the proxy is %v, %v, want %s", proxy, err, want)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	soon("http://p.test:8080")
	proxy := &url.URL{Scheme: "http", Host: "p.test:8080"}
	for _, login := range []string{"me:wrong", "me:right"} {
		if err := a.KeepProxyLogin(proxy, login); err != nil {
			t.Fatal(err)
		}
		soon("http://" + login + "@p.test:8080")
	}
	if err := a.DropProxyLogin(proxy); err != nil {
		t.Fatal(err)
	}
	soon("http://p.test:8080")
	if err := a.DropProxyLogin(proxy); !errors.Is(err, hostproxy.ErrNoLogin) {
		t.Errorf("a second time: %v", err)
	}
}

func TestWeakened(t *testing.T) {
	for _, tt := range []struct {
		policy       string
		allow, rules []string
		want         int
	}{
		{"allowlist", []string{"a.test", "*.b.test:443", "preset:github", "192.0.32.7"}, []string{"deny *", "deny 10.0.0.0/8", "ask *"}, 0},
		{"open", nil, nil, 1},
		{"offline", nil, nil, 0},
		{"allowlist", []string{"*", "*.org", "*:443", "127.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "fe80::1"}, nil, 8},
		{"allowlist", nil, []string{"allow *", "192.168.1.1:22"}, 2},
	} {
		w := &config.Workspace{}
		w.Network.Policy, w.Network.Allow, w.Network.Rules = tt.policy, tt.allow, tt.rules
		if why := weakened(w); len(why) != tt.want {
			t.Errorf("%+v weakens by %q", tt, why)
		}
	}
}

// journaled counts events of a kind.
func journaled(t *testing.T, a *App, kind journal.Kind) []journal.Event {
	t.Helper()
	all, err := a.Journal.Events()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e journal.Event) bool { return e.Kind != kind })
}

func TestAConnectionWaitsForAnAnswer(t *testing.T) {
	n, a := networkOf(t, map[string]string{"network.policy": "ask"})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { n.ask(t.Context(), "A.test.", 443) })
	}
	wg.Go(func() { n.ask(t.Context(), "b.test", 443) })
	deadline := time.Now().Add(30 * time.Second)
	for len(journaled(t, a, journal.NetAsked)) < 2 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	s, err := a.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w, _ := s.Find("demo"); len(w.NetAsks) != 2 {
		t.Errorf("asked: %+v", w.NetAsks)
	}
	if _, err := a.AllowNetwork(t.Context(), "demo", "a.test:443", true); err != nil {
		t.Fatal(err)
	}
	if err := a.DenyNetwork("demo", "b.test"); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if d := n.policy(); !d.DecideName("a.test", 443).Allowed || d.DecideName("b.test", 443).Allowed {
		t.Errorf("a: %+v, b: %+v", d.DecideName("a.test", 443), d.DecideName("b.test", 443))
	}
	if asked := journaled(t, a, journal.NetAsked); len(asked) != 2 || asked[0].Path != "a.test:443" && asked[1].Path != "a.test:443" {
		t.Errorf("%+v", asked)
	}
	if s, err := a.State(t.Context()); err != nil || len(s.Workspaces[0].NetAsks) != 0 {
		t.Errorf("still asked: %+v, %v", s.Workspaces, err)
	}
	for _, e := range journaled(t, a, journal.NetAnswered) {
		if e.Detail == string(NetNobody) {
			t.Errorf("%+v", e)
		}
	}
	// One that ends before it is answered is taken back.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.ask(ctx, "c.test", 443)
	if e := journaled(t, a, journal.NetAnswered); e[len(e)-1].Detail != string(NetNobody) {
		t.Errorf("%+v", e)
	}
}

func TestAGuestCannotAskWithoutEnd(t *testing.T) {
	var a asks
	now := time.Now()
	host := func(i int) string { return strings.Repeat("a", i+1) }
	for i := range asksAtOnce {
		if _, begun, ok := a.begin(host(i), now); !begun || !ok {
			t.Fatalf("question %d was not put", i)
		}
	}
	if _, _, ok := a.begin("more", now); ok {
		t.Error("more questions than a person sees")
	}
	if q, begun, ok := a.begin(host(0), now); begun || !ok || q.waiting != 2 {
		t.Error("the same question is another one")
	}
	put := asksAtOnce
	for i := range asksAtOnce {
		for a.pending[host(i)] != nil {
			a.end(host(i), a.pending[host(i)])
		}
	}
	for i := range 100 {
		q, _, ok := a.begin(host(i), now)
		if ok {
			put++
			a.end(host(i), q)
		}
	}
	if put != asksInTime {
		t.Errorf("%d questions were put", put)
	}
	if _, _, ok := a.begin("later", now.Add(askWindow)); !ok {
		t.Error("no question ever again")
	}
}

// asker is a guest that is asked to reach the probe.
type asker func(argv []string) (guest.Result, error)

func (a asker) Output(_ context.Context, c guest.Cmd) (guest.Result, error) { return a(c.Argv) }

func TestProbeGuest(t *testing.T) {
	for _, tt := range []struct {
		result guest.Result
		err    error
		direct bool
		detail string
	}{
		{guest.Result{}, nil, true, ""},
		{guest.Result{Exit: 6, Stderr: []byte("curl: (6) Could not resolve host: github.com\x1b[31m\nmore")}, nil, false, "curl: (6) Could not resolve host: github.com"},
		{guest.Result{Exit: 127}, nil, false, ""},
		{guest.Result{}, errors.New("the connection is lost"), false, "the connection is lost"},
		{guest.Result{}, context.DeadlineExceeded, false, "no answer in time"},
	} {
		r := probeGuest(t.Context(), asker(func(argv []string) (guest.Result, error) {
			if argv[0] != "curl" || argv[len(argv)-1] != "https://github.com:443/" || !slices.Contains(argv, "--noproxy") {
				t.Errorf("asked for %q", argv)
			}
			return tt.result, tt.err
		}), "github.com:443")
		if r.Direct != tt.direct || !strings.HasPrefix(r.Detail, tt.detail) || strings.Contains(r.Detail, "\x1b") || r.Tested.IsZero() {
			t.Errorf("%+v, want %+v", r, tt)
		}
	}
}

func TestDecideReach(t *testing.T) {
	tested := NetReach{Probe: "p.test:443", Tested: time.Now(), Direct: true}
	closed := tested
	closed.Direct = false
	for _, tt := range []struct {
		mode, probe string
		last        NetReach
		tunnel      bool
	}{
		{"on", "p.test:443", tested, true},
		{"off", "p.test:443", closed, false},
		{"auto", "p.test:443", NetReach{}, true},
		{"auto", "p.test:443", closed, true},
		{"auto", "p.test:443", tested, false},
		{"auto", "other.test:443", tested, true},
	} {
		if r := decideReach(tt.mode, tt.probe, tt.last); r.Tunnel != tt.tunnel || r.Why == "" || r.Mode != tt.mode {
			t.Errorf("%s, %s: %+v", tt.mode, tt.probe, r)
		}
	}
}

// TestTheTunnelFollowsItsMode switches it off and on, and has the test say that the guest gets out by itself.
func TestTheTunnelFollowsItsMode(t *testing.T) {
	n, a := networkOf(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runs := make(chan bool, 8)
	var direct, through bool
	var mu sync.Mutex
	tests := 0
	g := asker(func([]string) (guest.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		tests++
		if through {
			n.record(tunnel.Connection{Host: "github.com", Port: 443, Allowed: true})
		}
		if direct {
			return guest.Result{}, nil
		}
		return guest.Result{Exit: 7}, nil
	})
	done := make(chan error, 1)
	go func() {
		done <- n.reach.during(ctx, n, g, func(ctx context.Context) error {
			runs <- true
			<-ctx.Done()
			runs <- false
			return ctx.Err()
		})
	}()
	expect := func(what string, want bool) {
		t.Helper()
		select {
		case got := <-runs:
			if got != want {
				t.Fatalf("%s: in force is %v", what, got)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: nothing happens", what)
		}
	}
	mode := func(m string) {
		t.Helper()
		if err := a.SetNetworkMode("demo", m); err != nil {
			t.Fatal(err)
		}
	}
	network := func(isDirect, isThrough bool) {
		mu.Lock()
		direct, through = isDirect, isThrough
		mu.Unlock()
		r := n.known()
		r.Network = "another"
		n.reach.last.Store(&r)
		n.reach.heard()
	}
	expect("at first", true)
	mode("off")
	expect("off", false)
	mode("on")
	expect("on", true)
	mode("auto")
	network(true, false)
	expect("a network the guest gets out of", false)
	network(false, false)
	expect("another network", true)
	network(true, true)
	deadline := time.Now().Add(30 * time.Second)
	for n.known().Detail != "only through the tunnel" && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if r := n.known(); r.Direct || r.Detail != "only through the tunnel" {
		t.Errorf("%+v", r)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if r, err := a.NetworkReach("demo"); err != nil || r.Mode != "auto" || !r.Tunnel || r.Tested.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestToldOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r told
		if !r.news("a", time.Now()) || r.news("a", time.Now()) {
			t.Error("told twice or never")
		}
		time.Sleep(toldEvery)
		if !r.news("a", time.Now()) {
			t.Error("never again")
		}
	})
}

func TestComposeRefusesToGuess(t *testing.T) {
	n, a := networkOf(t, nil)
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	w.Network.Rules, w.Network.Policy = []string{"deny nonsense of some kind", "a.test"}, "nonsense"
	p := n.compose(w, nil, time.Now())
	if p.Mode != netpolicy.AllowList || !p.DecideName("a.test", 1).Allowed || p.DecideName("b.test", 1).Allowed {
		t.Errorf("%+v", p)
	}
}
