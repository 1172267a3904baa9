package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

func catalog(t *testing.T) (*Catalog, *vmtest.Memory, string) {
	t.Helper()
	d := vmtest.NewMemory(t, vmtest.MemoryOptions{})
	if err := d.EnsureImage(t.Context(), d.DefaultImage(), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(t.Context(), vm.Spec{Name: "demo", CPU: 1, MemoryMiB: 512, DiskGiB: 4}, nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Open(d, "demo", dir)
	c.save = os.WriteFile // hundreds of changes, each of which would wait for the disk
	return c, d, dir
}

func create(t *testing.T, c *Catalog, name string, k Kind) Snapshot {
	t.Helper()
	s, err := c.Create(t.Context(), Snapshot{Name: name, Kind: k}, vm.SnapshotOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(t *testing.T, c *Catalog) []string {
	t.Helper()
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var n []string
	for _, s := range list {
		n = append(n, s.Name)
	}
	return n
}

func TestSnapshotsAreFoundByNameIdentifierOrAge(t *testing.T) {
	c, _, _ := catalog(t)
	one, two := create(t, c, "one", Manual), create(t, c, "two", Session)
	for ref, want := range map[string]string{"one": one.ID, one.ID: one.ID, "": two.ID} {
		if s, err := c.Find(t.Context(), ref); err != nil || s.ID != want {
			t.Errorf("%q finds %q, %v; want %s", ref, s.Name, err, want)
		}
	}
	if _, err := c.Find(t.Context(), "three"); !errors.Is(err, vm.ErrNoSnapshot) {
		t.Errorf("a name nobody has: %v", err)
	}
	if err := c.CanCreate(t.Context(), Snapshot{Name: "one"}); !errors.Is(err, ErrTaken) {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := c.CanCreate(t.Context(), Snapshot{}); err != nil {
		t.Errorf("no name: %v", err)
	}
	if _, err := c.Create(t.Context(), Snapshot{Name: "one", Kind: Manual}, vm.SnapshotOptions{}); !errors.Is(err, ErrTaken) {
		t.Errorf("two snapshots have one name: %v", err)
	}
}

func TestARollbackLeavesAnUndoAndTheUndosDoNotPileUp(t *testing.T) {
	c, _, _ := catalog(t)
	s := create(t, c, "base", Manual)
	for range DefaultUndoKeep + 2 {
		if _, err := c.Restore(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	undos := 0
	for _, x := range list {
		if x.Kind == Undo {
			undos++
		}
	}
	if undos != DefaultUndoKeep || len(list) != DefaultUndoKeep+1 {
		t.Errorf("%d undos of %d snapshots are kept", undos, len(list))
	}
	if s, err := c.Find(t.Context(), ""); err != nil || s.Name != "base" {
		t.Errorf("the newest snapshot to roll back to is %q, %v: an undo is none", s.Name, err)
	}
	if u, err := c.FindUndo(t.Context()); err != nil || u.Kind != Undo || !strings.Contains(u.Reason, "base") {
		t.Errorf("the undo is %+v, %v", u, err)
	}
}

func TestALostCatalogueLosesNamesOnly(t *testing.T) {
	c, _, dir := catalog(t)
	s := create(t, c, "precious", Manual)
	if err := os.Remove(filepath.Join(dir, "snapshots.json")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, c); len(got) != 1 || got[0] != s.ID {
		t.Errorf("without its catalogue: %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "snapshots.json"), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.List(t.Context()); err == nil {
		t.Error("a damaged catalogue is read as if it were none")
	}
}

func TestADriverThatFailsChangesNothing(t *testing.T) {
	c, d, _ := catalog(t)
	create(t, c, "one", Manual)
	d.Fail("CreateSnapshot", vm.ErrNoSpace)
	if _, err := c.Create(t.Context(), Snapshot{Name: "two", Kind: Manual}, vm.SnapshotOptions{}); !errors.Is(err, vm.ErrNoSpace) {
		t.Errorf("create: %v", err)
	}
	d.Fail("DeleteSnapshot", vm.ErrNoSpace)
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), list[0].ID); !errors.Is(err, vm.ErrNoSpace) {
		t.Errorf("delete: %v", err)
	}
	if got := names(t, c); !slices.Equal(got, []string{"one"}) {
		t.Errorf("afterwards: %v", got)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"before the rewrite": true, "": false, " x": false, "x ": false, "a\nb": false, "a\x1b[2Jb": false,
		"\u202ex": false, strings.Repeat("x", 80): true, strings.Repeat("x", 81): false, "naïve": true, "\xff": false,
	} {
		if err := ValidName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNamesOfTheClockDoNotClash(t *testing.T) {
	list := []Snapshot{{Name: "12:00"}, {Name: "12:00 (2)"}}
	for name, want := range map[string]string{"12:00": "12:00 (3)", "12:01": "12:01"} {
		if got := unused(list, name); got != want {
			t.Errorf("unused(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNotes(t *testing.T) {
	c, _, _ := catalog(t)
	s := create(t, c, "one", Session)
	if got, err := c.SetNote(t.Context(), "one", "the last one that built"); err != nil || got.Note == "" || got.Kept {
		t.Errorf("a note: %+v, %v", got, err)
	}
	for _, note := range []string{"a\nb", strings.Repeat("x", maxNote+1), "\x1b[2J"} {
		if _, err := c.SetNote(t.Context(), s.ID, note); err == nil {
			t.Errorf("%q is taken for a note", note)
		}
	}
	if got, err := c.SetNote(t.Context(), s.ID, ""); err != nil || got.Note != "" {
		t.Errorf("no note: %+v, %v", got, err)
	}
	if _, err := c.SetNote(t.Context(), "two", "x"); !errors.Is(err, vm.ErrNoSnapshot) {
		t.Errorf("a note beside nothing: %v", err)
	}
}

func TestANameGivenByAPersonKeepsAnAutomaticSnapshot(t *testing.T) {
	c, _, _ := catalog(t)
	create(t, c, "first", Session)
	create(t, c, "second", Session)
	manual := create(t, c, "third", Manual)
	if s, err := c.Rename(t.Context(), "first", "it works"); err != nil || !s.Kept || s.Kind != Session {
		t.Fatalf("renamed: %+v, %v", s, err)
	}
	if s, err := c.Rename(t.Context(), manual.ID, "mine"); err != nil || s.Kept {
		t.Errorf("a manual snapshot needs no mark: %+v, %v", s, err)
	}
	create(t, c, "fourth", Session)
	if err := pruneSessions(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := names(t, c); !slices.Equal(got, []string{"fourth", "mine", "it works"}) {
		t.Errorf("afterwards: %v", got)
	}
	plan := Select([]Snapshot{create(t, c, "fifth", Periodic)}, Selection{}, time.Now())
	if _, err := c.Rename(t.Context(), "fifth", "sixth"); err != nil {
		t.Fatal(err)
	}
	if gone, err := c.Prune(t.Context(), plan); err != nil || len(plan) != 1 || len(gone) != 0 {
		t.Errorf("a plan from before it had its name deleted %v, %v", gone, err)
	}
	for name, ref := range map[string]string{"mine": "it works", manual.ID: "it works", "": "mine", " x": "mine"} {
		if _, err := c.Rename(t.Context(), ref, name); err == nil {
			t.Errorf("%q became the name of another snapshot", name)
		}
	}
	if _, err := c.Rename(t.Context(), "it works", "it works"); err != nil {
		t.Errorf("its own name: %v", err)
	}
}

func TestTheKindSurvivesALostCatalogue(t *testing.T) {
	c, _, dir := catalog(t)
	want := map[string]Kind{}
	for _, k := range Kinds() {
		want[create(t, c, string(k), k).ID] = k
	}
	if err := os.Remove(filepath.Join(dir, "snapshots.json")); err != nil {
		t.Fatal(err)
	}
	list, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Kind != want[s.ID] || s.Name != s.ID {
			t.Errorf("%s was %s, and is a %s named %q", s.ID, want[s.ID], s.Kind, s.Name)
		}
	}
	for _, id := range []string{"s20260101120000aabbcc", "undo1", ""} {
		if k := kindOf(id); k != Manual {
			t.Errorf("%q says that it is %s", id, k)
		}
	}
}

func TestACatalogueOfAnOlderVersionIsRead(t *testing.T) {
	c, d, dir := catalog(t)
	if err := d.CreateSnapshot(t.Context(), "demo", "s1", vm.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "snapshots.json")
	old := `{"s1": {"id": "s1", "name": "old", "kind": "session", "created": "2026-01-01T00:00:00Z", "size_bytes": 1}}`
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Find(t.Context(), "old"); err != nil || s.Kind != Session {
		t.Errorf("%+v, %v", s, err)
	}
	create(t, c, "new", Manual)
	if got := names(t, c); !slices.Equal(got, []string{"new", "old"}) {
		t.Errorf("after a change: %v", got)
	}
	if err := os.WriteFile(file, []byte(`{"version": 99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), Snapshot{}, vm.SnapshotOptions{}); err == nil {
		t.Error("a catalogue of a newer version is written over")
	}
}

func TestWhatIsRecordedOfAGuestIsBounded(t *testing.T) {
	c, _, _ := catalog(t)
	repos := make([]Repository, 1_000)
	for i := range repos {
		repos[i] = Repository{Path: strings.Repeat("ä", 10_000), Branch: "main", Commit: strings.Repeat("f", 1000)}
	}
	s, err := c.Create(t.Context(), Snapshot{Name: "big", Kind: Manual, Repositories: repos}, vm.SnapshotOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Find(t.Context(), s.ID)
	if err != nil || len(got.Repositories) != maxRepositories {
		t.Fatalf("%d repositories, %v", len(got.Repositories), err)
	}
	r := got.Repositories[0]
	if len(r.Path) > maxGuestText || strings.Trim(r.Path, "ä") != "" || len(r.Commit) > 64 || r.Branch != "main" {
		t.Errorf("recorded: %+v", r)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"s1": {"name": "x"}}`))
	f.Add([]byte(`{"version": 1, "snapshots": {"s1": {"name": "x"}}, "intent": {"op": "create", "ids": ["s1"]}}`))
	f.Add([]byte(`{"version": 1, "snapshots": null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parse(data)
		if err == nil && (b.Snapshots == nil || b.Version != bookVersion) {
			t.Errorf("%q is read as %+v", data, b)
		}
	})
}

// pruneSessions leaves the newest session snapshot.
func pruneSessions(ctx context.Context, c *Catalog) error {
	list, err := c.List(ctx)
	if err == nil {
		_, err = c.Prune(ctx, Plan(list, Policy{SessionKeep: 1}, time.Now()))
	}
	return err
}
