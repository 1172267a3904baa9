//go:build linux

package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// faultOp is an operation that faults are tried on, and what it may leave.
type faultOp struct {
	do    func(ctx context.Context, a *App) error
	after []string
	part  [][]string // what a crash may leave beside what was before and what is after
	// again tells, of a workspace that recovered from a crash, whether it can be gone on with.
	again func(ctx context.Context, a *App) error
	// frees: it makes room, and so needs none.
	frees bool
	needs func(d faultDriver) bool
}

var faultOps = map[string]faultOp{
	"create": {
		do:    take("new"),
		after: []string{"base manual A", "new manual D", "now D", "one session B", "two session C"},
	},
	"rollback": {
		do: func(ctx context.Context, a *App) error {
			_, err := a.Rollback(ctx, "demo", "base", nil)
			return err
		},
		after: []string{"base manual A", "before undo D", "now A", "one session B", "two session C"},
	},
	"delete": {
		do:    func(ctx context.Context, a *App) error { return a.DeleteSnapshot(ctx, "demo", "one", nil) },
		after: []string{"base manual A", "now D", "two session C"},
		frees: true,
	},
	"prune": {
		do: func(ctx context.Context, a *App) error {
			list, err := a.Snapshots(ctx, "demo")
			if err != nil {
				return err
			}
			var plan []snapshot.Removal
			for _, s := range list {
				if s.Kind == snapshot.Session {
					plan = append(plan, snapshot.Removal{Snapshot: s, Reason: "a test"})
				}
			}
			_, err = a.PruneSnapshots(ctx, "demo", plan, nil)
			return err
		},
		after: []string{"base manual A", "now D"},
		part:  [][]string{{"base manual A", "now D", "one session B"}, {"base manual A", "now D", "two session C"}},
		frees: true,
	},
	"rename": {
		do: func(ctx context.Context, a *App) error {
			_, err := a.RenameSnapshot(ctx, "demo", "one", "it worked", nil)
			return err
		},
		after: []string{"base manual A", "it worked session B", "now D", "two session C"},
	},
	"remove": {
		do:    remove,
		after: []string{"gone"},
		again: remove,
		frees: true,
	},
	"new": {
		do:    makeFresh,
		after: []string{"base manual A", "fresh", "now D", "one session B", "two session C"},
		again: func(ctx context.Context, a *App) error {
			err := makeFresh(ctx, a)
			if errors.Is(err, vm.ErrExists) {
				return nil
			}
			return err
		},
		needs: func(d faultDriver) bool { return d.creates },
	},
}

func take(name string) func(context.Context, *App) error {
	return func(ctx context.Context, a *App) error {
		_, err := a.TakeSnapshot(ctx, "demo", snapshot.Snapshot{Name: name}, nil)
		return err
	}
}

func makeFresh(ctx context.Context, a *App) error {
	return a.New(ctx, "fresh", map[string]string{"cpu": "4", "memory": "4096", "disk": "60"}, nil)
}

func remove(ctx context.Context, a *App) error { return a.Delete(ctx, "demo", nil) }

// forEachFault runs f for every operation on every driver, with a model of the workspace as it is before.
func forEachFault(t *testing.T, f func(t *testing.T, m *faultModel, op string)) {
	t.Helper()
	makeDouble(t)
	t.Setenv("HOME", plainTempDir(t))
	for _, driver := range slices.Sorted(maps.Keys(faultDrivers)) {
		t.Run(driver, func(t *testing.T) {
			if _, err := exec.LookPath("qemu-io"); err != nil && driver == "qemu" {
				t.Skip("install qemu-utils: this test makes disk images")
			}
			t.Parallel()
			m := newFaultModel(t, driver)
			for _, op := range slices.Sorted(maps.Keys(faultOps)) {
				if needs := faultOps[op].needs; needs == nil || needs(faultDrivers[driver]) {
					f(t, m, op)
				}
			}
		})
	}
}

// steps counts those an operation passes, and sees that it leads where it should.
func (m *faultModel) steps(t *testing.T, op string) (n int) {
	t.Helper()
	dir := plainTempDir(t)
	m.copyTo(t, dir)
	a, err := openFaulty(m.driver, dir, func(string) error {
		n++
		return nil
	})
	if err == nil {
		err = errors.Join(faultOps[op].do(t.Context(), a), a.Close())
	}
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	if got := m.state(t, reopen(t, m.driver, dir), dir); !slices.Equal(got, faultOps[op].after) {
		t.Fatalf("%s leads to %q", op, got)
	}
	wantNoStrays(t, dir)
	if n == 0 {
		t.Fatalf("%s has no steps", op)
	}
	return n
}

// check fails unless a workspace that an operation was cut short on is the old or the new one, with nothing beside it,
// and can be gone on with.
func (m *faultModel) check(t *testing.T, dir, op string) {
	t.Helper()
	ctx, o := t.Context(), faultOps[op]
	a := reopen(t, m.driver, dir)
	s, err := a.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if w, ok := s.Find("demo"); ok && w.Operation != nil {
		t.Errorf("an operation goes on: %+v", w.Operation)
	}
	for _, ws := range []string{"demo", "fresh"} {
		if err := a.Recover(ctx, ws); err != nil {
			t.Fatal(err)
		}
	}
	got := m.state(t, a, dir)
	allowed := append([][]string{faultsBefore, o.after}, o.part...)
	if !slices.ContainsFunc(allowed, func(want []string) bool { return slices.Equal(got, want) }) {
		t.Errorf("it is %q", got)
	}
	wantNoStrays(t, dir)
	switch {
	case o.again != nil:
		if err := o.again(ctx, a); err != nil && !slices.Equal(got, o.after) {
			t.Errorf("once more: %v", err)
		}
		got = o.after
	case slices.Contains(got, "before undo D"):
		if _, err := a.UndoRollback(ctx, "demo", nil); err != nil {
			t.Errorf("undoing it: %v", err)
		}
		got = append(slices.DeleteFunc(got, func(s string) bool { return s == "now A" }), "before undo A", "now D")
	default:
		if err := take("next")(ctx, a); err != nil {
			t.Errorf("going on: %v", err)
		}
		got = append(got, "next manual D")
	}
	slices.Sort(got)
	if now := m.state(t, a, dir); !slices.Equal(now, got) {
		t.Errorf("then it is %q, not %q", now, got)
	}
	wantNoStrays(t, dir)
}

// TestOperationsKilled kills a process that does an operation at each step of it.
func TestOperationsKilled(t *testing.T) {
	if os.Getenv("CAL_TEST_LONG") == "" {
		t.Skip("set CAL_TEST_LONG=1: hundreds of processes are killed")
	}
	forEachFault(t, func(t *testing.T, m *faultModel, op string) {
		steps := m.steps(t, op)
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			for n := range steps {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					t.Parallel()
					dir := plainTempDir(t)
					m.copyTo(t, dir)
					c := startChild(t, m.driver, dir, op, n)
					c.begin()
					if err := c.Wait(); c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
						t.Fatalf("it was not killed: %v: %s", err, &c.out)
					}
					m.check(t, dir, op)
				})
			}
		})
	})
}

// TestOperationsOnAFullDisk has the disk be full from the beginning, and from each step on.
func TestOperationsOnAFullDisk(t *testing.T) {
	if os.Getenv("CAL_TEST_LONG") == "" {
		t.Skip("set CAL_TEST_LONG=1: a disk is filled at hundreds of points")
	}
	if err := trySmallDisk(t); err != nil {
		t.Skipf("run as root, where file systems can be mounted: %v", err)
	}
	var count atomic.Int32
	forEachFault(t, func(t *testing.T, m *faultModel, op string) {
		steps := m.steps(t, op)
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			dir := plainTempDir(t)
			disk := mountSmall(t, dir)
			for n := -1; n < steps; n++ {
				count.Add(1)
				m.copyTo(t, dir)
				passed := -1
				a, err := openFaulty(m.driver, dir, func(string) error {
					if passed++; passed == n {
						disk.fill(t)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if n < 0 {
					disk.fill(t)
				}
				err = faultOps[op].do(t.Context(), a)
				a.Close()
				got := m.state(t, reopen(t, m.driver, dir), dir)
				switch done := slices.Equal(got, faultOps[op].after); {
				case err == nil && !done:
					t.Errorf("%d: it is said to be done, and is %q", n, got)
				case err != nil && (!errors.Is(err, vm.ErrNoSpace) || hint.Of(err) == ""):
					t.Errorf("%d: %v (hint %q) does not say that the disk is full", n, err, hint.Of(err))
				case err != nil && faultOps[op].frees:
					t.Errorf("%d: what makes room needs some: %v", n, err)
				}
				disk.clear(t)
				m.check(t, dir, op)
			}
		})
	})
	t.Cleanup(func() { t.Logf("the disk was full at %d points", count.Load()) })
}

// smallDisk is a file system in memory that can be made as small as what it holds.
type smallDisk struct{ dir string }

func mountSmall(t *testing.T, dir string) smallDisk {
	t.Helper()
	if err := syscall.Mount("small", dir, "tmpfs", 0, "size=1g,mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return smallDisk{dir}
}

func trySmallDisk(t *testing.T) error {
	t.Helper()
	dir := plainTempDir(t)
	if err := syscall.Mount("small", dir, "tmpfs", 0, "size=4k"); err != nil {
		return err
	}
	return syscall.Unmount(dir, syscall.MNT_DETACH)
}

func (d smallDisk) fill(t *testing.T) {
	t.Helper()
	var st syscall.Statfs_t
	err := syscall.Statfs(d.dir, &st)
	if err == nil {
		d.resize(t, int64(st.Blocks-st.Bfree)*st.Bsize)
	}
}

func (d smallDisk) clear(t *testing.T) { t.Helper(); d.resize(t, 1<<30) }

func (d smallDisk) resize(t *testing.T, bytes int64) {
	t.Helper()
	if err := syscall.Mount("small", d.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Fatal(err)
	}
}

// TestOperationsRace has three processes change one workspace at once: none fails, and none undoes what another did.
func TestOperationsRace(t *testing.T) {
	makeDouble(t)
	t.Setenv("HOME", plainTempDir(t))
	for driver := range faultDrivers {
		t.Run(driver, func(t *testing.T) {
			if _, err := exec.LookPath("qemu-io"); err != nil && driver == "qemu" {
				t.Skip("install qemu-utils: this test makes disk images")
			}
			t.Parallel()
			m := newFaultModel(t, driver)
			dir := plainTempDir(t)
			m.copyTo(t, dir)
			var all []*child
			for _, op := range []string{"create", "rollback", "delete"} {
				all = append(all, startChild(t, driver, dir, op, toEnd))
			}
			for _, c := range all {
				c.begin()
			}
			for _, c := range all {
				if err := c.Wait(); err != nil {
					t.Errorf("%v: %s", err, &c.out)
				}
			}
			got := m.state(t, reopen(t, driver, dir), dir)
			first := []string{"base manual A", "before undo D", "new manual A", "now A", "two session C"}
			last := []string{"base manual A", "before undo D", "new manual D", "now A", "two session C"}
			if !slices.Equal(got, first) && !slices.Equal(got, last) {
				t.Errorf("it is %q", got)
			}
			wantNoStrays(t, dir)
			m.holderIsNamed(t, dir)
		})
	}
}

// holderIsNamed has a process wait for another one, and give up.
func (m *faultModel) holderIsNamed(t *testing.T, dir string) {
	t.Helper()
	holder := startChild(t, m.driver, dir, "rollback", toStay)
	holder.begin()
	holder.await("stays")
	a := reopen(t, m.driver, dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := a.TakeSnapshot(ctx, "demo", snapshot.Snapshot{Name: "late"}, func(vm.Phase) { cancel() })
	want := fmt.Sprintf("in use by rollback (process %d)", holder.Process.Pid)
	if err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" {
		t.Errorf("who waits is told %v, not %s", err, want)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = holder.Wait()
	if err := take("late")(t.Context(), a); err != nil {
		t.Errorf("after its end: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "tart/vms/*_tmp_*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}
