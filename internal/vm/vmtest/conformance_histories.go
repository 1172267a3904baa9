package vmtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/vm"
)

// histories plays random histories of one machine's snapshots against a model: no content is ever lost or mixed up.
func (s *suite) histories(t *testing.T) {
	d := s.driver(t)
	ctx := t.Context()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := fmt.Sprintf("h%d", n)
		s.machine(t, d, name)
		defer func() {
			if err := d.Delete(ctx, name); err != nil {
				rt.Errorf("Delete: %v", err)
			}
		}()
		disk, ids, kept := "", []string{}, map[string]string{}
		for i := range rapid.IntRange(1, 8).Draw(rt, "steps") {
			id := fmt.Sprintf("i%d", i)
			step := rapid.SampledFrom([]string{"write", "take", "restore", "drop"}).Draw(rt, "step")
			var err error
			switch {
			case step == "write":
				disk = fmt.Sprintf("v%d", i)
				err = s.WriteMark(ctx, d, name, disk)
			case step == "take":
				err = d.CreateSnapshot(ctx, name, id, vm.SnapshotOptions{})
				kept[id], ids = disk, append(ids, id)
			case len(ids) == 0:
			case step == "restore":
				from := rapid.SampledFrom(ids).Draw(rt, "from")
				err = d.Restore(ctx, name, from, id)
				kept[id], ids, disk = disk, append(ids, id), kept[from]
			case step == "drop":
				gone := rapid.SampledFrom(ids).Draw(rt, "gone")
				err = d.DeleteSnapshot(ctx, name, gone)
				ids = slices.DeleteFunc(ids, func(s string) bool { return s == gone })
			}
			if err != nil {
				rt.Fatalf("%s: %v", step, err)
			}
		}
		s.checkHistory(t, rt, d, name, disk, ids, kept)
	})
}

func (s *suite) checkHistory(
	t *testing.T, rt *rapid.T, d vm.Driver, name, disk string, ids []string, kept map[string]string,
) {
	wantSnapshots(t, d, name, ids...)
	s.wantMark(t, d, name, disk)
	for i, id := range ids {
		if err := d.Restore(t.Context(), name, id, fmt.Sprintf("end%d", i)); err != nil {
			rt.Fatalf("Restore(%s): %v", id, err)
		}
		s.wantMark(t, d, name, kept[id])
	}
}

// point is what a snapshot holds, or a machine that does not run.
type point struct {
	disk, memory string
	warm         bool // it holds memory
}

// life is one machine in a random history with memory, and what it should hold.
type life struct {
	s    *suite
	t    *testing.T
	d    vm.Driver
	name string
	now  point // warm of a machine that does not run: it is suspended
	on   bool
	ids  []string
	kept map[string]point
}

// warmHistories plays random histories of a machine that is started, suspended and stopped between its snapshots.
func (s *suite) warmHistories(t *testing.T) {
	d := s.driver(t)
	if !d.Info().Capabilities.WarmSnapshot {
		t.Skip("this driver saves no memory")
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		l := &life{s: s, t: t, d: d, name: fmt.Sprintf("w%d", n), kept: map[string]point{}}
		s.machine(t, d, l.name)
		defer func() {
			err := l.settle(false)
			if err == nil {
				err = d.Delete(t.Context(), l.name)
			}
			if err != nil {
				rt.Errorf("Delete: %v", err)
			}
		}()
		for i := range rapid.IntRange(1, 8).Draw(rt, "steps") {
			if err := l.step(rt, fmt.Sprintf("i%d", i)); err != nil {
				rt.Fatal(err)
			}
		}
		if err := l.settle(true); err != nil {
			rt.Fatal(err)
		}
		wantSnapshots(t, d, l.name, l.ids...)
		held := map[string]bool{}
		for _, id := range l.ids {
			held[id] = l.kept[id].warm
		}
		wantHeld(t, d, l.name, held)
	})
}

// step does one thing to the machine, if it is in a state for it.
func (l *life) step(rt *rapid.T, id string) error {
	ctx, d := l.t.Context(), l.d
	live := d.Info().Capabilities.LiveWarmSnapshot
	step := rapid.SampledFrom([]string{"write", "turn", "suspend", "take", "restore", "drop"}).Draw(rt, "step")
	switch {
	case step == "write" && l.on:
		l.now.disk, l.now.memory = "d"+id, "m"+id
		return errors.Join(l.s.WriteMark(ctx, d, l.name, l.now.disk), l.s.WriteMemory(ctx, d, l.name, l.now.memory))
	case step == "turn":
		return l.settle(!l.on)
	case step == "suspend" && l.on:
		l.on, l.now.warm = false, true
		return d.Suspend(ctx, l.name, nil)
	case step == "take" && (!l.on || live):
		at := l.now
		at.warm = l.on || at.warm
		l.kept[id], l.ids = at, append(l.ids, id)
		return d.CreateSnapshot(ctx, l.name, id, vm.SnapshotOptions{Memory: l.on})
	case len(l.ids) == 0:
	case step == "restore" && !l.on:
		from := rapid.SampledFrom(l.ids).Draw(rt, "from")
		l.kept[id], l.ids, l.now = l.now, append(l.ids, id), l.kept[from]
		return d.Restore(ctx, l.name, from, id)
	case step == "drop":
		gone := rapid.SampledFrom(l.ids).Draw(rt, "gone")
		l.ids = slices.DeleteFunc(l.ids, func(s string) bool { return s == gone })
		return d.DeleteSnapshot(ctx, l.name, gone)
	}
	return nil
}

// settle turns the machine on, and compares what is in it then, or off.
func (l *life) settle(on bool) error {
	switch {
	case on == l.on:
		return nil
	case !on:
		l.on, l.now.memory = false, ""
		return l.d.Stop(l.t.Context(), l.name, vm.Shutdown{})
	}
	if err := l.d.Start(l.t.Context(), l.name, l.s.Start, nil); err != nil {
		return err
	}
	l.s.wantWarm(l.t, l.name, state{running: true, resumed: l.now.warm}, l.d)
	l.on, l.now.warm = true, false
	l.s.awaitSSH(l.t, l.d, l.name)
	l.s.wantGuest(l.t, l.d, l.name, l.now.memory, l.now.disk)
	return nil
}
