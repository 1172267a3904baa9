package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/helper"
	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/carrier"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
	"github.com/calmenu/calmenu/internal/vm"
)

// counted counts what comes and goes over a connection.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// TestNetworkOfARealGuest has a real guest's connections, and what it says to the proxy, go over its serial port: at first,
// after its program was killed, with the port taken by somebody else, with nothing redirected, while its machine stood
// still, and when it has been saved and resumed, or rolled back.
func TestNetworkOfARealGuest(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 15*time.Minute)
	defer cancel()
	g := insideReal(t, ctx)
	content := make([]byte, 24<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content)
	sum := sha256.Sum256(content)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(content)
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(content)
			}
		}
	}))
	defer outside.Close()
	rule, err := netpolicy.ParseRule("8.8.8.8:80")
	if err != nil {
		t.Fatal(err)
	}
	o, _, err := g.a.guestOptions("demo")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		return g.a.Driver.(vm.SerialDialer).DialSerial(ctx, "demo", vm.NetworkPort)
	}
	var passed atomic.Int64
	reports := make(chan wire.Report, 64)
	r := &carrier.Carrier{
		Gate: &tunnel.Gate{
			Policy:   func() tunnel.Policy { return tunnel.Policy{Rules: []netpolicy.Rule{rule}} },
			Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
			Own:      func() []netip.Prefix { return nil },
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, outside.Listener.Addr().String())
			},
		},
		Ensure: func(ctx context.Context, c *guest.Client) (string, error) { return helper.Ensure(ctx, c) },
		Port: func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return counted{conn, &passed}, nil
		},
		OnReport: func(r wire.Report) { reports <- r },
		Problem:  func(err error) { t.Logf("tried again: %v", err) },
	}
	r.SetMethod(catch.Auto)
	link := guest.NewLink(o, nil)
	serving, stop := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() {
		for serving.Err() == nil {
			if c, err := link.Client(serving); err == nil {
				t.Logf("served: %v", r.Serve(serving, c))
			}
		}
	})
	defer func() {
		stop()
		_ = link.Close()
		served.Wait()
	}()
	reported := func(what string, good func(wire.Report) bool) {
		t.Helper()
		for {
			select {
			case r := <-reports:
				t.Logf("report %+v", r)
				if good(r) {
					return
				}
			case <-ctx.Done():
				t.Fatalf("%s: never", what)
			}
		}
	}
	await := func(over bool) {
		t.Helper()
		reported(fmt.Sprintf("over the serial port: %v", over), func(r wire.Report) bool {
			return r.Way == catch.Redirect && (r.Line != "") == over
		})
	}
	// For the moment between the SSH server's letting go of the proxy's ports and the guest's program's listening there.
	const letGo = " --retry 10 --retry-delay 1 --retry-connrefused"
	const fetch = "curl -sS --max-time 300 http://8.8.8.8/large | sha256sum"
	check := func(what, got string, over bool, before int64) {
		t.Helper()
		if want := hex.EncodeToString(sum[:]); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
		came := passed.Load() - before
		t.Logf("%s: %d bytes over the serial port", what, came)
		if over != (came >= int64(len(content))) {
			t.Errorf("%s: %d bytes of %d went over the serial port", what, came, len(content))
		}
	}
	get := func(what string, over bool) {
		t.Helper()
		before := passed.Load()
		check(what, g.run(ctx, fetch), over, before)
	}
	proxied := func(what string, over bool) {
		t.Helper()
		for _, by := range []string{" --socks5-hostname 127.0.0.1:1080", " -x http://127.0.0.1:3128"} {
			before := passed.Load()
			check(what+by, g.run(ctx, strings.Replace(fetch, " http:", by+letGo+" http:", 1)), over, before)
		}
	}
	await(true)
	get("at first", true)
	proxied("at first", true)
	if said := g.run(ctx, "proxy-status"); !strings.Contains(said, "over the serial port") {
		t.Errorf("proxy-status: %s", said)
	}

	g.run(ctx, "sudo pkill -9 -f '[c]alhelper.* tunnel'")
	await(true)
	get("the guest's program killed", true)

	// Somebody else has the port when it is free.
	g.run(ctx, "sudo pkill -9 -f '[c]alhelper.* tunnel'")
	var other net.Conn
	for other == nil && ctx.Err() == nil {
		other, _ = dial(ctx)
	}
	await(false)
	get("the port taken", false)
	proxied("the port taken", false)
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	await(true)
	get("the port free", true)
	proxied("the port free", true)

	r.SetMethod(catch.Off)
	reported("nothing redirected", func(r wire.Report) bool { return r.Way == "" && r.Proxy })
	proxied("nothing redirected", true)
	r.SetMethod(catch.Auto)
	await(true)
	proxied("redirected again", true)

	// The machine stands still in the midst of it.
	m, err := g.a.Driver.Machine(ctx, "demo")
	if err != nil || m.PID == 0 {
		t.Fatal(m, err)
	}
	before := passed.Load()
	still := make(chan struct{})
	go func() {
		defer close(still)
		for passed.Load() < before+4<<20 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		_ = syscall.Kill(m.PID, syscall.SIGSTOP)
		time.Sleep(3 * time.Second)
		_ = syscall.Kill(m.PID, syscall.SIGCONT)
	}()
	got := g.run(ctx, fetch)
	<-still
	check("the machine stood still", got, true, before)

	if err := g.a.Driver.Suspend(ctx, "demo", nil); err != nil {
		t.Fatal(err)
	}
	if err := g.a.Start(ctx, "demo", nil); err != nil {
		t.Fatal(err)
	}
	link.Check(true)
	g.connect(ctx)
	await(true)
	get("saved and resumed", true)

	// Rolled back in the midst of a download: what goes on in the guest then has lost its host.
	more := func() {
		t.Helper()
		for before := passed.Load(); passed.Load() < before+4<<20; time.Sleep(10 * time.Millisecond) {
			if ctx.Err() != nil {
				t.Fatal("nothing comes")
			}
		}
	}
	g.run(ctx, "setsid curl -sS -o /dev/null http://8.8.8.8/endless >/dev/null 2>&1 </dev/null &")
	more()
	s, err := g.a.TakeSnapshot(ctx, "demo", snapshot.Snapshot{Name: "download", Mode: snapshot.ModeWarm}, nil)
	if err != nil {
		t.Fatal(err)
	}
	more() // it lived through the snapshot
	if rolled, err := g.a.Rollback(ctx, "demo", s.ID, nil); err != nil || !rolled.Resumed {
		t.Fatalf("%+v, %v", rolled, err)
	}
	back := time.Now()
	g.connect(ctx)
	g.run(ctx, "until curl -sS --max-time 5 -o /dev/null http://8.8.8.8/; do sleep 0.1; done")
	t.Logf("a connection %v after the rollback", time.Since(back).Round(10*time.Millisecond))
	await(true)
	get("rolled back", true)
	g.run(ctx, "! pgrep curl") // the download has ended, and is not left to wait
}
