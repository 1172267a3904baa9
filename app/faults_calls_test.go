package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/host"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// driverCalls are the driver's methods that can fail.
var driverCalls = []string{
	"EnsureImage", "ImageReady", "Create", "Start", "Stop", "Suspend", "Delete", "Machine", "Machines", "Resize",
	"CreateSnapshot", "Snapshots", "Restore", "DeleteSnapshot", "Recover", "DialSSH", "Exposure",
}

// callVerb is a verb in which each call of the driver's fails once. It is tried on a workspace with the snapshots base
// (A) and one (B, a session's), whose disk holds C.
type callVerb struct {
	running bool
	do      func(ctx context.Context, a *App) error
	after   []string
}

var (
	callsBefore = []string{"base A", "now C", "one B"}
	afterNew    = []string{"base A", "new C", "now C", "one B"}
	afterBack   = []string{"base A", "now A", "one B", "undo C"}
)

var callVerbs = map[string]callVerb{
	"start":               {false, verbOf((*App).Start), callsBefore},
	"stop":                {true, verbOf((*App).Stop), callsBefore},
	"restart":             {true, verbOf((*App).Restart), callsBefore},
	"snapshot":            {false, takeNew, afterNew},
	"snapshot of running": {true, takeNew, afterNew},
	"rollback":            {false, goBack, afterBack},
	"rollback of running": {true, goBack, afterBack},
	"delete": {false, func(ctx context.Context, a *App) error {
		return a.DeleteSnapshot(ctx, "demo", "one", nil)
	}, []string{"base A", "now C"}},
	"prune": {false, func(ctx context.Context, a *App) error {
		list, err := a.Snapshots(ctx, "demo")
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(s snapshot.Snapshot) bool { return s.Kind != snapshot.Session })
		var plan []snapshot.Removal
		for _, s := range list {
			plan = append(plan, snapshot.Removal{Snapshot: s})
		}
		_, err = a.PruneSnapshots(ctx, "demo", plan, nil)
		return err
	}, []string{"base A", "now C"}},
	"rename": {false, func(ctx context.Context, a *App) error {
		_, err := a.RenameSnapshot(ctx, "demo", "one", "better", nil)
		return err
	}, []string{"base A", "better B", "now C"}},
	"remove": {true, verbOf((*App).Delete), []string{"gone"}},
}

func verbOf(f func(*App, context.Context, string, vm.Progress) error) func(context.Context, *App) error {
	return func(ctx context.Context, a *App) error { return f(a, ctx, "demo", nil) }
}

func takeNew(ctx context.Context, a *App) error {
	_, err := a.TakeSnapshot(ctx, "demo", snapshot.Snapshot{Name: "new"}, nil)
	return err
}

func goBack(ctx context.Context, a *App) error {
	_, err := a.Rollback(ctx, "demo", "base", nil)
	return err
}

// callWorld is a workspace that a verb is tried on.
type callWorld struct {
	a *App
	d *vmtest.Memory
}

func newCallWorld(t *testing.T, verb callVerb) *callWorld {
	t.Helper()
	home := config.Home{Dir: filepath.Join(t.TempDir(), "cal")}
	d := vmtest.NewMemory(t, vmtest.MemoryOptions{})
	w := &callWorld{&App{Home: home, Driver: d, Rhythm: host.NewRhythm()}, d}
	err := home.Ensure()
	if err == nil {
		w.a.Journal, err = journal.Open(home.JournalDir())
	}
	err = errors.Join(err, w.a.Reload(), w.a.openLog())
	if err == nil {
		t.Cleanup(func() { _ = w.a.Close() })
		err = w.a.New(t.Context(), "demo", nil, nil)
	}
	for _, s := range []snapshot.Snapshot{{Name: "base"}, {Name: "one", Kind: snapshot.Session}, {}} {
		content := map[string]string{"base": "A", "one": "B", "": "C"}[s.Name]
		err = errors.Join(err, os.MkdirAll(d.Home("demo"), 0o700),
			os.WriteFile(w.mark(d.Home("demo")), []byte(content), 0o600))
		if s.Name != "" && err == nil {
			_, err = w.a.TakeSnapshot(t.Context(), "demo", s, nil)
		}
	}
	if err == nil && verb.running {
		err = w.a.Start(t.Context(), "demo", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (*callWorld) mark(dir string) string { return filepath.Join(dir, "mark") }

// state is the snapshots and the disk, with what they hold, sorted.
func (w *callWorld) state(t *testing.T) []string {
	t.Helper()
	if _, err := w.a.Workspace("demo"); err != nil {
		return []string{"gone"}
	}
	list, err := w.a.Snapshots(t.Context(), "demo")
	if err != nil {
		return []string{err.Error()}
	}
	home := w.d.Home("demo")
	dirs := map[string]string{"now": home}
	for _, s := range list {
		name := s.Name
		if s.Kind == snapshot.Undo {
			name = "undo"
		}
		dirs[name] = filepath.Join(filepath.Dir(home), "snap-"+s.ID)
	}
	var all []string
	for name, dir := range dirs {
		content, err := os.ReadFile(w.mark(dir))
		if err != nil {
			t.Error(err)
		}
		all = append(all, name+" "+string(content))
	}
	slices.Sort(all)
	return all
}

// failedCall is the nth call of a method.
type failedCall struct {
	method string
	n      int
}

// calls counts those that a verb makes.
func (verb callVerb) calls(t *testing.T) (all []failedCall) {
	t.Helper()
	const most = 100
	w := newCallWorld(t, verb)
	var mu sync.Mutex
	counting := true
	for _, method := range driverCalls {
		n := 0
		for range most {
			w.d.OnNext(method, func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				if counting {
					all = append(all, failedCall{method, n})
					n++
				}
				return nil
			})
		}
	}
	if err := verb.do(t.Context(), w.a); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	counting = false
	return all
}

// TestEveryDriverCallFailsOnce has each call of the driver's that a verb makes fail: the verb fails with that, or does
// without, and leaves what was or what was to be; asked again, it does what it should have done.
func TestEveryDriverCallFailsOnce(t *testing.T) {
	if os.Getenv("CAL_TEST_LONG") == "" {
		t.Skip("set CAL_TEST_LONG=1: each call takes a world of its own")
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "curl"), []byte(sealedCurl), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HOME", t.TempDir())
	broken := errors.New("broken on purpose")
	var points, failed atomic.Int32
	for name, verb := range callVerbs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, call := range verb.calls(t) {
				t.Run(fmt.Sprint(call.method, call.n), func(t *testing.T) {
					points.Add(1)
					w := newCallWorld(t, verb)
					for range call.n {
						w.d.OnNext(call.method, func(context.Context) error { return nil })
					}
					w.d.Fail(call.method, broken)
					err := verb.do(t.Context(), w.a)
					if err != nil {
						failed.Add(1)
						// Isolation is checked of what runs: a process that cannot be told is none.
						untold := call.method == "Machine" && errors.Is(err, vm.ErrNotRunning)
						if !errors.Is(err, broken) && !untold {
							t.Errorf("it failed with %v", err)
						}
					}
					got := w.state(t)
					done := slices.Equal(got, verb.after)
					if !done && (err == nil || !slices.Equal(got, callsBefore)) {
						t.Errorf("%v: it is %q", err, got)
					}
					all, stateErr := w.a.State(t.Context())
					if s, ok := all.Find("demo"); stateErr != nil || ok && s.Operation != nil {
						t.Errorf("an operation goes on: %+v, %v", s.Operation, stateErr)
					}
					if done && err == nil {
						return
					}
					if err := verb.do(t.Context(), w.a); err != nil && !slices.Equal(got, verb.after) {
						t.Errorf("once more: %v", err)
					}
				})
			}
		})
	}
	t.Cleanup(func() {
		t.Logf("%d calls of the driver's failed in %d verbs, and %d times the verb with them",
			points.Load(), len(callVerbs), failed.Load())
	})
}
