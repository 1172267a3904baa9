package vmtest

import (
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
