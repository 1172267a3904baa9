package app

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
)

// TestLent has the process that keeps a workspace lend its connection to another, which snapshots and previews go over.
func TestLent(t *testing.T) {
	a, d := demo(t)
	other, err := Open(Options{Driver: d})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	w, err := other.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	if c := other.lent(t.Context(), "demo"); c != nil {
		t.Error("a workspace nobody keeps is lent")
	}
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- a.Keep(ctx, "demo", Hooks{}) }()
	var c *guest.Client
	for c == nil {
		c = other.lent(t.Context(), "demo")
	}
	defer c.Close()
	if r, err := c.Output(t.Context(), guest.Cmd{Argv: []string{"echo", "here"}}); err != nil || string(r.Stdout) != "here\n" {
		t.Errorf("%q, %v", r.Stdout, err)
	}
	if own := a.kept(t.Context(), "demo"); own == nil {
		t.Error("who keeps the workspace does not use its own connection")
	}
	borrowed, done, err := other.borrow(t.Context(), nil, w)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-kept; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-borrowed.Done()
	done()
	if a.kept(t.Context(), "demo") != nil {
		t.Error("a connection is kept that nobody keeps")
	}
	if borrowed, done, err = other.borrow(t.Context(), nil, w); err != nil {
		t.Fatalf("nobody lends, and there is no connection: %v", err)
	}
	defer done()
	if err := borrowed.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRefusalsAreToldOfOnceInAWhile(t *testing.T) {
	var r told
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	told := 0
	for i := range 1000 {
		if r.news("example.org", now.Add(time.Duration(i)*time.Second)) {
			told++
		}
	}
	if told != 2 { // 1000 s are one interval and a bit
		t.Errorf("one host is told of %d times", told)
	}
	for i := range 1000 {
		if r.news(fmt.Sprintf("host-%d.example.org", i), now.Add(1000*time.Second)) {
			told++
		}
	}
	if told > toldMost+2 {
		t.Errorf("a thousand hosts are told of %d times", told)
	}
}
