package tart_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/tart"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// stock is a script with the default image in the registry.
const stock = `{"registry": {"ghcr.io/cirruslabs/macos-sequoia-base:latest": {"disk_gb": 50}}}`

// driver is a driver on a world of its own.
type driver struct {
	*tart.Driver
	w       *world
	options tart.Options
}

func newDriver(t *testing.T, script string) *driver {
	t.Helper()
	w := newWorld(t, script)
	return openDriver(t, w, optionsFor(double, w.home, t.TempDir()))
}

func optionsFor(binary, home, stateDir string) tart.Options {
	return tart.Options{
		Binary: binary, Home: home, StateDir: stateDir, HostOS: "darwin", HostArch: "arm64",
		HostVersion: "15.3", FreeSpace: func(string) (uint64, bool) { return 1 << 40, true },
		AgentPatience: 200 * time.Millisecond, StopTimeout: 100 * time.Second, // two of the double's seconds
		// However busy this host is: the double's control socket tells that a machine has started, its end that it has not.
		Settle: time.Minute, Retry: time.Millisecond,
		DialTCP: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("this test has no network")
		},
	}
}

func openDriver(t *testing.T, w *world, o tart.Options) *driver {
	t.Helper()
	d, err := tart.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &driver{d, w, o}
}

// reopen is what a second process would have.
func (d *driver) reopen(t *testing.T) *driver { return openDriver(t, d.w, d.options) }

// spec is of a small machine, by macOS's measure.
func spec(name string) vm.Spec { return vm.Spec{Name: name, CPU: 4, MemoryMiB: 4096, DiskGiB: 60} }

// machine makes a stopped machine.
func (d *driver) machine(t *testing.T, name string) {
	t.Helper()
	if err := d.EnsureImage(t.Context(), d.DefaultImage(), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(t.Context(), spec(name), nil); err != nil {
		t.Fatal(err)
	}
}

func (d *driver) start(t *testing.T, name string) {
	t.Helper()
	if err := d.Start(t.Context(), name, vm.StartOptions{}, nil); err != nil {
		t.Fatal(err)
	}
}

// shutdown asks the guest as a caller would.
func (d *driver) shutdown(name string) vm.Shutdown {
	return vm.Shutdown{Grace: time.Minute, Guest: func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, double, "exec", "cal-"+name, "sudo", "shutdown", "-h", "now")
		cmd.Env = d.w.env
		return cmd.Run()
	}}
}

func TestTartConforms(t *testing.T) {
	t.Parallel()
	dir := func(d vm.Driver, name string) string { return d.(*driver).w.path("vms", "cal-"+name) }
	vmtest.Conformance(t, func(t *testing.T) vm.Driver { return newDriver(t, stock) }, vmtest.Options{
		WriteMark: func(_ context.Context, d vm.Driver, name, value string) error {
			return writeDisk(dir(d, name), value)
		},
		ReadMark: func(_ context.Context, d vm.Driver, name string) (string, error) {
			return readDisk(dir(d, name))
		},
		WriteMemory: func(_ context.Context, d vm.Driver, name, value string) error {
			return d.(*driver).w.remember("cal-"+name, value)
		},
		ReadMemory: func(_ context.Context, d vm.Driver, name string) (string, error) {
			return d.(*driver).w.remembered("cal-" + name)
		},
		PowerOff: func(ctx context.Context, d vm.Driver, name string) error {
			return d.(*driver).shutdown(name).Guest(ctx)
		},
		Reopen:       func(t *testing.T, d vm.Driver) vm.Driver { return d.(*driver).reopen(t) },
		Spec:         spec(""),
		BootLimit:    time.Minute,
		MissingImage: "ghcr.io/cirruslabs/macos-none:latest",
	})
}

// A rollback that dies before any of its steps leaves the old or the new state, and loses neither.
func TestCrashedRollbackLosesNothing(t *testing.T) {
	steps := map[string]string{
		"restore: journal": "new", "restore: clone": "new", "restore: stamp": "new", "restore: set aside": "new",
		"restore: put in place": "old", "restore: done": "old",
	}
	for step, want := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, stock)
			d.machine(t, "ws")
			d.w.put("cal-ws", "old")
			if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
				t.Fatal(err)
			}
			d.w.put("cal-ws", "new")
			d.mustDieAt(t, step, "restore")

			after := d.reopen(t)
			if all, err := after.Machines(t.Context()); err != nil || len(all) != 1 || all[0].Name != "ws" {
				t.Errorf("Machines = %+v, %v, want ws alone", all, err)
			}
			for range 2 {
				if err := after.Recover(t.Context(), "ws"); err != nil {
					t.Fatal(err)
				}
			}
			if got := d.w.disk("cal-ws"); got != want {
				t.Errorf("disk holds %q, want %q", got, want)
			}
			if got := d.w.disk("cal-ws_snap_s1"); got != "old" {
				t.Errorf("snapshot holds %q, want the old disk", got)
			}
			if want == "old" {
				if got := d.w.disk("cal-ws_snap_undo1"); got != "new" {
					t.Errorf("undo holds %q, want what was replaced", got)
				}
			}
			wantLeftovers(t, d)
		})
	}
}

// wantLeftovers fails if temporary machines or journals are left.
func wantLeftovers(t *testing.T, d *driver) {
	t.Helper()
	for _, pattern := range []string{d.w.path("vms", "*_tmp_*"), filepath.Join(d.options.StateDir, "*.journal.json")} {
		left, err := filepath.Glob(pattern)
		if err != nil || len(left) > 0 {
			t.Errorf("left over: %q, %v", left, err)
		}
	}
}

func TestCrashedCreationAndSnapshotLeaveNothing(t *testing.T) {
	for _, step := range []string{
		"create: clone", "create: set", "create: verify", "create: rename",
		"snapshot: clone", "snapshot: stamp", "snapshot: rename", "snapshot: done",
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, stock)
			d.machine(t, "other")
			create := d.diesAt(t, step, "create")
			if snapshot := d.diesAt(t, step, "snapshot of other"); create == snapshot {
				t.Fatalf("killed in the creation: %v; in the snapshot: %v", create, snapshot)
			}
			for _, name := range []string{"ws", "other"} {
				if err := d.Recover(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			wantLeftovers(t, d)
			// What the crash did not meet went through; what it met can be done again.
			err := d.Create(t.Context(), spec("ws"), nil)
			if err != nil && !errors.Is(err, vm.ErrExists) {
				t.Errorf("Create once more: %v", err)
			}
			err = d.CreateSnapshot(t.Context(), "other", "s1", vm.SnapshotOptions{})
			if err != nil && !errors.Is(err, vm.ErrExists) {
				t.Errorf("CreateSnapshot once more: %v", err)
			}
		})
	}
}

func TestCrashedDeletionIsFinished(t *testing.T) {
	for _, step := range []string{"delete: cal-ws_snap_s1", "delete: cal-ws", "delete: state"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, stock)
			d.machine(t, "ws")
			if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
				t.Fatal(err)
			}
			d.mustDieAt(t, step, "delete")
			after := d.reopen(t)
			if err := after.Start(t.Context(), "ws", vm.StartOptions{}, nil); !errors.Is(err, vm.ErrNotFound) {
				t.Errorf("Start of a half deleted machine = %v, want %v", err, vm.ErrNotFound)
			}
			if left, err := filepath.Glob(d.w.path("vms", "*")); err != nil || len(left) > 0 {
				t.Errorf("left over: %q, %v", left, err)
			}
			wantLeftovers(t, d)
		})
	}
}

// A snapshot is there, or it is not; a machine whose deletion was not begun is there whole.
func TestCrashedBeforeOrAfterTheDeed(t *testing.T) {
	for step, left := range map[string]int{"drop: delete": 1, "drop: done": 0, "delete: journal": 1} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, stock)
			d.machine(t, "ws")
			if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
				t.Fatal(err)
			}
			op, _, _ := strings.Cut(step, ":")
			d.mustDieAt(t, step, op)
			if err := d.Recover(t.Context(), "ws"); err != nil {
				t.Fatal(err)
			}
			if all, err := d.Snapshots(t.Context(), "ws"); err != nil || len(all) != left {
				t.Errorf("snapshots %+v, %v, want %d", all, err, left)
			}
			wantLeftovers(t, d)
			d.start(t, "ws")
		})
	}
}

// Whoever looks while a rollback is under way sees the machine, before or after it.
func TestRollbackIsNeverSeenHalfDone(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	looker, commands := d.logged(t, "")
	looked := make(chan error)
	d.OnStep(func(step string) {
		if step != "restore: put in place" {
			return
		}
		go func() {
			_, err := looker.Machine(t.Context(), "ws")
			all, listErr := looker.Machines(t.Context())
			if len(all) != 1 {
				listErr = errors.Join(listErr, fmt.Errorf("listed %+v", all))
			}
			looked <- errors.Join(err, listErr)
		}()
		d.w.await("a look at the machines", func() bool { return count(commands(), "list") > 0 })
		d.w.wantState("cal-ws", "") // out of place, and time for the look to see that
	})
	if err := d.Restore(t.Context(), "ws", "s1", "undo1"); err != nil {
		t.Fatal(err)
	}
	if err := <-looked; err != nil {
		t.Error(err)
	}
}

func TestRequirementsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.w.darwin("a", "b")
	d.w.boot("a")
	d.w.boot("b")
	o := d.options
	o.HostOS, o.HostArch = "linux", "amd64"
	old := newDriver(t, `{"version": "2.0.0"}`)
	missing := o
	missing.Binary = filepath.Join(t.TempDir(), "tart")
	missing.CutNetwork = true
	for _, tt := range []struct {
		d        *driver
		name     string
		ok       bool
		optional bool
		detail   string
	}{
		{d, "tart", true, false, "2.32.1 at "},
		{d, "free slot for a macOS guest", false, true, "2 of 2 in use: a, b"},
		{d, "softnet", false, true, "not found in PATH"},
		{old, "tart", false, false, "2.31.0 is needed"},
		{openDriver(t, d.w, o), "macOS 13 on Apple silicon", false, false, "linux amd64"},
		{openDriver(t, d.w, missing), "tart", false, false, "not found"},
		{openDriver(t, d.w, missing), "softnet", false, false, "not found in PATH"},
	} {
		if _, err := exec.LookPath(tt.name); tt.name == "softnet" && err == nil {
			continue // this host has it
		}
		all := tt.d.Requirements(t.Context())
		i := slices.IndexFunc(all, func(r vm.Requirement) bool { return r.Name == tt.name })
		if i < 0 {
			t.Errorf("no requirement %q in %+v", tt.name, all)
			continue
		}
		r := all[i]
		if r.OK != tt.ok || r.Optional != tt.optional || !strings.Contains(r.Detail, tt.detail) || r.Hint == "" {
			t.Errorf("requirement %+v, want %+v", r, tt)
		}
	}
}

func TestStartSaysWhatAppleRefuses(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	quick, commands := d.logged(t, "")
	const domain = `{"guests": {"*": {"start_error": "Error Domain=VZErrorDomain Code=`
	d.w.script(domain + `1 \"The virtual machine failed to start.\""}}}`)
	wantError(t, quick.Start(t.Context(), "ws", vm.StartOptions{}, nil), nil, "failed to start", "unlock-keychain")
	d.w.script(domain + `2 \"Failed to lock auxiliary storage.\""}}}`)
	wantError(t, quick.Start(t.Context(), "ws", vm.StartOptions{}, nil), nil, "auxiliary storage", "")
	if n := count(commands(), "run"); n != 1+5 {
		t.Errorf("tart run was run %d times, want once for the keychain and five times for the lock", n)
	}
}

func TestTartThatIsNotThereSaysHowToGetIt(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	d.options.Binary = "no-such-tart"
	_, err := d.reopen(t).Machines(t.Context())
	wantError(t, err, nil, "no-such-tart", "brew install")
}

func TestMachineOutlivesTheDriverAndIsFoundAgain(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	d.start(t, "ws")
	first, err := d.Machine(t.Context(), "ws")
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.reopen(t).Machine(t.Context(), "ws")
	if err != nil || fmt.Sprint(again) != fmt.Sprint(first) || again.StartedAt.IsZero() {
		t.Errorf("found again: %+v, %v, want %+v", again, err, first)
	}
	if err := d.Stop(t.Context(), "ws", d.shutdown("ws")); err != nil {
		t.Fatal(err)
	}
}
