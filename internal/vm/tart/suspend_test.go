package tart_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/tart"
)

// asleep makes a suspended machine of the driver's with something in its memory.
func (d *driver) asleep(t *testing.T, name, memory string) {
	t.Helper()
	d.machine(t, name)
	d.awake(t, name, memory)
	d.suspend(t, name)
}

// awake starts a machine and puts something into its memory.
func (d *driver) awake(t *testing.T, name, memory string) {
	t.Helper()
	d.start(t, name)
	if err := d.w.remember("cal-"+name, memory); err != nil {
		t.Fatal(err)
	}
}

func (d *driver) suspend(t *testing.T, name string) {
	t.Helper()
	if err := d.Suspend(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
}

// wantAwake fails unless the machine runs, having resumed or booted, with this in its memory.
func (d *driver) wantAwake(t *testing.T, name string, resumed bool, memory string) {
	t.Helper()
	m, err := d.Machine(t.Context(), name)
	if err != nil || !m.Running || m.Suspended || m.Resumed != resumed {
		t.Errorf("machine is %+v, %v, want it running, resumed: %v", m, err, resumed)
	}
	if got, err := d.w.remembered("cal-" + name); err != nil || got != memory {
		t.Errorf("memory holds %q, %v, want %q", got, err, memory)
	}
	wantNothingKept(t, d)
}

func wantNothingKept(t *testing.T, d *driver) {
	t.Helper()
	if left, err := filepath.Glob(d.w.path("vms", "*", "cal-state.kept")); err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}

// phases are the steps a start reported, with their details.
func (d *driver) phases(t *testing.T, name string, o vm.StartOptions) (string, error) {
	t.Helper()
	var all []string
	err := d.Start(t.Context(), name, o, func(p vm.Phase) { all = append(all, p.Name+" ("+p.Detail+")") })
	return strings.Join(all, "; "), err
}

func TestDriverRow56_suspend(t *testing.T) {
	t.Parallel()
	d, commands := newDriver(t, stock).logged(t, "")
	d.machine(t, "ws")
	d.awake(t, "ws", "counter 7")
	mac := d.w.mac("cal-ws")
	if m, err := d.Machine(t.Context(), "ws"); err != nil || !m.Warm.OK || m.Warm.Reason != "" {
		t.Errorf("Warm = %+v, %v", m.Warm, err)
	}
	d.suspend(t, "ws")
	d.w.wantState("cal-ws", "suspended")
	if count(commands(), "run cal-ws --no-graphics --no-audio --no-clipboard --suspendable") != 1 ||
		count(commands(), "suspend cal-ws") != 1 {
		t.Errorf("commands: %q", commands())
	}
	told, err := d.phases(t, "ws", vm.StartOptions{})
	if err != nil || told != "resuming ()" {
		t.Errorf("Start reported %q, %v", told, err)
	}
	d.wantAwake(t, "ws", true, "counter 7")
	if d.w.mac("cal-ws") != mac {
		t.Error("it has another MAC address")
	}
	again := d.reopen(t)
	again.wantAwake(t, "ws", true, "counter 7")
	again.suspend(t, "ws")
	d.w.wantState("cal-ws", "suspended")
}

// The attempt to suspend kills a machine that cannot be suspended: it is not made.
func TestDriverRow57_nothing_is_killed_for_nothing(t *testing.T) {
	t.Parallel()
	for reason, begin := range map[string]func(t *testing.T, d *driver) *driver{
		"a folder is shared into it": func(t *testing.T, d *driver) *driver {
			if err := d.Start(t.Context(), "ws", vm.StartOptions{Outbox: t.TempDir()}, nil); err != nil {
				t.Fatal(err)
			}
			return d
		},
		"without --suspendable": func(_ *testing.T, d *driver) *driver {
			d.w.boot("cal-ws", "--no-audio")
			return d
		},
		"needs macOS 14 or newer": func(t *testing.T, d *driver) *driver {
			d.start(t, "ws")
			d.options.HostVersion = "13.7.1"
			return d.reopen(t)
		},
		"takes up to 4.3 GB of disk space, and 1.0 GB are free": func(t *testing.T, d *driver) *driver {
			d.start(t, "ws")
			d.options.FreeSpace = func(string) (uint64, bool) { return 1e9, true }
			return d.reopen(t)
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, stock)
			d.machine(t, "ws")
			d = begin(t, d)
			d, commands := d.logged(t, "")
			pid := d.w.holder("cal-ws")
			wantError(t, d.Suspend(t.Context(), "ws", nil), vm.ErrNoMemory, reason, "")
			m, err := d.Machine(t.Context(), "ws")
			if err != nil || m.Warm.OK || !strings.Contains(m.Warm.Reason, reason) || m.PID != pid {
				t.Errorf("machine is %+v, %v, want it running as before, and why it cannot be suspended", m, err)
			}
			if n := count(commands(), "suspend"); n != 0 {
				t.Errorf("tart suspend was run %d times", n)
			}
			wantError(t, d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{Memory: true}), vm.ErrRunning, "", "")
		})
	}
}

// What cannot be known before: the disk fills up, and what there is of the memory is of no use.
func TestDriverRow57_a_suspend_that_fails_says_so(t *testing.T) {
	t.Parallel()
	for text, hintText := range map[string]string{
		"The operation couldn't be completed. No space left on device": "Free disk space",
		`Error Domain=VZErrorDomain Code=11 "Save failed."`:            "boots from its disk",
	} {
		d := newDriver(t, stock)
		d.machine(t, "ws")
		d.start(t, "ws")
		d.w.script(`{"guests": {"*": {"suspend_error": ` + quoted(t, text) + `}}}`)
		d.w.must("stop", "cal-ws")
		d.awake(t, "ws", "lost")
		err := d.Suspend(t.Context(), "ws", nil)
		wantError(t, err, nil, "its memory is lost", hintText)
		if errors.Is(err, vm.ErrNoMemory) || errors.Is(err, vm.ErrNoSpace) != strings.Contains(text, "No space") {
			t.Errorf("error = %v: the machine does not run on", err)
		}
		d.w.wantState("cal-ws", "stopped")
		d.w.script(stock)
		d.start(t, "ws")
		d.wantAwake(t, "ws", false, "")
	}
}

func TestDriverRow59_linux_guests_are_not_started_suspendable(t *testing.T) {
	t.Parallel()
	d, commands := newDriver(t, stock).logged(t, "")
	d.w.linux("penguin")
	if err := d.Create(t.Context(), vm.Spec{Name: "ws", Image: "penguin"}, nil); err != nil {
		t.Fatal(err)
	}
	d.start(t, "ws")
	if count(commands(), "run cal-ws") != 1 || strings.Contains(strings.Join(commands(), "\n"), "--suspendable") {
		t.Errorf("commands: %q", commands())
	}
	wantError(t, d.Suspend(t.Context(), "ws", nil), vm.ErrNoMemory, "only macOS guests", "")
	if !d.w.running("cal-ws") {
		t.Error("it was killed")
	}
}

// Of two machines that went to sleep as one only the first resumes.
func TestDriverRow60_one_memory_resumes_once(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.asleep(t, "ws", "counter 7")
	if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	d.w.boot("cal-ws_snap_s1") // by hand
	told, err := d.phases(t, "ws", vm.StartOptions{})
	if err != nil || !strings.Contains(told, "booting without its memory (another machine runs") {
		t.Errorf("Start reported %q, %v", told, err)
	}
	d.wantAwake(t, "ws", false, "")
}

// The memory stays where a start fails for reasons that are not its own, and is given up where only a boot works.
func TestMemoryIsGivenUpOnlyForAMachineThatRuns(t *testing.T) {
	t.Parallel()
	const limit = `The number of VMs exceeds the system limit`
	for name, tt := range map[string]struct {
		script, shell string // what stands in the way
		want          error
		text          string // of the error; empty if it boots
	}{
		"unrestorable": {script: `"restore_error": "Error Domain=VZErrorDomain Code=12 \"Restore failed.\""`},
		"unresumable":  {script: `"resume_error": "Error Domain=VZErrorDomain Code=3 \"Resume failed.\""`},
		"limit":        {script: `"start_error": "` + limit + `"`, want: vm.ErrLimit, text: "limit"},
		"late limit":   {script: `"resume_error": "` + limit + `"`, want: vm.ErrLimit, text: "limit"},
		"lock": {
			script: `"restore_error": "Error Domain=VZErrorDomain Code=2 \"Failed to lock auxiliary storage.\""`,
			text:   "auxiliary storage",
		},
		"keychain": {
			script: `"restore_error": "Error Domain=VZErrorDomain Code=1 \"The virtual machine failed to start.\""`,
			shell: `if [ "$1" = run ] && [ ! -e "$TART_HOME/vms/$2/state.vzvmsave" ]; then
echo 'Error Domain=VZErrorDomain Code=1 "The virtual machine failed to start."' >&2; exit 1; fi`,
			text: "failed to start",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain := newDriver(t, stock)
			plain.asleep(t, "ws", "counter 7")
			plain.w.script(`{"guests": {"*": {` + tt.script + `}}}`)
			d, _ := plain.logged(t, tt.shell)
			told, err := d.phases(t, "ws", vm.StartOptions{})
			if tt.text == "" {
				if err != nil || !strings.Contains(told, "; booting without its memory (it could not be resumed: ") {
					t.Errorf("Start reported %q, %v", told, err)
				}
				d.wantAwake(t, "ws", false, "")
				return
			}
			wantError(t, err, tt.want, tt.text, hint.Of(err))
			d.w.wantState("cal-ws", "suspended")
			wantNothingKept(t, d)
			plain.w.script(stock)
			plain.start(t, "ws")
			plain.wantAwake(t, "ws", true, "counter 7")
		})
	}
}

// A start that is cold gives the memory up, unless nothing comes of it.
func TestColdStartOfASuspendedMachine(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.asleep(t, "ws", "counter 7")
	d.w.script(`{"foreign_vms": 2}`)
	wantError(t, d.Start(t.Context(), "ws", vm.StartOptions{Cold: true}, nil), vm.ErrLimit, "", "other programs")
	d.w.wantState("cal-ws", "suspended")
	d.w.script(stock)
	told, err := d.phases(t, "ws", vm.StartOptions{Cold: true})
	if err != nil || told != "starting ()" {
		t.Errorf("Start reported %q, %v", told, err)
	}
	d.wantAwake(t, "ws", false, "")
}

// A suspended machine can resume with a folder shared into it, and then cannot be suspended again.
func TestASuspendedMachineResumesWithAnOutbox(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.asleep(t, "ws", "counter 7")
	if err := d.Start(t.Context(), "ws", vm.StartOptions{Outbox: t.TempDir()}, nil); err != nil {
		t.Fatal(err)
	}
	d.wantAwake(t, "ws", true, "counter 7")
	wantError(t, d.Suspend(t.Context(), "ws", nil), vm.ErrNoMemory, "a folder is shared", "")
	d.wantAwake(t, "ws", true, "counter 7")
}

// A start that is given up leaves the memory, or the machine that went on from it.
func TestAStartThatIsGivenUpLosesNoMemory(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.asleep(t, "ws", "counter 7")
	d.w.script(`{"guests": {"*": {"lock_delay": 1000}}}`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.OnStep(func(step string) {
		if step == "start: resume" {
			cancel()
		}
	})
	wantError(t, d.Start(ctx, "ws", vm.StartOptions{}, nil), context.Canceled, "", "")
	d.w.wantState("cal-ws", "suspended")
	wantNothingKept(t, d)
	d.w.script(stock)
	d.start(t, "ws")
	d.wantAwake(t, "ws", true, "counter 7")
}

// A copy of a suspended machine that came without its memory is no snapshot: tart copies that on a best-effort basis.
func TestACopyWithoutItsMemoryIsNoSnapshot(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.asleep(t, "ws", "counter 7")
	forgetful, _ := d.logged(t, `if [ "$1" = clone ]; then `+double+` "$@" && exec `+double+` stop "$3"; fi`)
	err := forgetful.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{})
	wantError(t, err, nil, "verifying the copy", "")
	wantLeftovers(t, d)
	d.w.wantState("cal-ws", "suspended")
}

func TestWhatCanBeSuspended(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"tart run x --suspendable":                           "",
		"tart run --suspendable x":                           "",
		"tart run x --disk --suspendable":                    "--suspendable",
		"tart run x":                                         "--suspendable",
		"tart run x --suspendable --dir /a":                  "shared",
		"tart run x --dir=/a:tag=t --suspendable":            "shared",
		"tart run x --net-softnet-block --dir --suspendable": "",
		"tart push x":                                        "no `tart run`",
		"tart":                                               "no `tart run`",
	} {
		got := tart.Unsuspendable(strings.Fields(line))
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// A machine that ends for other reasons while it is told to suspend has no memory to show.
func TestSuspendOfAMachineThatEndsByItself(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	d.start(t, "ws")
	d.OnStep(func(step string) {
		if step == "suspend: ask" {
			if err := syscall.Kill(d.w.holder("cal-ws"), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			d.w.await("its end", func() bool { return !d.w.running("cal-ws") })
		}
	})
	wantError(t, d.Suspend(t.Context(), "ws", nil), vm.ErrNotRunning, "", "")
	d.OnStep(func(string) {})
	d.w.wantState("cal-ws", "stopped")
	if _, err := os.Stat(d.w.path("vms", "cal-ws", "state.vzvmsave")); err == nil {
		t.Error("there is a memory")
	}
}

// quoted is a string in a script.
func quoted(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
