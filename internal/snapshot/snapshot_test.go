package snapshot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

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
	return Open(d, "demo", dir), d, dir
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
	if _, err := c.Create(t.Context(), Snapshot{Name: "one", Kind: Manual}, vm.SnapshotOptions{}); err == nil {
		t.Error("two snapshots have one name")
	}
}

func TestARollbackLeavesAnUndoAndTheUndosDoNotPileUp(t *testing.T) {
	c, _, _ := catalog(t)
	s := create(t, c, "base", Manual)
	for range keepUndo + 2 {
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
	if undos != keepUndo || len(list) != keepUndo+1 {
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

func TestRetention(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var list []Snapshot
		at := now
		for range rapid.IntRange(0, 12).Draw(t, "snapshots") {
			at = at.Add(-time.Duration(rapid.IntRange(1, 100).Draw(t, "hours")) * time.Hour)
			list = append(list, Snapshot{
				Kind: rapid.SampledFrom([]Kind{Manual, Session, Undo}).Draw(t, "kind"), Created: at,
			})
		}
		keep := rapid.IntRange(1, 5).Draw(t, "keep")
		maxAge := time.Duration(rapid.IntRange(0, 10).Draw(t, "days")) * 24 * time.Hour
		gone := Expired(list, now, keep, maxAge)
		sessions := 0
		for _, s := range list {
			if s.Kind == Session {
				sessions++
			}
		}
		for _, s := range gone {
			if s.Kind != Session {
				t.Errorf("a %s snapshot expires", s.Kind)
			}
		}
		left := sessions - len(gone)
		if sessions > 0 && left < 1 || left > keep {
			t.Errorf("%d of %d session snapshots are left, %d are to be kept", left, sessions, keep)
		}
	})
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
