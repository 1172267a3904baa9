package app

import (
	"context"
	"testing"

	"github.com/calmenu/calmenu/internal/journal"
)

// left looks after demo as the process left with it does, by an App of its own.
func left(ctx context.Context, t *testing.T, a *App) (ended chan error) {
	t.Helper()
	other, err := Open(Options{Driver: a.Driver})
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() {
		ended <- other.LookAfter(ctx, "demo")
		_ = other.Close()
	}()
	for !a.held("demo", settledLock) {
		if t.Context().Err() != nil || len(ended) > 0 {
			t.Fatal("the workspace is not looked after")
		}
	}
	return ended
}

func TestLookAfterEndsWithTheMachine(t *testing.T) {
	a, _ := demo(t)
	ended := left(t.Context(), t, a)
	if err := a.LookAfter(t.Context(), "demo"); err != nil { // which would not return if it did the same once more
		t.Error(err)
	}
	if err := a.Stop(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if a.held("demo", keeperLock) || a.held("demo", keepLock) || a.held("demo", settledLock) {
		t.Error("what has ended holds a lock")
	}
}

// TestLookAfterGoesOnAfterRestart: who starts the machine again finds the keeper there and leaves no other.
func TestLookAfterGoesOnAfterRestart(t *testing.T) {
	a, _ := demo(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := left(ctx, t, a)
	if err := a.Restart(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	if !a.held("demo", keeperLock) {
		t.Error("the keeper has gone, and the machine runs")
	}
	c := a.lent(t.Context(), "demo")
	for ; c == nil; c = a.lent(t.Context(), "demo") {
		if len(ended) > 0 || t.Context().Err() != nil {
			t.Fatal("nobody keeps what runs")
		}
	}
	_ = c.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestLookAfterLeavesItToTheAgent(t *testing.T) {
	a, _ := demo(t)
	ended := left(t.Context(), t, a)
	if err := a.Journal.Append(journal.Event{Kind: journal.AgentBegin}); err != nil { // this process is the agent now
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
