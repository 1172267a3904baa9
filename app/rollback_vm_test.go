package app

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// realGuest opens an App on the real driver with a home of its own, and starts a workspace in it.
func realGuest(t *testing.T, ctx context.Context, name string) *App {
	t.Helper()
	if os.Getenv("CAL_TEST_VM") != "1" {
		t.Skip("set CAL_TEST_VM=1: it boots a machine")
	}
	cache := os.Getenv("CAL_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(user, "calmenu")
	}
	home, err := os.MkdirTemp("", "cal") // not t.TempDir: the path of a socket may have 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	t.Setenv("CAL_CACHE", cache)
	t.Setenv("HOME", home)
	t.Setenv("CAL_HOME", filepath.Join(home, ".cal"))
	t.Setenv("CAL_DRIVER", "qemu")
	a, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	if err := vmtest.Ready(ctx, a.Driver, vmtest.Size); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{
		"agent": "shell", "resources.cpu": strconv.Itoa(vmtest.Size.CPU), "resources.memory": strconv.Itoa(vmtest.Size.MemoryMiB),
		"resources.disk_size": strconv.Itoa(vmtest.Size.DiskGiB),
	}
	if err := a.New(ctx, name, values, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Delete(context.Background(), name, nil); err != nil {
			t.Error(err)
		}
	})
	if err := a.Start(ctx, name, nil); err != nil {
		t.Fatal(err)
	}
	return a
}

// inside runs commands in a real guest, over a connection that is made anew when the guest was.
type inside struct {
	t *testing.T
	a *App
	w *config.Workspace
	c *guest.Client
}

// insideReal starts a workspace and connects to its guest.
func insideReal(t *testing.T, ctx context.Context) *inside {
	t.Helper()
	a := realGuest(t, ctx, "demo")
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	g := &inside{t: t, a: a, w: w}
	g.connect(ctx)
	t.Cleanup(func() { _ = g.c.Close() })
	return g
}

func (g *inside) connect(ctx context.Context) {
	g.t.Helper()
	if g.c != nil {
		_ = g.c.Close()
	}
	var err error
	if g.c, err = g.a.Connect(ctx, g.w); err != nil {
		g.t.Fatal(err)
	}
}

// run runs a command and returns what it printed, or fails.
func (g *inside) run(ctx context.Context, script string) string {
	g.t.Helper()
	r, err := g.c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", script}, Limit: 64 << 10})
	if err != nil || r.Exit != 0 {
		g.t.Fatalf("%s: exit %d, %v: %s%s", script, r.Exit, err, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}

// until polls the guest until a command's output holds text.
func (g *inside) until(ctx context.Context, script, text string) {
	g.t.Helper()
	for last := ""; !strings.Contains(last, text); last = g.run(ctx, script) {
		if ctx.Err() != nil {
			g.t.Fatalf("%s: %q never came, but %q", script, text, last)
		}
	}
}

func (g *inside) count(ctx context.Context) int {
	g.t.Helper()
	n, err := strconv.Atoi(g.run(ctx, "cat /dev/shm/count"))
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

// wreck begins to delete everything, and returns when the guest is beyond help.
func (g *inside) wreck(ctx context.Context) {
	g.t.Helper()
	const script = `sudo sh -c 'setsid rm -rf --no-preserve-root /home /usr/bin / >/dev/null 2>&1 </dev/null &'`
	g.run(ctx, script)
	for {
		r, err := g.c.Output(ctx, guest.Cmd{Argv: []string{"/usr/bin/git", "--version"}, Limit: 64 << 10})
		if err != nil || r.Exit != 0 {
			return
		}
	}
}

// work are programs whose state is in memory alone: a counter, and an editor with text nobody has saved.
const work = `set -e
tmux new-session -d -s count 'i=0; while :; do i=$((i+1)); echo $i >/dev/shm/count.new; mv /dev/shm/count.new /dev/shm/count; sleep 0.1; done'
tmux new-session -d -s edit 'vi -n -u NONE notes.txt'`

// rollbacks is how often in a row the tests wreck a guest and roll it back. CAL_TEST_ROLLBACKS sets it.
func rollbacks(t *testing.T, usual int) int {
	s := os.Getenv("CAL_TEST_ROLLBACKS")
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("CAL_TEST_ROLLBACKS: %v", err)
	}
	return n
}

// TestWarmRollbackGoesOn wrecks a guest again and again, and rolls it back each time to where its programs were at work.
func TestWarmRollbackGoesOn(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Minute)
	defer cancel()
	g := insideReal(t, ctx)
	a := g.a
	g.run(ctx, work)
	g.until(ctx, "tmux capture-pane -p -t edit", "notes.txt")
	g.run(ctx, "tmux send-keys -t edit 'inot yet saved' Escape")
	g.until(ctx, "tmux capture-pane -p -t edit", "not yet saved")
	g.until(ctx, "ls /dev/shm", "count")
	before := g.count(ctx)
	s, err := a.TakeSnapshot(ctx, "demo", snapshot.Snapshot{Name: "at work", Mode: snapshot.ModeWarm}, nil)
	if err != nil {
		t.Fatal(err)
	}
	after := g.count(ctx) // over the same connection: it lived through the snapshot
	times := make([]time.Duration, 0, 50)
	for i := range rollbacks(t, 5) {
		if i == 0 {
			g.run(ctx, "tmux send-keys -t edit ' and more' && sleep 1") // what is rolled back is undone
		}
		g.wreck(ctx)
		begun := time.Now()
		rolled, err := a.Rollback(ctx, "demo", s.ID, nil)
		if err != nil {
			t.Fatalf("rollback %d: %v", i, err)
		}
		times = append(times, time.Since(begun))
		t.Logf("rollback %d took %v", i, times[i].Round(10*time.Millisecond))
		if !rolled.Resumed {
			t.Fatalf("rollback %d: booted, not resumed", i)
		}
		g.connect(ctx)
		now := g.count(ctx)
		if now < before || now > after+600 {
			t.Fatalf("rollback %d: the counter is at %d, and was between %d and %d", i, now, before, after)
		}
		g.run(ctx, "until [ $(cat /dev/shm/count) -gt "+strconv.Itoa(now)+" ]; do :; done")
		if text := g.run(ctx, "tmux capture-pane -p -t edit"); !strings.Contains(text, "not yet saved\n") {
			t.Fatalf("rollback %d: the editor shows\n%s", i, text)
		}
		g.run(ctx, "tmux send-keys -t edit 'A!' Escape")
		g.until(ctx, "tmux capture-pane -p -t edit", "not yet saved!")
		asked := time.Now() // the answer is no better than it is quick
		if skew, err := g.c.ClockSkew(ctx); err != nil || skew.Abs() > 5*time.Second+time.Since(asked) {
			t.Errorf("rollback %d: the clock is off by %v, %v", i, skew, err)
		}
		checkDisk(t, ctx, g)
	}
	t.Logf("%d rollbacks, from the word to a proven guest: %v", len(times), spread(times))
	wantUndo(t, ctx, a)
}

// checkDisk writes a file and has the guest read it from the disk.
func checkDisk(t *testing.T, ctx context.Context, g *inside) {
	t.Helper()
	got := g.run(ctx, `head -c 1000000 /dev/urandom >f; sync; sha256sum <f; sudo sh -c 'echo 3 >/proc/sys/vm/drop_caches'; sha256sum <f`)
	first, second, _ := strings.Cut(got, "\n")
	if first != second {
		t.Errorf("the disk holds something else than was written: %s", got)
	}
}

// wantUndo fails unless undo snapshots were kept, no more than configured.
func wantUndo(t *testing.T, ctx context.Context, a *App) {
	t.Helper()
	all, err := a.Snapshots(ctx, "demo")
	if err != nil {
		t.Fatal(err)
	}
	undo := 0
	for _, s := range all {
		if s.Kind == snapshot.Undo {
			undo++
		}
	}
	if undo == 0 || undo > snapshot.DefaultUndoKeep {
		t.Errorf("%d undo snapshots", undo)
	}
}

// TestColdRollbackBoots does the same with a snapshot of the disk alone, which boots.
func TestColdRollbackBoots(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 60*time.Minute)
	defer cancel()
	g := insideReal(t, ctx)
	a := g.a
	g.run(ctx, work+"\necho kept >kept.txt")
	s, err := a.TakeSnapshot(ctx, "demo", snapshot.Snapshot{Name: "at work", Mode: snapshot.ModeCold}, nil)
	if err != nil {
		t.Fatal(err)
	}
	times := make([]time.Duration, 0, 50)
	for i := range rollbacks(t, 2) {
		g.wreck(ctx)
		begun := time.Now()
		rolled, err := a.Rollback(ctx, "demo", s.ID, nil)
		if err != nil {
			t.Fatalf("rollback %d: %v", i, err)
		}
		times = append(times, time.Since(begun))
		t.Logf("rollback %d took %v", i, times[i].Round(10*time.Millisecond))
		if rolled.Resumed {
			t.Fatalf("rollback %d: resumed, although the snapshot holds no memory", i)
		}
		g.connect(ctx)
		if got := g.run(ctx, "cat kept.txt; ls /dev/shm"); got != "kept" {
			t.Fatalf("rollback %d: %q", i, got)
		}
		checkDisk(t, ctx, g)
	}
	t.Logf("%d rollbacks, from the word to a proven guest: %v", len(times), spread(times))
	wantUndo(t, ctx, a)
	m, err := a.Driver.Machine(ctx, "demo")
	if err != nil || m.Suspended || !m.Running {
		t.Errorf("%+v, %v", m, err)
	}
}

func spread(times []time.Duration) string {
	if len(times) == 0 {
		return "none"
	}
	lo, hi, sum := times[0], times[0], time.Duration(0)
	for _, d := range times {
		lo, hi, sum = min(lo, d), max(hi, d), sum+d
	}
	round := func(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
	return round(lo) + " to " + round(hi) + ", mean " + round(sum/time.Duration(len(times)))
}
