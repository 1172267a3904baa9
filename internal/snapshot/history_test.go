package snapshot

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// model is what a workspace's snapshots must be.
type model struct {
	content string            // of the disk
	held    map[string]string // content by identifier
	said    map[string]Snapshot
}

func (m *model) clone() *model {
	return &model{m.content, maps.Clone(m.held), maps.Clone(m.said)}
}

func (m *model) forget(id string) {
	delete(m.held, id)
	delete(m.said, id)
}

func (m *model) list() []Snapshot {
	all := slices.Collect(maps.Values(m.said))
	slices.SortFunc(all, func(a, b Snapshot) int { return b.Created.Compare(a.Created) })
	return all
}

// world is a real catalogue over a driver in memory, beside the model of it.
type world struct {
	c     *Catalog
	d     *vmtest.Memory
	dir   string
	clock time.Time
	m     *model
	next  int
}

func (w *world) open() {
	w.c = Open(w.d.Reopen(), "demo", w.dir)
	w.c.save = os.WriteFile
	w.c.now = func() time.Time {
		w.clock = w.clock.Add(17 * time.Minute)
		return w.clock
	}
}

func (w *world) mark() string { return filepath.Join(w.d.Home("demo"), "mark") }

func (w *world) write(t *rapid.T) {
	w.next++
	w.m.content = fmt.Sprint("content ", w.next)
	if err := os.WriteFile(w.mark(), []byte(w.m.content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) read(t *rapid.T) string {
	data, err := os.ReadFile(w.mark())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// step is one change: run does it, and apply says what it has led to if it was completed.
type step struct {
	run   func(ctx context.Context) error
	apply func(m *model)
}

func (w *world) draw(t *rapid.T) step {
	list := w.m.list()
	var some Snapshot
	if len(list) > 0 {
		some = list[rapid.IntRange(0, len(list)-1).Draw(t, "of")]
	}
	actions := []string{"create"}
	if len(list) > 0 {
		actions = append(actions, "create", "delete", "rename", "note", "rollback", "undo", "prune", "select")
	}
	switch action := rapid.SampledFrom(actions).Draw(t, "action"); action {
	case "create":
		return w.create(rapid.SampledFrom([]Kind{Manual, Session, Periodic}).Draw(t, "kind"))
	case "delete":
		return step{
			func(ctx context.Context) error { return w.c.Delete(ctx, some.ID) },
			func(m *model) { m.forget(some.ID) },
		}
	case "rename", "note":
		w.next++
		text := fmt.Sprint(action, " ", w.next)
		return step{
			func(ctx context.Context) error {
				var err error
				if action == "rename" {
					_, err = w.c.Rename(ctx, some.ID, text)
				} else {
					_, err = w.c.SetNote(ctx, some.Name, text)
				}
				return err
			},
			func(m *model) {
				if action == "rename" {
					some.Name, some.Kept = text, some.Kind.Automatic()
				} else {
					some.Note = text
				}
				m.said[some.ID] = some
			},
		}
	case "rollback", "undo":
		i := slices.IndexFunc(list, func(s Snapshot) bool { return s.Kind == Undo })
		if action == "undo" && i >= 0 {
			some = list[i]
		}
		return w.rollback(some)
	case "prune":
		return w.prune(Plan(list, Policy{SessionKeep: 2, PeriodicKeep: 2, UndoKeep: 2}, w.clock))
	default:
		sel := Selection{
			Kinds: []Kind{rapid.SampledFrom(Kinds()).Draw(t, "kind")}, Keep: rapid.IntRange(0, 3).Draw(t, "keep"),
		}
		return w.prune(Select(list, sel, w.clock))
	}
}

func (w *world) create(k Kind) step {
	w.next++
	s := Snapshot{
		Name: fmt.Sprint("snapshot ", w.next), Kind: k, Agent: "shell", Reason: "a test",
		Repositories: []Repository{{Path: "workspace/app", Branch: "main", Commit: "abc"}},
	}
	var taken Snapshot
	return step{
		func(ctx context.Context) (err error) {
			taken, err = w.c.Create(ctx, s, vm.SnapshotOptions{})
			return err
		},
		func(m *model) {
			if taken.ID == "" { // it died, but did it: the test finds it by its name
				if got, err := w.c.Find(context.Background(), s.Name); err == nil {
					taken = got
				}
			}
			m.held[taken.ID], m.said[taken.ID] = m.content, taken
		},
	}
}

func (w *world) rollback(to Snapshot) step {
	var undo Snapshot
	return step{
		func(ctx context.Context) (err error) {
			undo, err = w.c.Restore(ctx, to)
			return err
		},
		func(m *model) {
			if undo.ID == "" {
				if got, err := w.c.FindUndo(context.Background()); err == nil {
					undo = got
				}
				if undo.Reason == "" {
					undo.Name = "an undo that says what it is"
				}
			}
			m.held[undo.ID], m.said[undo.ID] = m.content, undo
			m.content = m.held[to.ID]
			for _, r := range Plan(m.list(), Policy{UndoKeep: DefaultUndoKeep}, w.clock) {
				m.forget(r.Snapshot.ID)
			}
		},
	}
}

func (w *world) prune(plan []Removal) step {
	return step{
		func(ctx context.Context) error { _, err := w.c.Prune(ctx, plan); return err },
		func(m *model) {
			for _, r := range plan {
				m.forget(r.Snapshot.ID)
			}
		},
	}
}

// differs says in what the workspace is not as the model has it.
func (w *world) differs(t *rapid.T, m *model) string {
	list, err := w.c.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(m.said) {
		return fmt.Sprintf("%d snapshots, not %d", len(list), len(m.said))
	}
	for _, s := range list {
		want, ok := m.said[s.ID]
		if !ok {
			return fmt.Sprintf("%s %q is there", s.Kind, s.Name)
		}
		if s.Name != want.Name || s.Kind != want.Kind || s.Note != want.Note || s.Kept != want.Kept ||
			!s.Created.Equal(want.Created) || s.Reason != want.Reason || len(s.Repositories) != len(want.Repositories) {
			return fmt.Sprintf("%+v is said, not %+v", s, want)
		}
	}
	if got := w.read(t); got != m.content {
		return fmt.Sprintf("the disk holds %q, not %q", got, m.content)
	}
	return ""
}

// follow checks that a step, whole or cut short, led from the model to something that it may lead to. Removals of one
// step may have been done in part, each wholly or not at all.
func (w *world) follow(t *rapid.T, s step, crashed bool) {
	after := w.m.clone()
	s.apply(after)
	list, err := w.c.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if crashed {
		if w.differs(t, w.m) == "" {
			return // the old state
		}
		for id, said := range w.m.said { // what was to go, and did not go yet
			_, goes := after.said[id]
			if !goes && slices.ContainsFunc(list, func(s Snapshot) bool { return s.ID == id }) {
				after.said[id], after.held[id] = said, w.m.held[id]
			}
		}
	}
	if d := w.differs(t, after); d != "" {
		t.Fatalf("crashed %v: %s", crashed, d)
	}
	w.m = after
}

// TestHistories runs random changes, some of which die on the way, and compares with a model: what exists has its name,
// its kind and its content, and nothing else exists.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, d, dir := catalog(t)
		w := &world{c: c, d: d, dir: dir, clock: noon, m: &model{held: map[string]string{}, said: map[string]Snapshot{}}}
		w.open()
		if err := os.MkdirAll(d.Home("demo"), 0o700); err != nil {
			rt.Fatal(err)
		}
		w.write(rt)
		for range rapid.IntRange(1, 10).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "writes") {
				w.write(rt)
			}
			s := w.draw(rt)
			crashAt := rapid.IntRange(0, 12).Draw(rt, "dies at") // most changes have fewer steps
			passed, crashed := 0, false
			w.c.fault = func(string) error {
				if passed++; passed == crashAt {
					crashed = true
					return errCrash
				}
				return nil
			}
			err := s.run(context.Background())
			if (err != nil) != crashed {
				rt.Fatalf("crashed %v, and it ended with %v", crashed, err)
			}
			w.open()
			if crashed && rapid.Bool().Draw(rt, "recovers") {
				if err := w.c.Recover(context.Background()); err != nil {
					rt.Fatal(err)
				}
			}
			w.follow(rt, s, crashed)
		}
		w.contents(rt)
	})
}

// contents rolls back to each snapshot there is, and looks.
func (w *world) contents(t *rapid.T) {
	w.c.UndoKeep = 1000
	for _, s := range w.m.list() {
		if _, err := w.c.Restore(context.Background(), s); err != nil {
			t.Fatal(err)
		}
		if got := w.read(t); got != w.m.held[s.ID] {
			t.Errorf("%s %q holds %q, not %q", s.Kind, s.Name, got, w.m.held[s.ID])
		}
	}
}
