//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
)

// operations are the changes a crash may interrupt. Each starts from a machine with snapshots "old" (2) and "mid" (3),
// below the active layer (4), and leads to the story after.
var operations = map[string]struct {
	do    func(ctx context.Context, d *Driver) error
	after story
}{
	"snapshot": {
		func(ctx context.Context, d *Driver) error {
			return d.CreateSnapshot(ctx, "m", "new", vm.SnapshotOptions{})
		},
		story{map[string]byte{"old": 2, "mid": 3, "new": 4}, 4},
	},
	"rollback": {
		func(ctx context.Context, d *Driver) error { return d.Restore(ctx, "m", "old", "undo") },
		story{map[string]byte{"old": 2, "mid": 3, "undo": 4}, 2},
	},
	"delete": { // merges its layer
		func(ctx context.Context, d *Driver) error { return d.DeleteSnapshot(ctx, "m", "mid") },
		story{map[string]byte{"old": 2}, 4},
	},
	"create": { // another
		func(ctx context.Context, d *Driver) error {
			return d.Create(ctx, vm.Spec{Name: "n", CPU: 1, MemoryMiB: 256, DiskGiB: 4}, nil)
		},
		before,
	},
	"remove": {
		func(ctx context.Context, d *Driver) error { return d.Delete(ctx, "m") },
		story{},
	},
}

var before = story{map[string]byte{"old": 2, "mid": 3}, 4}

// twoSnapshots returns a machine as before says. It is made once and copied: its files name each other relatively.
func twoSnapshots(t *testing.T) *Driver {
	t.Helper()
	model := makeModel(t)
	d := New(Options{Dir: filepath.Join(t.TempDir(), "vms"), CacheDir: model.opts.CacheDir, Accel: AccelTCG})
	must(t, os.MkdirAll(d.opts.Dir, 0o755))
	out, err := exec.CommandContext(t.Context(), "cp", "-a", model.workspaceDir("m"), d.workspaceDir("m")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return d
}

var models struct {
	sync.Mutex
	byTest map[string]*Driver
}

// makeModel returns the machine twoSnapshots copies, one for each top-level test.
func makeModel(t *testing.T) *Driver {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	models.Lock()
	defer models.Unlock()
	if d := models.byTest[name]; d != nil {
		return d
	}
	d := tinyDriver(t)
	create(t, d, "m")
	fill(t, d, "m", 2)
	must(t, d.CreateSnapshot(t.Context(), "m", "old", vm.SnapshotOptions{}))
	fill(t, d, "m", 3)
	must(t, d.CreateSnapshot(t.Context(), "m", "mid", vm.SnapshotOptions{}))
	fill(t, d, "m", 4)
	models.byTest[name] = d
	return d
}

// steps lists the fault points an operation passes.
func steps(t *testing.T, op string) []string {
	t.Helper()
	d := twoSnapshots(t)
	var all []string
	d.fault = func(step string) error {
		all = append(all, faultName(step))
		return nil
	}
	must(t, operations[op].do(t.Context(), d))
	return all
}

// faultName is a step without the identifier some end in.
func faultName(step string) string {
	name, _, _ := strings.Cut(step, " ")
	if name == "merge:qemu-img" {
		return step
	}
	return name
}

// begin makes the model for a test's subtests, in the test itself: subtests' folders go with them.
func begin(t *testing.T) {
	t.Helper()
	models.Lock()
	if models.byTest == nil {
		models.byTest = map[string]*Driver{}
	}
	models.Unlock()
	makeModel(t)
	t.Cleanup(func() {
		models.Lock()
		defer models.Unlock()
		delete(models.byTest, t.Name())
	})
}

// TestKilled kills a process at every step of every change. After Recover the machine is the old or the new one, whole.
func TestKilled(t *testing.T) {
	begin(t)
	var points atomic.Int32
	t.Cleanup(func() { t.Logf("qemu: killed at %d points of %d changes", points.Load(), len(operations)) })
	for op := range operations {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			for i, step := range steps(t, op) {
				points.Add(1)
				t.Run(fmt.Sprintf("%d %s", i, step), func(t *testing.T) {
					d := twoSnapshots(t)
					killAt(t, d, op, i)
					must(t, d.Recover(t.Context(), "m"))
					must(t, d.Recover(t.Context(), "m"))
					checkEither(t, d, op, func(s story) { s.check(t, d, "m") })
				})
			}
		})
	}
}

// checkEither fails unless the machine is the one before the operation or the one after it, and can go on.
func checkEither(t *testing.T, d *Driver, op string, check func(story)) {
	t.Helper()
	r, err := d.readRecord("m")
	if op == "remove" {
		if errors.Is(err, vm.ErrNotFound) {
			return
		}
		check(before)
		return
	}
	must(t, err)
	want := before
	var ids []string
	for _, s := range r.Disk.Snapshots {
		ids = append(ids, s.ID)
	}
	for id := range operations[op].after.snapshots {
		if before.snapshots[id] == 0 && slices.Contains(ids, id) {
			want = operations[op].after
		}
	}
	if op == "delete" && !slices.Contains(ids, "mid") {
		want = operations[op].after
	}
	check(want)
	// Whatever was left is no obstacle to going on.
	if op == "create" {
		_, err := d.Machine(t.Context(), "n")
		made := err == nil
		must(t, d.Recover(t.Context(), "n"))
		if left, err := filepath.Glob(filepath.Join(d.workspaceDir("n"), "machine.*")); err != nil || len(left) > 0 {
			t.Errorf("left over: %q, %v", left, err)
		}
		if err := operations[op].do(t.Context(), d); errors.Is(err, vm.ErrExists) != made {
			t.Errorf("it was made: %v; once more: %v", made, err)
		}
	}
	must(t, d.CreateSnapshot(t.Context(), "m", "next", vm.SnapshotOptions{}))
}

// killAt runs the operation in a child process that dies at its n-th step.
func killAt(t *testing.T, d *Driver, op string, n int) {
	t.Helper()
	killChild(t, d, "TestKilledChild", fmt.Sprintf("%s=%s %d", killedEnv, op, n))
}

// killChild runs a test of this binary that kills itself, on the same machines; env tells it where.
func killChild(t *testing.T, d *Driver, test, env string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), env, dirEnv+"="+d.opts.Dir, cacheEnv+"="+d.opts.CacheDir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("child was not killed: %v: %s", err, out)
	}
}

// TestKilledChild is the process that is killed.
func TestKilledChild(t *testing.T) {
	var op string
	var n int
	if _, err := fmt.Sscanf(os.Getenv(killedEnv), "%s %d", &op, &n); err != nil {
		t.Skip("run by TestKilled")
	}
	d := New(Options{Dir: os.Getenv(dirEnv), CacheDir: os.Getenv(cacheEnv), Accel: AccelTCG})
	d.fault = func(string) error {
		if n--; n < 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
	t.Errorf("the operation ended: %v", operations[op].do(t.Context(), d))
}

// TestFails lets every step of every change fail instead: the error comes back, the machine stays whole.
func TestFails(t *testing.T) {
	broken := errors.New("broken on purpose")
	begin(t)
	for op := range operations {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			for i := range steps(t, op) {
				d := twoSnapshots(t)
				n := i
				d.fault = func(string) error {
					if n--; n == -1 {
						return broken
					}
					return nil
				}
				if err := operations[op].do(t.Context(), d); !errors.Is(err, broken) {
					t.Errorf("step %d: %v", i, err)
				}
				d.fault = func(string) error { return nil }
				must(t, d.Recover(t.Context(), "m"))
				checkEither(t, d, op, func(s story) { s.shape(t, d, "m") })
			}
		})
	}
}
