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
	"syscall"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
)

// warmOperations are the changes around memory a crash may interrupt, on a machine that counts. Each ends in a machine
// that goes on from a number it had, whatever happens to the process that does it.
var warmOperations = map[string]struct {
	running bool // what the machine is before; otherwise it is suspended
	do      func(ctx context.Context, d *Driver) error
}{
	"suspend": {true, func(ctx context.Context, d *Driver) error { return d.Suspend(ctx, "m", nil) }},
	"snapshot": {true, func(ctx context.Context, d *Driver) error {
		return d.CreateSnapshot(ctx, "m", "new", vm.SnapshotOptions{Memory: true})
	}},
	"resume": {false, func(ctx context.Context, d *Driver) error { return d.Start(ctx, "m", vm.StartOptions{}, nil) }},
	"boot": {false, func(ctx context.Context, d *Driver) error {
		return d.Start(ctx, "m", vm.StartOptions{Cold: true}, nil)
	}},
}

// suspendedModel makes a suspended machine that has counted, to be copied by asBefore.
func suspendedModel(t *testing.T) *Driver {
	t.Helper()
	d := counting(t)
	counts(t, d)
	must(t, d.Suspend(t.Context(), "m", nil))
	return d
}

// asBefore returns a copy of the model as an operation expects it, and the number it had counted to.
func asBefore(t *testing.T, model *Driver, op string) (*Driver, uint64) {
	t.Helper()
	d := New(Options{Dir: filepath.Join(t.TempDir(), "vms"), CacheDir: model.opts.CacheDir, Accel: AccelTCG})
	must(t, os.MkdirAll(d.opts.Dir, 0o755))
	out, err := exec.CommandContext(t.Context(), "cp", "-a", model.workspaceDir("m"), d.workspaceDir("m")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := d.Stop(context.Background(), "m", vm.Shutdown{}); err != nil && !errors.Is(err, vm.ErrNotRunning) {
			t.Error(err)
		}
	})
	r, err := d.readRecord("m")
	must(t, err)
	at := savedCount(t, d, r.Disk.Layers[r.Disk.Active].Memory)
	if warmOperations[op].running {
		must(t, d.Start(t.Context(), "m", vm.StartOptions{}, nil))
		at = counts(t, d)
	}
	return d, at
}

// warmSteps lists the fault points an operation passes.
func warmSteps(t *testing.T, model *Driver, op string) []string {
	t.Helper()
	d, _ := asBefore(t, model, op)
	var all []string
	d.fault = func(step string) error {
		all = append(all, faultName(step))
		return nil
	}
	must(t, warmOperations[op].do(t.Context(), d))
	return all
}

// checkWarm fails unless the machine is whole, and what it was before the operation or is after it. lost says that the
// machine's process ended on the way, so that a guest that ran may be gone.
func checkWarm(t *testing.T, d *Driver, op string, at uint64, lost bool) {
	t.Helper()
	ctx := t.Context()
	must(t, d.Recover(ctx, "m"))
	must(t, d.Recover(ctx, "m"))
	r, err := d.readRecord("m")
	must(t, err)
	var names []string
	for _, sub := range []string{layersDir, memoryDir} {
		found, err := os.ReadDir(filepath.Join(d.machineDir("m"), sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, f := range found {
			names = append(names, f.Name())
		}
	}
	want := r.memories()
	for id := range r.Disk.Layers {
		want = append(want, id+".qcow2")
	}
	slices.Sort(names)
	slices.Sort(want)
	if r.Pending != nil || !slices.Equal(names, slices.Compact(want)) {
		t.Errorf("files %q, want %q; pending %+v", names, want, r.Pending)
	}
	m := facts(t, d)
	switch {
	case m.Running && (op == "boot" || lost && op == "resume"):
		counts(t, d)
	case m.Running:
		if n := counts(t, d); n < at {
			t.Errorf("it runs and counts %d, after %d", n, at)
		}
	case m.Suspended:
		if n := savedCount(t, d, r.Disk.Layers[r.Disk.Active].Memory); n < at {
			t.Errorf("it is suspended at %d, after %d", n, at)
		}
	case !lost && op != "boot":
		t.Errorf("it neither runs nor is suspended: %+v", m)
	}
	if lost && op == "snapshot" && m.Suspended {
		t.Error("it is suspended")
	}
	snapshots, err := d.Snapshots(ctx, "m")
	must(t, err)
	for i, s := range snapshots {
		if op != "snapshot" || !s.Memory || s.ID != "new" {
			t.Errorf("there is a snapshot %+v", s)
		} else if n := savedCount(t, d, r.Disk.Layers[r.Disk.Snapshots[i].Layer].Memory); n < at {
			t.Errorf("the snapshot is of %d, after %d", n, at)
		}
	}
	// Whatever was left is no obstacle to going on.
	suspended := m.Suspended
	if !m.Running {
		must(t, d.Start(ctx, "m", vm.StartOptions{}, nil))
		if m := facts(t, d); m.Resumed != suspended {
			t.Errorf("it was suspended: %t; started: %+v", suspended, m)
		}
		counts(t, d)
	}
	must(t, d.CreateSnapshot(ctx, "m", "next", vm.SnapshotOptions{Memory: true}))
	must(t, d.Suspend(ctx, "m", nil))
}

// TestWarmFaults interrupts every step of every change around memory, in each of three ways: the process that does it is
// killed, the step fails, and QEMU is killed.
func TestWarmFaults(t *testing.T) {
	needVM(t)
	model := suspendedModel(t)
	broken := errors.New("broken on purpose")
	points := 0
	for op := range warmOperations {
		all := warmSteps(t, model, op)
		points += len(all)
		for i, step := range all {
			t.Run(fmt.Sprintf("%s/%d %s/killed", op, i, step), func(t *testing.T) {
				d, at := asBefore(t, model, op)
				killWarmAt(t, d, op, i)
				checkWarm(t, d, op, at, false)
			})
			t.Run(fmt.Sprintf("%s/%d %s/failed", op, i, step), func(t *testing.T) {
				d, at := asBefore(t, model, op)
				failAt(d, i, func() error { return broken })
				if err := warmOperations[op].do(t.Context(), d); !errors.Is(err, broken) {
					t.Errorf("%v", err)
				}
				d.fault = func(string) error { return nil }
				checkWarm(t, d, op, at, false)
			})
			t.Run(fmt.Sprintf("%s/%d %s/QEMU killed", op, i, step), func(t *testing.T) {
				d, at := asBefore(t, model, op)
				failAt(d, i, func() error {
					if p, err := findProcess(t.Context(), d.machineDir("m")); err == nil && p.pid != 0 {
						must(t, syscall.Kill(p.pid, syscall.SIGKILL))
						return awaitEnd(t.Context(), p.pid)
					}
					return nil
				})
				_ = warmOperations[op].do(t.Context(), d)
				d.fault = func(string) error { return nil }
				checkWarm(t, d, op, at, true)
			})
		}
	}
	t.Logf("%d fault points of %d changes around memory, each in three ways", points, len(warmOperations))
}

func failAt(d *Driver, n int, do func() error) {
	d.fault = func(string) error {
		if n--; n == -1 {
			return do()
		}
		return nil
	}
}

const warmKilledEnv = "CAL_TEST_QEMU_WARM_KILL_AT"

func killWarmAt(t *testing.T, d *Driver, op string, n int) {
	t.Helper()
	killChild(t, d, "TestWarmKilledChild", fmt.Sprintf("%s=%s %d", warmKilledEnv, op, n))
}

// TestWarmKilledChild is the process that is killed.
func TestWarmKilledChild(t *testing.T) {
	var op string
	var n int
	if _, err := fmt.Sscanf(os.Getenv(warmKilledEnv), "%s %d", &op, &n); err != nil {
		t.Skip("run by TestWarmFaults")
	}
	d := New(Options{Dir: os.Getenv(dirEnv), CacheDir: os.Getenv(cacheEnv), Accel: AccelTCG})
	failAt(d, n, func() error {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	})
	t.Errorf("the operation ended: %v", warmOperations[op].do(t.Context(), d))
}

// TestMemoryOnAFullDisk: a disk that fills up while memory is saved costs the snapshot or the suspension, not the guest.
func TestMemoryOnAFullDisk(t *testing.T) {
	needVM(t)
	if os.Geteuid() != 0 {
		t.Skip("run as root: this test mounts a small disk")
	}
	model := suspendedModel(t)
	for _, tt := range []struct{ op, step string }{
		{"snapshot", "warm:created"},
		{"snapshot", "warm:switched"},
		{"suspend", "suspend:stopped"},
		{"suspend", "suspend:copied"},
	} {
		t.Run(tt.step, func(t *testing.T) {
			small := t.TempDir()
			must(t, syscall.Mount("small", small, "tmpfs", 0, fmt.Sprintf("size=%d", machineSpace+64<<20)))
			t.Cleanup(func() { must(t, syscall.Unmount(small, syscall.MNT_DETACH)) })
			must(t, os.Chmod(small, 0o755))
			d, at := asBefore(t, model, tt.op)
			must(t, d.Suspend(t.Context(), "m", nil))
			out, err := exec.CommandContext(t.Context(), "cp", "-a", d.workspaceDir("m"), small).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			d.opts.Dir = small
			startCounting(t, d)
			full := filepath.Join(small, "full")
			d.fault = func(step string) error {
				if step == tt.step {
					fillUp(t, full)
				}
				return nil
			}
			if err := warmOperations[tt.op].do(t.Context(), d); !errors.Is(err, vm.ErrNoSpace) {
				t.Errorf("%v is not ErrNoSpace", err)
			}
			d.fault = func(string) error { return nil }
			if n := counts(t, d); n < at {
				t.Errorf("the guest counts %d, after %d", n, at)
			}
			must(t, os.Remove(full))
			checkWarm(t, d, tt.op, at, false)
		})
	}
}

// fillUp writes a file until the disk is full.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	block := make([]byte, 1<<20)
	for size := len(block); size >= 4096; {
		if _, err := f.Write(block[:size]); err != nil {
			size /= 2
		}
	}
}
