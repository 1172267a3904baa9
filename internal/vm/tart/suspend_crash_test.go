package tart_test

import (
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
)

// A crash at any step of a suspend or of a start leaves the memory saved or resumed from, or what it was given up for:
// a machine that boots.
func TestCrashedSuspendAndResumeLoseNothing(t *testing.T) {
	for step, want := range map[string]string{
		"suspend: ask":  "running",
		"suspend: wait": "suspended", "suspend: check": "suspended",
		"start: keep memory": "suspended", "start: resume": "suspended", "start: resumed": "running",
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, stock)
			d.machine(t, "ws")
			d.awake(t, "ws", "counter 7")
			died := d.diesAt(t, step, "suspend")
			d.w.await("the end of it", func() bool { return step == "suspend: ask" || !d.w.running("cal-ws") })
			if !died {
				d.mustDieAt(t, step, "start")
			}
			d.w.wantState("cal-ws", want)
			after := d.reopen(t)
			for range 2 {
				if err := after.Recover(t.Context(), "ws"); err != nil {
					t.Fatal(err)
				}
			}
			wantNothingKept(t, d)
			if want == "suspended" {
				after.start(t, "ws")
			}
			after.wantAwake(t, "ws", step != "suspend: ask", "counter 7")
		})
	}
}

// The same where the memory cannot be resumed: the machine can be started ever after.
func TestCrashedBootWithoutMemory(t *testing.T) {
	for _, step := range []string{"start: forget memory", "start: boot"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, stock)
			d.asleep(t, "ws", "counter 7")
			d.w.put("cal-ws", "the disk")
			d.w.script(`{"guests": {"*": {"restore_error": "Error Domain=VZErrorDomain Code=12 \"Restore failed.\""}}}`)
			d.mustDieAt(t, step, "start")
			after := d.reopen(t)
			after.start(t, "ws")
			after.wantAwake(t, "ws", false, "")
			if got := d.w.disk("cal-ws"); got != "the disk" {
				t.Errorf("disk holds %q", got)
			}
		})
	}
}

func TestCrashedSuspendThatFailedIsNoMemory(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	d.w.script(`{"guests": {"*": {"suspend_error": "No space left on device"}}}`)
	d.awake(t, "ws", "lost")
	d.mustDieAt(t, "suspend: discard", "suspend")
	d.w.script(stock)
	after := d.reopen(t)
	told, err := after.phases(t, "ws", vm.StartOptions{}) // half a memory does not restore
	if err != nil || !strings.Contains(told, "booting without its memory") {
		t.Errorf("Start reported %q, %v", told, err)
	}
	after.wantAwake(t, "ws", false, "")
}

// A rollback from one memory to another that dies before any of its steps leaves both.
func TestCrashedWarmRollbackLosesNoMemory(t *testing.T) {
	steps := map[string]string{
		"restore: journal": "new", "restore: clone": "new", "restore: stamp": "new", "restore: set aside": "new",
		"restore: put in place": "old", "restore: done": "old",
	}
	for step, want := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			d := newDriver(t, stock)
			d.asleep(t, "ws", "old")
			if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
				t.Fatal(err)
			}
			d.awake(t, "ws", "new")
			d.suspend(t, "ws")
			d.mustDieAt(t, step, "restore")
			after := d.reopen(t)
			if err := after.Recover(t.Context(), "ws"); err != nil {
				t.Fatal(err)
			}
			all, err := after.Snapshots(t.Context(), "ws")
			if err != nil || len(all) == 0 || !all[0].Memory || !all[len(all)-1].Memory {
				t.Errorf("snapshots %+v, %v, want their memory", all, err)
			}
			after.start(t, "ws")
			after.wantAwake(t, "ws", true, want)
			if want == "new" {
				return
			}
			after.suspend(t, "ws")
			if err := after.Restore(t.Context(), "ws", "undo1", "undo2"); err != nil {
				t.Fatal(err)
			}
			after.start(t, "ws")
			after.wantAwake(t, "ws", true, "new")
		})
	}
}
