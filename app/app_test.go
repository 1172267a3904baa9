package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/snapshot"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// sealedCurl stands for curl in a guest that reaches nothing: it accounts for every attempt, and none succeeds.
const sealedCurl = `#!/bin/sh
for a; do case "$a" in http://*/*/*) printf '7 000 %s\n' "$a";; esac; done
exit 7
`

// open returns an App over an in-memory driver, in directories of the test's own.
func open(t *testing.T) (*App, *vmtest.Memory) {
	t.Helper()
	return openOn(t, vmtest.MemoryOptions{})
}

func openOn(t *testing.T, o vmtest.MemoryOptions) (*App, *vmtest.Memory) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "curl"), []byte(sealedCurl), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CAL_HOME", filepath.Join(t.TempDir(), "cal"))
	d := vmtest.NewMemory(t, o)
	a, err := Open(Options{Driver: d})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a, d
}

// demo is open with a running workspace.
func demo(t *testing.T) (*App, *vmtest.Memory) {
	t.Helper()
	a, d := open(t)
	if err := a.New(t.Context(), "demo", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	// Memory's network is whatever the test says; what is asked here is the app, not the driver.
	d.SetExposure("demo", &vm.Exposure{Restricted: true, Listeners: []string{"127.0.0.1:22"}, Evidence: "memory"})
	if _, err := a.CheckIsolation(t.Context(), "demo"); err != nil {
		t.Fatal(err)
	}
	return a, d
}

func workspace(t *testing.T, a *App, name string) state.Workspace {
	t.Helper()
	s, err := a.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, ok := s.Find(name)
	if !ok {
		t.Fatalf("no workspace %q in %+v", name, s)
	}
	return w
}

func put(t *testing.T, d *vmtest.Memory, file, content string) {
	t.Helper()
	f := filepath.Join(d.Home("demo"), file)
	if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheWholeStory(t *testing.T) {
	a, _ := demo(t)
	var steps []string
	err := a.Story(t.Context(), "demo", nil, func(s Step) { steps = append(steps, s.What) })
	// The in-memory guest's home is a directory that `rm -rf ~` removes for good until the rollback puts it back.
	if err != nil {
		t.Fatalf("after %q: %v", steps, err)
	}
	if len(steps) != 8 {
		t.Errorf("steps %q", steps)
	}
	w := workspace(t, a, "demo")
	if w.Life != state.Running || len(w.Artifacts) != 1 || len(w.Snapshots) != 2 {
		t.Errorf("afterwards: %+v", w)
	}
}

func TestStartProvesIsolationAndStopDiscardsTheProof(t *testing.T) {
	a, _ := demo(t)
	if w := workspace(t, a, "demo"); w.Light() != state.Green {
		t.Errorf("running: %s, %s", w.Light(), w.Why())
	}
	if err := a.Stop(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	if w := workspace(t, a, "demo"); w.Light() != state.Grey || w.Isolation.Level != isolation.Unknown {
		t.Errorf("stopped: %s, %s", w.Light(), w.Why())
	}
	if err := a.Stop(t.Context(), "demo", nil); !errors.Is(err, vm.ErrNotRunning) {
		t.Errorf("stopping twice: %v", err)
	}
}

func TestRollbackKeepsWhatItReplacesAndCanBeUndone(t *testing.T) {
	a, d := demo(t)
	ctx := t.Context()
	put(t, d, "workspace/notes", "good")
	s, err := a.TakeSnapshot(ctx, "demo", snapshot.Snapshot{Name: "before the rewrite"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, d, "workspace/notes", "ruined")
	read := func() string {
		b, err := os.ReadFile(filepath.Join(d.Home("demo"), "workspace/notes"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, step := range []struct {
		ref  string
		undo bool
		want string
	}{{ref: s.Name, want: "good"}, {undo: true, want: "ruined"}, {undo: true, want: "good"}, {ref: s.ID, want: "good"}} {
		if step.undo {
			_, err = a.UndoRollback(ctx, "demo", nil)
		} else {
			_, err = a.Rollback(ctx, "demo", step.ref, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := read(); got != step.want {
			t.Errorf("after %+v the file says %q", step, got)
		}
		if w := workspace(t, a, "demo"); w.PID == 0 {
			t.Error("a workspace that ran does not run after its rollback")
		}
	}
}

func TestARollbackThatCannotBeDoneLeavesEverythingAsItWas(t *testing.T) {
	a, d := demo(t)
	ctx := t.Context()
	if _, err := a.TakeSnapshot(ctx, "demo", snapshot.Snapshot{Name: "one"}, nil); err != nil {
		t.Fatal(err)
	}
	put(t, d, "workspace/notes", "precious")
	d.Fail("Restore", vm.ErrNoSpace)
	if _, err := a.Rollback(ctx, "demo", "one", nil); !errors.Is(err, vm.ErrNoSpace) {
		t.Fatalf("rollback: %v", err)
	}
	w := workspace(t, a, "demo")
	b, err := os.ReadFile(filepath.Join(d.Home("demo"), "workspace/notes"))
	if err != nil || string(b) != "precious" || w.PID == 0 {
		t.Errorf("file %q, %v; life %s", b, err, w.Life)
	}
	if _, err := a.Rollback(ctx, "demo", "nowhere", nil); !errors.Is(err, vm.ErrNoSnapshot) {
		t.Errorf("rollback to nowhere: %v", err)
	}
}

func TestSessionSnapshotsAreRotated(t *testing.T) {
	a, _ := demo(t)
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	w.Snapshots.Prefix = "s" // names carry the second: two within one would clash
	for i := range w.Snapshots.MaxAuto + 2 {
		w.Snapshots.Prefix = strings.Repeat("s", i+1)
		if err := a.SessionSnapshot(t.Context(), nil, w, nil); err != nil {
			t.Fatal(err)
		}
	}
	list, err := a.Snapshots(t.Context(), "demo")
	if err != nil || len(list) != w.Snapshots.MaxAuto {
		t.Errorf("%d snapshots are kept, %v", len(list), err)
	}
}

func TestOperationsOnOneWorkspaceWaitForEachOther(t *testing.T) {
	a, d := demo(t)
	entered, release := make(chan struct{}), make(chan struct{})
	d.OnNext("Stop", func(context.Context) error {
		close(entered)
		<-release
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Stop(t.Context(), "demo", nil); err != nil {
			t.Error(err)
		}
	})
	<-entered
	if w := workspace(t, a, "demo"); w.Operation == nil || w.Operation.Verb != "stop" || w.Light() != state.Yellow {
		t.Errorf("while stopping: %+v, %s", w.Operation, w.Light())
	}
	waiting := make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		err := a.Restart(ctx, "demo", func(p vm.Phase) {
			select {
			case waiting <- p.Name:
			default:
			}
		})
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "in use by stop") {
			t.Errorf("a restart that waited: %v", err)
		}
	})
	select {
	case what := <-waiting:
		if !strings.HasPrefix(what, "waiting for stop") {
			t.Errorf("it waits for %q", what)
		}
	case <-time.After(20 * time.Second):
		t.Error("nothing says what is waited for")
	}
	cancel()
	close(release)
	wg.Wait()
}

func TestKeepBringsArtifactsInAndEndsWithTheMachine(t *testing.T) {
	a, d := demo(t)
	landed := make(chan outbox.Report, 10)
	done := make(chan error, 1)
	go func() {
		done <- a.Keep(t.Context(), "demo", Hooks{Landed: func(_ *config.Workspace, r outbox.Report) { landed <- r }})
	}()
	put(t, d, "output/app.bin", "built")
	select {
	case r := <-landed:
		if len(r.Landed) != 1 || r.Landed[0].Name != "app.bin" {
			t.Errorf("landed %+v", r)
		}
	case err := <-done:
		t.Fatalf("keeping ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("nothing landed")
	}
	if err := a.Keep(t.Context(), "demo", Hooks{}); !errors.Is(err, ErrKept) {
		t.Errorf("a second keeper: %v", err)
	}
	if err := a.Stop(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("keeping ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("keeping goes on without a machine")
	}
}

// TestKeepGoesByTheOutboxSettingsAsTheyAre: what is set while a workspace is kept holds for what comes then.
func TestKeepGoesByTheOutboxSettingsAsTheyAre(t *testing.T) {
	a, d := demo(t)
	reports := make(chan outbox.Report, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- a.Keep(ctx, "demo", Hooks{Landed: func(_ *config.Workspace, r outbox.Report) { reports <- r }})
	}()
	next := func() outbox.Report {
		t.Helper()
		select {
		case r := <-reports:
			return r
		case <-time.After(30 * time.Second):
			t.Fatal("nothing landed and nothing was refused")
			return outbox.Report{}
		}
	}
	put(t, d, "output/small", "1")
	next()
	if err := a.Config().Set(a.Home.ConfigFile(), "outbox.max_file", "1kB"); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ { // it holds soon, not at once
		name := fmt.Sprintf("large%d", i)
		put(t, d, "output/"+name, strings.Repeat("x", 2000))
		r := next()
		if len(r.New) > 0 {
			break
		}
		if i == 100 || len(r.Landed) != 1 || r.Landed[0].Name != name {
			t.Fatalf("with a limit that was set meanwhile: %+v", r)
		}
		time.Sleep(outboxEvery / 4)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNewGoesOnWithWhatAKilledOneLeft(t *testing.T) {
	a, _ := open(t)
	if err := a.Config().CreateWorkspace("demo", nil); err != nil {
		t.Fatal(err)
	}
	if err := a.New(t.Context(), "demo", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context(), "demo", nil); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeRecoveredCanStillBeStoppedAndDeleted(t *testing.T) {
	a, d := demo(t)
	d.Fail("Recover", vm.ErrNoSpace)
	if err := a.Stop(t.Context(), "demo", nil); err != nil {
		t.Errorf("stop: %v", err)
	}
	d.Fail("Recover", vm.ErrNoSpace)
	if err := a.Delete(t.Context(), "demo", nil); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestNewCleansUpAfterItself(t *testing.T) {
	a, d := open(t)
	d.Fail("Create", vm.ErrNoSpace)
	if err := a.New(t.Context(), "demo", nil, nil); !errors.Is(err, vm.ErrNoSpace) {
		t.Fatalf("new: %v", err)
	}
	if names, err := a.Config().Workspaces(); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if err := a.New(t.Context(), "demo", nil, nil); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if err := a.New(t.Context(), "demo", nil, nil); !errors.Is(err, vm.ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := a.New(t.Context(), "../etc", nil, nil); err == nil {
		t.Error("a path is taken for a name")
	}
	if err := a.Delete(t.Context(), "demo", nil); err != nil {
		t.Error(err)
	}
	if _, err := a.Current(); !errors.Is(err, ErrNoWorkspace) {
		t.Errorf("after deleting the only workspace: %v", err)
	}
}
