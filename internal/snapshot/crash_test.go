package snapshot

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

var errCrash = errors.New("the process died here")

// operations are the changes there are, each on a workspace with the snapshots "base" (manual), "one" and "two"
// (sessions), and, after it, as many undos as are kept.
var operations = map[string]struct {
	run  func(ctx context.Context, c *Catalog) error
	old  []string // what may be there after a crash beside what every change leaves, or
	done []string // this
}{
	"create": {
		func(ctx context.Context, c *Catalog) error {
			_, err := c.Create(ctx, Snapshot{Name: "new", Kind: Periodic}, vm.SnapshotOptions{})
			return err
		},
		[]string{"base manual", "one session", "two session"},
		[]string{"base manual", "new periodic", "one session", "two session"},
	},
	"restore": {
		func(ctx context.Context, c *Catalog) error {
			s, err := c.Find(ctx, "base")
			if err == nil {
				_, err = c.Restore(ctx, s)
			}
			return err
		},
		[]string{"base manual", "one session", "two session"},
		[]string{"before rollback undo", "base manual", "one session", "two session"},
	},
	"delete": {
		func(ctx context.Context, c *Catalog) error {
			s, err := c.Find(ctx, "one")
			if err == nil {
				err = c.Delete(ctx, s.ID)
			}
			return err
		},
		[]string{"base manual", "one session", "two session"},
		[]string{"base manual", "two session"},
	},
	"prune": {
		func(ctx context.Context, c *Catalog) error {
			return pruneSessions(ctx, c)
		},
		[]string{"base manual", "one session", "two session"},
		[]string{"base manual", "two session"},
	},
	"rename": {
		func(ctx context.Context, c *Catalog) error {
			_, err := c.Rename(ctx, "base", "bottom")
			return err
		},
		[]string{"base manual", "one session", "two session"},
		[]string{"bottom manual", "one session", "two session"},
	},
	"note": {
		func(ctx context.Context, c *Catalog) error {
			_, err := c.SetNote(ctx, "base", "the first")
			return err
		},
		[]string{"base manual", "one session", "two session"},
		[]string{"base manual: the first", "one session", "two session"},
	},
}

func before(t *testing.T) (*Catalog, *vmtest.Memory, string) {
	t.Helper()
	c, d, dir := catalog(t)
	create(t, c, "base", Manual)
	create(t, c, "one", Session)
	create(t, c, "two", Session)
	return c, d, dir
}

// told lists the snapshots as they are shown, sorted.
func told(t *testing.T, c *Catalog) []string {
	t.Helper()
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range list {
		name := s.Name
		if s.Kind == Undo {
			name = "before rollback"
		}
		line := name + " " + string(s.Kind)
		if s.Note != "" {
			line += ": " + s.Note
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

// TestACrashAtAnyStepLeavesTheOldOrTheNew ends each change at each of its steps.
func TestACrashAtAnyStepLeavesTheOldOrTheNew(t *testing.T) {
	points := 0
	for name, op := range operations {
		slices.Sort(op.old)
		slices.Sort(op.done)
		c, _, _ := before(t)
		var steps []string
		c.fault = func(step string) error { steps = append(steps, step); return nil }
		if err := op.run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(op.done, told(t, c)); diff != "" {
			t.Fatalf("%s: %s", name, diff)
		}
		for i, step := range steps {
			points++
			t.Run(name+" "+step, func(t *testing.T) {
				c, d, dir := before(t)
				n := 0
				c.fault = func(string) error {
					if n++; n > i {
						return errCrash
					}
					return nil
				}
				if err := op.run(t.Context(), c); !errors.Is(err, errCrash) {
					t.Fatalf("it ended with %v", err)
				}
				c = Open(d.Reopen(), "demo", dir)
				for _, when := range []string{"as it is", "recovered", "and again"} {
					got := told(t, c)
					if !slices.Equal(got, op.old) && !slices.Equal(got, op.done) {
						t.Errorf("%s: %q", when, got)
					}
					if err := c.Recover(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if b, err := c.read(); err != nil || b.Intent != nil || len(b.Snapshots) != len(told(t, c)) {
					t.Errorf("the catalogue says %+v, %v", b, err)
				}
				if err := op.run(t.Context(), c); err != nil && !errors.Is(err, vm.ErrNoSnapshot) && told(t, c)[0] != op.done[0] {
					t.Errorf("once more: %v", err)
				}
			})
		}
	}
	t.Logf("%d changes were ended at %d points", len(operations), points)
}

// TestADriverThatFailsLeavesTheOld has every call of the driver's fail in every change.
func TestADriverThatFailsLeavesTheOld(t *testing.T) {
	for name, op := range operations {
		slices.Sort(op.old)
		for _, call := range []string{"CreateSnapshot", "Restore", "DeleteSnapshot"} {
			c, d, _ := before(t)
			d.Fail(call, vm.ErrNoSpace)
			err := op.run(t.Context(), c)
			if err == nil { // it makes no such call
				continue
			}
			if !errors.Is(err, vm.ErrNoSpace) {
				t.Errorf("%s, %s: %v", name, call, err)
			}
			if diff := cmp.Diff(op.old, told(t, c)); diff != "" {
				t.Errorf("%s, %s: %s", name, call, diff)
			}
			if b, err := c.read(); err != nil || b.Intent != nil {
				t.Errorf("%s, %s: the catalogue says %+v, %v", name, call, b, err)
			}
		}
	}
}

// TestAFailedCallThatDidItsWorkKeepsTheName: what the driver has in spite of its error is described.
func TestAFailedCallThatDidItsWorkKeepsTheName(t *testing.T) {
	c, d, _ := catalog(t)
	c.driver = late{d}
	if _, err := c.Create(t.Context(), Snapshot{Name: "half", Kind: Session}, vm.SnapshotOptions{}); !errors.Is(err, errCrash) {
		t.Fatalf("it ended with %v", err)
	}
	if got := told(t, c); !slices.Equal(got, []string{"half session"}) {
		t.Errorf("afterwards: %q", got)
	}
}

// late fails after the deed.
type late struct{ *vmtest.Memory }

func (l late) CreateSnapshot(ctx context.Context, name, id string, o vm.SnapshotOptions) error {
	return errors.Join(l.Memory.CreateSnapshot(ctx, name, id, o), errCrash)
}

// TestWhatTheDriverKnowsOnlyAfterItsOwnRecoveryKeepsItsName: both died in one instant, and the driver finishes later.
func TestWhatTheDriverKnowsOnlyAfterItsOwnRecoveryKeepsItsName(t *testing.T) {
	c, d, dir := catalog(t)
	p := &postponing{Memory: d}
	c.driver = p
	c.fault = func(step string) error {
		if step == "create:taken" {
			return errCrash
		}
		return nil
	}
	if _, err := c.Create(t.Context(), Snapshot{Name: "late", Kind: Session}, vm.SnapshotOptions{}); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	c = Open(p, "demo", dir)
	if got := told(t, c); len(got) != 0 {
		t.Fatalf("before: %q", got)
	}
	if _, err := c.Create(t.Context(), Snapshot{Name: "next", Kind: Manual}, vm.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := told(t, c); !slices.Equal(got, []string{"late session", "next manual"}) {
		t.Errorf("afterwards: %q", got)
	}
}

// postponing does the first snapshot when it recovers.
type postponing struct {
	*vmtest.Memory
	id   string
	done bool
}

func (p *postponing) CreateSnapshot(ctx context.Context, name, id string, o vm.SnapshotOptions) error {
	if p.id == "" {
		p.id = id
		return nil
	}
	return p.Memory.CreateSnapshot(ctx, name, id, o)
}

func (p *postponing) Recover(ctx context.Context, name string) error {
	if p.id == "" || p.done {
		return nil
	}
	p.done = true
	return p.Memory.CreateSnapshot(ctx, name, p.id, vm.SnapshotOptions{})
}

// TestADriverThatLiesIsNotBelieved: a snapshot that was made and is not there is an error, as is one that was deleted
// and is there.
func TestADriverThatLiesIsNotBelieved(t *testing.T) {
	c, d, _ := before(t)
	honest := c.driver
	c.driver = liar{d}
	if _, err := c.Create(t.Context(), Snapshot{Name: "none", Kind: Manual}, vm.SnapshotOptions{}); err == nil {
		t.Error("a snapshot that is not there was taken")
	}
	s, err := c.Find(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), s.ID); err == nil {
		t.Error("a snapshot that is there was deleted")
	}
	if _, err := c.Restore(t.Context(), s); err == nil {
		t.Error("a rollback without an undo took place")
	}
	c.driver = honest
	if got := told(t, c); !slices.Equal(got, []string{"base manual", "one session", "two session"}) {
		t.Errorf("afterwards: %q", got)
	}
}

type liar struct{ *vmtest.Memory }

func (liar) CreateSnapshot(context.Context, string, string, vm.SnapshotOptions) error { return nil }
func (liar) DeleteSnapshot(context.Context, string, string) error                     { return nil }
func (liar) Restore(context.Context, string, string, string) error                    { return nil }

// TestAFullDiskRefusesWhatNeedsRoomAndAllowsWhatMakesSome has every write of the catalogue fail until something is deleted.
func TestAFullDiskRefusesWhatNeedsRoomAndAllowsWhatMakesSome(t *testing.T) {
	c, d, _ := before(t)
	one, err := c.Find(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	made := len(d.Calls())
	save := c.save
	c.save = func(file string, data []byte, mode os.FileMode) error {
		if slices.ContainsFunc(d.Calls()[made:], func(s string) bool { return strings.HasPrefix(s, "DeleteSnapshot") }) {
			return save(file, data, mode)
		}
		return &os.PathError{Op: "write", Path: file, Err: syscall.ENOSPC}
	}
	if _, err := c.Create(t.Context(), Snapshot{Name: "more", Kind: Manual}, vm.SnapshotOptions{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a snapshot on a full disk: %v", err)
	}
	if _, err := c.Restore(t.Context(), one); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a rollback on a full disk: %v", err)
	}
	if _, err := c.Rename(t.Context(), "one", "other"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a name on a full disk: %v", err)
	}
	if calls := d.Calls()[made:]; len(calls) != 0 {
		t.Errorf("the driver was asked all the same: %q", calls)
	}
	if err := c.Delete(t.Context(), one.ID); err != nil {
		t.Errorf("making room: %v", err)
	}
	if got := told(t, c); !slices.Equal(got, []string{"base manual", "two session"}) {
		t.Errorf("afterwards: %q", got)
	}
}
