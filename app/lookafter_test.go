package app

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/journal"
)

// left looks after demo as the process left with it does, by an App of its own.
func left(ctx context.Context, t *testing.T, a *App) (ended chan error) {
	t.Helper()
	other, err := Open(Options{Driver: a.Driver})
	if err != nil {
		t.Fatal(err)
	}
	return leftBy(ctx, t, a, other)
}

// leftBy is left by this App, which it closes.
func leftBy(ctx context.Context, t *testing.T, a, other *App) (ended chan error) {
	t.Helper()
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

// TestLookAfterAfterAnUpdate: when the machine is started again, the program looks after it that is there then.
func TestLookAfterAfterAnUpdate(t *testing.T) {
	a, _ := demo(t)
	program, called := filepath.Join(t.TempDir(), "CALMenu"), filepath.Join(t.TempDir(), "called")
	install := func(script string) {
		t.Helper()
		if err := atomicfile.Write(program, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	install("exit 1")
	other, err := Open(Options{Driver: a.Driver})
	if err != nil {
		t.Fatal(err)
	}
	other.program = func() (string, error) { return program, nil }
	ended := leftBy(t.Context(), t, a, other)
	install(`echo "$@" >` + called)
	if err := a.Restart(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if args, _ := os.ReadFile(called); string(args) == LookAfterVerb+" demo\n" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the new program was called with %q", args)
		}
	}
	if a.held("demo", keeperLock) || a.held("demo", keepLock) {
		t.Error("who has left it to another holds a lock")
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
