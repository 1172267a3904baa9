package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

func TestWhatTheGuestSaysOfItsAgents(t *testing.T) {
	for text, want := range map[string]activity{
		"1000\n":                       {silent: 1000 * time.Second},
		"":                             {},
		"now\n990 codex\n":             {},
		"1000\n990 codex\n":            {silent: 10 * time.Second, names: []string{"codex"}},
		"1000\n900 codex\n995 shell\n": {silent: 5 * time.Second, names: []string{"codex", "shell"}},
		"1000\n2000 codex\n":           {names: []string{"codex"}},
		"1000\nx codex\n-5 codex\n990\n990 \n\n1 ":          {silent: 1000 * time.Second},
		"9223372036854775807\n0 codex\n":                    {silent: 10 * 365 * 24 * time.Hour, names: []string{"codex"}},
		"-9223372036854775808\n9223372036854775807 codex\n": {names: []string{"codex"}},
	} {
		if diff := cmp.Diff(want, parseActivity(text), cmp.AllowUnexported(activity{})); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func FuzzActivity(f *testing.F) {
	f.Add("1000\n990 codex\n")
	f.Add("1000\n" + strings.Repeat("990 codex\n", 100))
	f.Fuzz(func(t *testing.T, text string) {
		if a := parseActivity(text); a.silent < 0 || len(a.names) > len(text) {
			t.Errorf("%q is %+v", text, a)
		}
	})
}

func TestAPeriodicSnapshotNeverShutsTheMachineDown(t *testing.T) {
	warm, not := vm.Machine{Warm: vm.Warmth{OK: true}}, vm.Machine{Warm: vm.Warmth{Reason: "a folder is shared into it"}}
	for _, c := range []struct {
		caps       vm.Capabilities
		configured string
		m          vm.Machine
		mode       string
		may        bool
	}{
		{vm.Capabilities{LiveSnapshot: true}, "auto", not, "", true},
		{vm.Capabilities{LiveSnapshot: true}, "warm", warm, "", true},
		{vm.Capabilities{WarmSnapshot: true}, "auto", warm, "warm", true},
		{vm.Capabilities{WarmSnapshot: true}, "auto", not, "", false},
		{vm.Capabilities{WarmSnapshot: true}, "cold", warm, "", false},
		{vm.Capabilities{}, "auto", not, "", false},
	} {
		if mode, may := periodicMode(c.caps, c.configured, c.m); mode != c.mode || may != c.may {
			t.Errorf("%+v, %s, %+v: %q, %v", c.caps, c.configured, c.m, mode, may)
		}
	}
}

// fakeTmux has agents be at work in the guest, as a file says.
func fakeTmux(t *testing.T) (say func(format string, args ...any)) {
	t.Helper()
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	if err := os.WriteFile(filepath.Join(dir, "tmux"), []byte("#!/bin/sh\ncat '"+said+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func(format string, args ...any) {
		t.Helper()
		if err := os.WriteFile(said, fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPeriodicSnapshotsAreTakenWhileAnAgentIsAtWork(t *testing.T) {
	t.Setenv("CAL_SNAPSHOTS_PERIODIC_MINUTES", "10")
	t.Setenv("CAL_SNAPSHOTS_MAX_PERIODIC", "2")
	t.Setenv("CAL_SNAPSHOTS_WARN_FREE_GIB", "0")
	a, _ := demo(t)
	say := fakeTmux(t)
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Connect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	count := func() (n int) {
		list, err := a.Snapshots(t.Context(), "demo")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if s.Kind == snapshot.Periodic {
				n++
			}
		}
		return n
	}
	// Whether one is due is asked with an interval that is over, or not over, by the time of the last one.
	look := func(every time.Duration, want int) (wait time.Duration) {
		t.Helper()
		wait, err := a.periodic(t.Context(), w, c, every)
		if err != nil {
			t.Fatal(err)
		}
		if got := count(); got != want {
			t.Errorf("%d periodic snapshots, want %d", got, want)
		}
		return wait
	}
	if wait := look(10*time.Minute, 0); wait != periodicLook {
		t.Errorf("while nobody is at work, the next look is in %s", wait)
	}
	say("%d evil\n", time.Now().Unix())
	look(10*time.Minute, 0)
	say("%d codex\n", time.Now().Unix()+3600) // the guest's clock is the guest's
	if wait := look(10*time.Minute, 1); wait != 10*time.Minute {
		t.Errorf("after one, the next look is in %s", wait)
	}
	if wait := look(time.Hour, 1); wait <= 59*time.Minute || wait > time.Hour {
		t.Errorf("before it is due, the next look is in %s", wait)
	}
	say("%d codex\n", time.Now().Unix()-7200)
	look(time.Nanosecond, 1) // it has printed nothing since
	say("%d codex\n", time.Now().Unix()+3600)
	look(time.Nanosecond, 2)
	look(time.Nanosecond, 2) // and an old one went
	list, err := a.Snapshots(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	if s := list[0]; s.Agent != "codex" || s.Reason != "every 10 minutes while codex is at work" {
		t.Errorf("%+v", s)
	}
}

func TestPeriodicSnapshotsLeaveAFullDiskAlone(t *testing.T) {
	t.Setenv("CAL_SNAPSHOTS_PERIODIC_MINUTES", "10")
	t.Setenv("CAL_SNAPSHOTS_WARN_FREE_GIB", "65536")
	a, _ := demo(t)
	fakeTmux(t)("%d codex\n", time.Now().Unix()+3600)
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Connect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if wait, err := a.periodic(t.Context(), w, c, 10*time.Minute); err != nil || wait != 10*time.Minute {
		t.Errorf("the next look is in %s, %v", wait, err)
	}
	if list, err := a.Snapshots(t.Context(), "demo"); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	w.Snapshots.PeriodicMinutes = 0
	if err := a.KeepPeriodic(t.Context(), w, c); err != nil {
		t.Errorf("switched off: %v", err)
	}
}

// TestAPeriodicSnapshotThatSuspendsTheMachineResumesIt although the connection, and all that is kept over it, ends.
func TestAPeriodicSnapshotThatSuspendsTheMachineResumesIt(t *testing.T) {
	t.Setenv("CAL_SNAPSHOTS_PERIODIC_MINUTES", "10")
	t.Setenv("CAL_SNAPSHOTS_WARN_FREE_GIB", "0")
	a, _ := open(t)
	caps := vmtest.DefaultCapabilities()
	caps.LiveSnapshot, caps.LiveWarmSnapshot, caps.WarmSnapshot = false, false, true
	d := vmtest.NewMemory(t, vmtest.MemoryOptions{Capabilities: &caps})
	a.Driver = d
	if err := a.New(t.Context(), "demo", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	fakeTmux(t)("%d codex\n", time.Now().Unix()+3600)
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Connect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { // as the keeper does it
		defer close(ended)
		<-c.Done()
		cancel()
	}()
	t.Cleanup(func() { _ = c.Close(); <-ended })
	if _, err := a.periodic(ctx, w, c, 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	list, err := a.Snapshots(t.Context(), "demo")
	if err != nil || len(list) != 1 || list[0].Kind != snapshot.Periodic || !list[0].Warm {
		t.Errorf("%+v, %v", list, err)
	}
	if m, err := d.Machine(t.Context(), "demo"); err != nil || !m.Running || !m.Resumed {
		t.Errorf("%+v, %v", m, err)
	}
}

// Nobody waits for memory to be saved before a session, unless an agent is at work that would go on.
func TestSessionSnapshotsHoldMemoryOnlyForAgentsAtWork(t *testing.T) {
	a, _ := demo(t)
	say := fakeTmux(t)
	say("")
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Connect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	const socket = `mkdir "$TMUX_TMPDIR/tmux-1" && : >"$TMUX_TMPDIR/tmux-1/cal"` // a server's
	if r, err := c.Output(t.Context(), guest.Cmd{Argv: []string{"sh", "-c", socket}}); err != nil || r.Exit != 0 {
		t.Fatalf("%v: %s", err, r.Stderr)
	}
	if mode := a.sessionMode(t.Context(), c, w); mode != snapshot.ModeCold {
		t.Errorf("nobody is at work: %s", mode)
	}
	say("codex\n")
	if mode := a.sessionMode(t.Context(), c, w); mode != snapshot.ModeAuto {
		t.Errorf("an agent is at work: %s", mode)
	}
	w.Snapshots.Mode = snapshot.ModeWarm
	say("")
	if mode := a.sessionMode(t.Context(), c, w); mode != snapshot.ModeWarm {
		t.Errorf("warm is configured: %s", mode)
	}
}
