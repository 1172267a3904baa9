package app

import (
	"bytes"
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/host"
	"github.com/calmenu/calmenu/internal/isolation"
)

// TestWakeInARealGuest tells a keeper of a sleep and of wakes: the guest's clock is stepped, a connection that does not
// answer is made again, and isolation is proven anew.
func TestWakeInARealGuest(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 8*time.Minute)
	defer cancel()
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
	said := func(text string) int {
		b, err := os.ReadFile(a.LogFile())
		must(err)
		return bytes.Count(b, []byte(text))
	}
	const up, down = `"up":true`, `"up":false`
	soon("the connection", func() bool { return said(up) == 1 })

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
	if said(down) != 0 {
		t.Error("a connection that lives was made again")
	}

	m, err := a.Driver.Machine(ctx, "demo")
	must(err)
	must(syscall.Kill(m.PID, syscall.SIGSTOP)) // a guest that does not answer
	changed := time.Now()
	a.Rhythm.Tell(host.NetworkChanged)
	soon("the connection to be given up", func() bool { return said(down) > 0 })
	must(syscall.Kill(m.PID, syscall.SIGCONT))
	soon("the connection to be made again", func() bool { return said(up) >= 2 })
	soon("isolation to be proven anew", proven(changed))
	t.Logf("given up and made again within %v", time.Since(changed).Round(time.Second/10))
	stop()
	must(<-kept)
}
