package vmtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
)

// warm checks suspending, and snapshots that hold memory, by what is in the guest's memory and on its disk.
func (s *suite) warm(t *testing.T) {
	caps := s.newDriver(t).Info().Capabilities
	if caps.LiveWarmSnapshot && (!caps.WarmSnapshot || !caps.LiveSnapshot) {
		t.Errorf("LiveWarmSnapshot without WarmSnapshot or LiveSnapshot: %+v", caps)
	}
	if !caps.WarmSnapshot {
		t.Log("this driver saves no memory: that it says so is all there is to check")
		t.Run("Refused", s.noMemory)
		return
	}
	if s.WriteMemory == nil || s.ReadMemory == nil {
		t.Fatal("Options.WriteMemory and ReadMemory are needed: this driver has WarmSnapshot")
	}
	t.Run("Suspend", s.suspend)
	t.Run("Rollback", s.warmRollback)
	t.Run("Live", s.warmLive)
	if caps.Share {
		t.Run("Shared", s.warmShared)
	}
}

// noMemory checks that a driver without memory says so and harms nothing.
func (s *suite) noMemory(t *testing.T) {
	d := s.driver(t)
	ctx := t.Context()
	s.machine(t, d, "cold")
	wantIs(t, "Suspend of a stopped machine", d.Suspend(ctx, "cold", nil), vm.ErrNotRunning)
	s.boot(t, d, "cold")
	refused := func(call string, err error, also error) {
		if !errors.Is(err, vm.ErrNoMemory) && !errors.Is(err, vm.ErrUnsupported) && (also == nil || !errors.Is(err, also)) {
			t.Errorf("%s = %v, want %v or %v", call, err, vm.ErrNoMemory, vm.ErrUnsupported)
		}
	}
	refused("Suspend", d.Suspend(ctx, "cold", nil), nil)
	refused("CreateSnapshot", d.CreateSnapshot(ctx, "cold", "s1", withMemory()), vm.ErrRunning)
	wantSnapshots(t, d, "cold")
	s.wantWarm(t, "cold", state{running: true}, d, s.Reopen(t, d))
	if m, err := d.Machine(ctx, "cold"); err != nil || m.Warm.OK || m.Warm.Reason == "" {
		t.Errorf("Warm = %+v, %v, want why not", m.Warm, err)
	}
	s.awaitSSH(t, d, "cold")
}

func withMemory() vm.SnapshotOptions {
	o := frozen(func(do func() error) error { return do() })
	o.Memory = true
	return o
}

// state is what a machine says of itself.
type state struct{ running, suspended, resumed bool }

// wantWarm fails unless every driver tells the machine's state so.
func (s *suite) wantWarm(t *testing.T, name string, want state, drivers ...vm.Driver) {
	t.Helper()
	for i, d := range drivers {
		m, err := d.Machine(context.WithoutCancel(t.Context()), name)
		if got := (state{m.Running, m.Suspended, m.Resumed}); err != nil || got != want {
			t.Errorf("driver %d: Machine(%s) is %+v, %v, want %+v", i, name, got, err, want)
		}
		if (m.PID != 0) != want.running || (!want.running && !m.StartedAt.IsZero()) {
			t.Errorf("driver %d: facts of %s, %+v: %+v", i, name, want, m)
		}
	}
}

// wantHeld fails unless the snapshots that hold memory are these.
func wantHeld(t *testing.T, d vm.Driver, name string, want map[string]bool) {
	t.Helper()
	all, err := d.Snapshots(t.Context(), name)
	if err != nil {
		t.Fatalf("Snapshots: %v", err)
	}
	for _, sn := range all {
		if sn.Memory != want[sn.ID] {
			t.Errorf("snapshot %s holds memory: %v, want %v", sn.ID, sn.Memory, want[sn.ID])
		}
	}
}

func (s *suite) writeMemory(t *testing.T, d vm.Driver, name, value string) {
	t.Helper()
	if err := s.WriteMemory(t.Context(), d, name, value); err != nil {
		t.Fatalf("WriteMemory(%s, %s): %v", name, value, err)
	}
}

// writeBoth puts value into the running guest's memory and on its disk.
func (s *suite) writeBoth(t *testing.T, d vm.Driver, name, value string) {
	t.Helper()
	s.writeMemory(t, d, name, value)
	s.write(t, d, name, value)
}

// wantGuest fails unless the running guest holds this.
func (s *suite) wantGuest(t *testing.T, d vm.Driver, name, memory, disk string) {
	t.Helper()
	if got, err := s.ReadMemory(t.Context(), d, name); err != nil || got != memory {
		t.Errorf("memory of %s holds %q, %v, want %q", name, got, err, memory)
	}
	s.wantMark(t, d, name, disk)
}

// bootWarm creates and boots a machine whose memory can be saved.
func (s *suite) bootWarm(t *testing.T, d vm.Driver, name string) {
	t.Helper()
	s.machine(t, d, name)
	s.boot(t, d, name)
	m, err := d.Machine(t.Context(), name)
	if err != nil || !m.Warm.OK || m.Warm.Reason != "" {
		t.Fatalf("Warm = %+v, %v, want that its memory can be saved", m.Warm, err)
	}
}

// sleep suspends a running machine.
func (s *suite) sleep(t *testing.T, d vm.Driver, name string) {
	t.Helper()
	if err := d.Suspend(t.Context(), name, nil); err != nil {
		t.Fatalf("Suspend(%s): %v", name, err)
	}
	s.wantWarm(t, name, state{suspended: true}, d)
}

// wake starts a suspended machine and checks that it resumed with this in it.
func (s *suite) wake(t *testing.T, d vm.Driver, name, memory, disk string) {
	t.Helper()
	if err := d.Start(t.Context(), name, s.Start, nil); err != nil {
		t.Fatalf("Start(%s), which was suspended: %v", name, err)
	}
	s.wantWarm(t, name, state{running: true, resumed: true}, d)
	s.awaitSSH(t, d, name)
	s.wantGuest(t, d, name, memory, disk)
}

// suspend checks who may suspend, what a suspended machine says and lets be done to it, and how it starts.
func (s *suite) suspend(t *testing.T) {
	d := s.driver(t)
	other := s.Reopen(t, d)
	ctx := t.Context()
	s.machine(t, d, "off")
	wantIs(t, "Suspend of a stopped machine", d.Suspend(ctx, "off", nil), vm.ErrNotRunning)
	s.bootWarm(t, d, "doze")
	s.writeBoth(t, d, "doze", "one")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	wantIs(t, "Suspend with an ended context", d.Suspend(ended, "doze", nil), context.Canceled)
	isRunning(t, "doze", true, d)

	p, _ := oneAtATime(t)
	oneWins(t, "Suspend", race([]vm.Driver{d, other}, func(each vm.Driver) error {
		if each == d {
			return each.Suspend(ctx, "doze", p)
		}
		return each.Suspend(ctx, "doze", nil)
	}), vm.ErrNotRunning)
	s.wantWarm(t, "doze", state{suspended: true}, d, other, s.Reopen(t, d))
	s.refusedWhileSuspended(t, d, other)

	p, _ = oneAtATime(t)
	oneWins(t, "Start", race([]vm.Driver{d, other}, func(each vm.Driver) error {
		if each == d {
			return each.Start(ctx, "doze", s.Start, p)
		}
		return each.Start(ctx, "doze", s.Start, nil)
	}), vm.ErrRunning)
	s.wantWarm(t, "doze", state{running: true, resumed: true}, d, other, s.Reopen(t, d))
	s.awaitSSH(t, other, "doze")
	s.wantGuest(t, other, "doze", "one", "one")

	s.sleep(t, other, "doze") // once more, from memory that was saved before
	cold := s.Start
	cold.Cold = true
	if err := d.Start(ctx, "doze", cold, nil); err != nil {
		t.Fatalf("Start, cold: %v", err)
	}
	s.wantWarm(t, "doze", state{running: true}, d, other)
	s.awaitSSH(t, d, "doze")
	s.wantGuest(t, d, "doze", "", "one")

	s.sleep(t, d, "doze")
	if err := other.Delete(ctx, "doze"); err != nil {
		t.Fatalf("Delete of a suspended machine: %v", err)
	}
	s.machine(t, d, "doze")
	s.wantWarm(t, "doze", state{}, d, other)
	if err := d.Start(ctx, "off", cold, nil); err != nil {
		t.Errorf("Start, cold, of a stopped machine: %v", err)
	}
	s.offAtEnd(t, d, "off")
}

func (s *suite) refusedWhileSuspended(t *testing.T, d, other vm.Driver) {
	t.Helper()
	ctx := t.Context()
	wantIs(t, "second Suspend", other.Suspend(ctx, "doze", nil), vm.ErrNotRunning)
	wantIs(t, "Stop of a suspended machine", d.Stop(ctx, "doze", vm.Shutdown{}), vm.ErrNotRunning)
	_, err := d.DialSSH(ctx, "doze")
	wantIs(t, "DialSSH to a suspended machine", err, vm.ErrNotRunning)
	_, err = d.Exposure(ctx, "doze")
	wantIs(t, "Exposure of a suspended machine", err, vm.ErrNotRunning)
	wantIs(t, "Create over a suspended machine", d.Create(ctx, s.spec("doze"), nil), vm.ErrExists)
	if err := d.Resize(ctx, "doze", s.Spec.CPU+1, 0); err == nil {
		t.Error("Resize of a suspended machine succeeded: its memory would not fit")
	}
	for range 2 {
		if err := other.Recover(ctx, "doze"); err != nil {
			t.Errorf("Recover of a suspended machine: %v", err)
		}
	}
	s.wantWarm(t, "doze", state{suspended: true}, d, other)
	if m, err := d.Machine(ctx, "doze"); err != nil || m.CPU != s.Spec.CPU {
		t.Errorf("after a refused Resize: %+v, %v", m, err)
	}
}

// warmRollback checks snapshots of a suspended machine: both of its halves come back, and none is lost.
func (s *suite) warmRollback(t *testing.T) {
	d := s.driver(t)
	other := s.Reopen(t, d)
	ctx := t.Context()
	s.bootWarm(t, d, "past")
	s.writeBoth(t, d, "past", "one")
	s.sleep(t, d, "past")
	s.take(t, d, "past", "s1") // has the memory without being asked to
	if err := other.CreateSnapshot(ctx, "past", "s2", withMemory()); err != nil {
		t.Fatalf("CreateSnapshot of a suspended machine: %v", err)
	}
	s.wantWarm(t, "past", state{suspended: true}, d, other)
	wantHeld(t, other, "past", map[string]bool{"s1": true, "s2": true})
	s.wake(t, d, "past", "one", "one")
	s.writeBoth(t, d, "past", "two")
	wantIs(t, "Restore while running", d.Restore(ctx, "past", "s1", "undo0"), vm.ErrRunning)
	s.sleep(t, d, "past")

	// To the past, with what others share of it deleted meanwhile, and back: undo has the memory that was replaced.
	s.restore(t, d, "past", "s1", "undo1")
	wantHeld(t, d, "past", map[string]bool{"s1": true, "s2": true, "undo1": true})
	s.wantWarm(t, "past", state{suspended: true}, d, other)
	if err := d.DeleteSnapshot(ctx, "past", "s1"); err != nil {
		t.Fatalf("DeleteSnapshot: %v", err)
	}
	s.wake(t, other, "past", "one", "one")
	s.writeBoth(t, d, "past", "three")
	s.stopNow(t, d, "past")
	s.restore(t, d, "past", "undo1", "undo2")
	wantHeld(t, d, "past", map[string]bool{"s2": true, "undo1": true}) // a stopped machine has no memory to keep
	s.wake(t, d, "past", "two", "two")
	s.sleep(t, d, "past")
	s.restore(t, other, "past", "s2", "undo3")
	s.wake(t, d, "past", "one", "one")

	// From memory to a disk alone, and back.
	s.sleep(t, d, "past")
	s.restore(t, d, "past", "undo2", "undo4")
	s.wantWarm(t, "past", state{}, d, other)
	if !s.Slow {
		s.boot(t, d, "past")
		s.wantWarm(t, "past", state{running: true}, d, other)
		s.wantGuest(t, d, "past", "", "three")
		s.stopNow(t, d, "past")
	}
	s.restore(t, d, "past", "undo4", "undo5")
	wantHeld(t, d, "past", map[string]bool{"s2": true, "undo1": true, "undo3": true, "undo4": true})
	s.wake(t, d, "past", "one", "one")
	wantSnapshots(t, other, "past", "s2", "undo1", "undo2", "undo3", "undo4", "undo5")
}

// stopNow shuts the guest down, so that all it wrote is on its disk.
func (s *suite) stopNow(t *testing.T, d vm.Driver, name string) {
	t.Helper()
	err := d.Stop(t.Context(), name, vm.Shutdown{Grace: s.BootLimit, Guest: func(ctx context.Context) error {
		return s.PowerOff(ctx, d, name)
	}})
	if err != nil {
		t.Fatalf("Stop(%s): %v", name, err)
	}
	s.wantWarm(t, name, state{}, d)
}

// warmLive checks snapshots with memory of a running machine, whichever way the driver has it.
func (s *suite) warmLive(t *testing.T) {
	d := s.driver(t)
	ctx := t.Context()
	caps := d.Info().Capabilities
	s.bootWarm(t, d, "live")
	if !caps.LiveWarmSnapshot {
		err := d.CreateSnapshot(ctx, "live", "s1", withMemory())
		wantIs(t, "CreateSnapshot with memory while running", err, vm.ErrRunning)
		wantSnapshots(t, d, "live")
		s.wantWarm(t, "live", state{running: true}, d)
		return
	}
	s.writeBoth(t, d, "live", "one")
	asked := 0
	o := frozen(func(do func() error) error { asked++; return do() })
	o.Memory = true
	if err := d.CreateSnapshot(ctx, "live", "s1", o); err != nil || asked != 1 {
		t.Fatalf("CreateSnapshot with memory while running: %v; asked to freeze %d times, want once", err, asked)
	}
	s.wantWarm(t, "live", state{running: true}, d, s.Reopen(t, d))
	s.awaitSSH(t, d, "live")
	s.wantGuest(t, d, "live", "one", "one")
	s.writeBoth(t, d, "live", "two")
	cannot := errors.New("the guest does not write out")
	o = frozen(func(func() error) error { return cannot })
	o.Memory = true
	wantIs(t, "CreateSnapshot of a guest that cannot", d.CreateSnapshot(ctx, "live", "s2", o), cannot)
	s.take(t, d, "live", "s3") // of the disk alone
	wantSnapshots(t, d, "live", "s1", "s3")
	wantHeld(t, d, "live", map[string]bool{"s1": true})
	s.stopNow(t, d, "live")
	s.restore(t, d, "live", "s1", "undo1")
	s.wantWarm(t, "live", state{suspended: true}, d)
	s.wake(t, d, "live", "one", "one")
	// The memory that was resumed from is the snapshot's still.
	s.writeBoth(t, d, "live", "three")
	s.stopNow(t, d, "live")
	s.restore(t, d, "live", "s1", "undo2")
	s.wake(t, d, "live", "one", "one")
	s.sleep(t, d, "live")
	s.restore(t, d, "live", "s3", "undo3")
	s.wantWarm(t, "live", state{}, d)
	s.boot(t, d, "live")
	s.wantGuest(t, d, "live", "", "two")
}

// warmShared checks that a machine with a shared folder can be suspended, or says why not and runs on.
func (s *suite) warmShared(t *testing.T) {
	d := s.driver(t)
	ctx := t.Context()
	s.machine(t, d, "shared")
	o := s.Start
	o.Outbox = filepath.Join(t.TempDir(), "outbox")
	if err := os.Mkdir(o.Outbox, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(ctx, "shared", o, nil); err != nil {
		t.Fatalf("Start: %v", err)
	}
	s.offAtEnd(t, d, "shared")
	s.awaitSSH(t, d, "shared")
	m, err := d.Machine(ctx, "shared")
	if err != nil || m.Warm.OK != (m.Warm.Reason == "") {
		t.Fatalf("Warm = %+v, %v, want that it works or why not", m.Warm, err)
	}
	if err := d.Suspend(ctx, "shared", nil); m.Warm.OK && err != nil || !m.Warm.OK && !errors.Is(err, vm.ErrNoMemory) {
		t.Errorf("Suspend = %v, but Warm is %+v", err, m.Warm)
	}
	s.wantWarm(t, "shared", state{running: !m.Warm.OK, suspended: m.Warm.OK}, d)
}
