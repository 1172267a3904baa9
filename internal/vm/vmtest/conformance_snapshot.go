package vmtest

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantSnapshots fails unless the machine has these snapshots, oldest first, each with sensible facts.
func wantSnapshots(t *testing.T, d vm.Driver, name string, want ...string) {
	t.Helper()
	all, err := d.Snapshots(context.WithoutCancel(t.Context()), name)
	if err != nil {
		t.Errorf("Snapshots(%s): %v", name, err)
		return
	}
	var got []string
	last := time.Time{}
	for _, sn := range all {
		got = append(got, sn.ID)
		if sn.SizeBytes < 0 || sn.Created.IsZero() || sn.Created.Before(last) {
			t.Errorf("snapshot %+v after one of %s makes no sense", sn, last)
		}
		last = sn.Created
	}
	if !slices.Equal(got, want) {
		t.Errorf("Snapshots(%s) = %q, want %q", name, got, want)
	}
}

func (s *suite) write(t *testing.T, d vm.Driver, name, value string) {
	t.Helper()
	if err := s.WriteMark(t.Context(), d, name, value); err != nil {
		t.Fatalf("WriteMark(%s, %s): %v", name, value, err)
	}
}

func (s *suite) wantMark(t *testing.T, d vm.Driver, name, want string) {
	t.Helper()
	got, err := s.ReadMark(t.Context(), d, name)
	if err != nil || got != want {
		t.Errorf("disk of %s holds %q, %v, want %q", name, got, err, want)
	}
}

func (s *suite) take(t *testing.T, d vm.Driver, name, id string) {
	t.Helper()
	if err := d.CreateSnapshot(t.Context(), name, id, vm.SnapshotOptions{}); err != nil {
		t.Fatalf("CreateSnapshot(%s, %s): %v", name, id, err)
	}
}

// snapshots checks rollback of a stopped machine by what is on its disk.
func (s *suite) snapshots(t *testing.T) {
	d := s.driver(t)
	other := s.Reopen(t, d)
	ctx := t.Context()
	s.machine(t, d, "past")
	s.machine(t, d, "past-snap-s1") // whose name may be taken for a part of the other
	wantSnapshots(t, d, "past")
	s.write(t, d, "past", "one")
	s.take(t, d, "past", "s1")
	s.take(t, d, "past-snap-s1", "zz")
	s.write(t, other, "past", "two")
	s.take(t, other, "past", "s2")
	wantSnapshots(t, d, "past", "s1", "s2")
	wantSnapshots(t, other, "past-snap-s1", "zz")
	wantNames(t, d, "past", "past-snap-s1")
	if err := d.CreateSnapshot(ctx, "past", "s1", vm.SnapshotOptions{}); err == nil {
		t.Error("CreateSnapshot under an identifier that is taken succeeded")
	}

	wantIs(t, "Restore of an unknown snapshot", d.Restore(ctx, "past", "nope", "undo0"), vm.ErrNoSnapshot)
	wantIs(t, "Restore of another's snapshot", d.Restore(ctx, "past", "zz", "undo0"), vm.ErrNoSnapshot)
	wantIs(t, "DeleteSnapshot of an unknown one", d.DeleteSnapshot(ctx, "past", "nope"), vm.ErrNoSnapshot)
	if err := d.Restore(ctx, "past", "s1", "s2"); err == nil {
		t.Error("Restore whose undo would replace a snapshot succeeded")
	}
	wantSnapshots(t, d, "past", "s1", "s2")
	s.wantMark(t, d, "past", "two")

	s.restore(t, d, "past", "s1", "undo1")
	wantSnapshots(t, other, "past", "s1", "s2", "undo1")
	s.wantMark(t, other, "past", "one")
	s.restore(t, other, "past", "undo1", "undo2")
	s.wantMark(t, d, "past", "two")
	m, err := d.Machine(ctx, "past")
	if err != nil || m.Running || m.CPU != s.Spec.CPU || m.MemoryMiB != s.Spec.MemoryMiB {
		t.Errorf("machine after rollbacks: %+v, %v", m, err)
	}
	for _, id := range []string{"s1", "undo1"} {
		if err := d.DeleteSnapshot(ctx, "past", id); err != nil {
			t.Errorf("DeleteSnapshot(%s): %v", id, err)
		}
	}
	wantSnapshots(t, other, "past", "s2", "undo2")
	s.restore(t, d, "past", "undo2", "undo3") // what others shared with the deleted ones is still whole
	s.wantMark(t, d, "past", "one")
	s.recoverClean(t, d, other)

	if err := d.Delete(ctx, "past"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantNames(t, other, "past-snap-s1")
	wantSnapshots(t, d, "past-snap-s1", "zz")
	s.machine(t, d, "past")
	wantSnapshots(t, d, "past")
}

func (s *suite) restore(t *testing.T, d vm.Driver, name, id, undo string) {
	t.Helper()
	if err := d.Restore(t.Context(), name, id, undo); err != nil {
		t.Fatalf("Restore(%s, %s, %s): %v", name, id, undo, err)
	}
}

func (s *suite) recoverClean(t *testing.T, drivers ...vm.Driver) {
	for range 2 {
		for _, d := range drivers {
			if err := d.Recover(t.Context(), "past"); err != nil {
				t.Errorf("Recover with nothing to do: %v", err)
			}
		}
	}
	wantSnapshots(t, drivers[0], "past", "s2", "undo2", "undo3")
}

func frozen(f func(do func() error) error) vm.SnapshotOptions {
	return vm.SnapshotOptions{Freeze: func(_ context.Context, do func() error) error { return f(do) }}
}

// liveSnapshot checks what a snapshot of a running machine does, whichever way the driver has it.
func (s *suite) liveSnapshot(t *testing.T) {
	d := s.driver(t)
	ctx := t.Context()
	s.machine(t, d, "live")
	s.boot(t, d, "live")
	if !d.Info().Capabilities.LiveSnapshot {
		err := d.CreateSnapshot(ctx, "live", "s1", frozen(func(do func() error) error { return do() }))
		wantIs(t, "CreateSnapshot while running", err, vm.ErrRunning)
		wantSnapshots(t, d, "live")
		isRunning(t, "live", true, d)
		return
	}
	s.write(t, d, "live", "one")
	froze, done := 0, 0
	err := d.CreateSnapshot(ctx, "live", "s1", frozen(func(do func() error) error {
		froze++
		err := do()
		done++
		return err
	}))
	if err != nil || froze != 1 || done != 1 {
		t.Fatalf("CreateSnapshot while running: %v; froze %d times, did it %d times, want once each", err, froze, done)
	}
	isRunning(t, "live", true, d)
	s.write(t, d, "live", "two")
	s.wantMark(t, d, "live", "two")

	cannot := errors.New("the guest cannot freeze")
	err = d.CreateSnapshot(ctx, "live", "s2", frozen(func(func() error) error { return cannot }))
	wantIs(t, "CreateSnapshot of a guest that cannot freeze", err, cannot)
	wantSnapshots(t, s.Reopen(t, d), "live", "s1")
	wantIs(t, "Restore while running", d.Restore(ctx, "live", "s1", "undo1"), vm.ErrRunning)

	err = d.Stop(ctx, "live", vm.Shutdown{Grace: s.BootLimit, Guest: func(ctx context.Context) error {
		return s.PowerOff(ctx, d, "live")
	}})
	if err != nil {
		t.Fatalf("Stop: %v", err)
	}
	s.restore(t, d, "live", "s1", "undo1")
	s.wantMark(t, d, "live", "one")
	s.restore(t, d, "live", "undo1", "undo2")
	s.wantMark(t, d, "live", "two")
}
