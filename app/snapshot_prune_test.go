package app

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

func shown(t *testing.T, a *App) (names []string) {
	t.Helper()
	list, err := a.Snapshots(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		names = append(names, s.Name)
	}
	return names
}

func TestADryRunAndTheRealOneAreOnePlan(t *testing.T) {
	t.Setenv("CAL_SNAPSHOTS_MAX_AUTO_SNAPSHOTS", "1")
	a, _ := demo(t)
	for name, k := range map[string]snapshot.Kind{"one": snapshot.Session, "mine": snapshot.Manual} {
		if _, err := a.TakeSnapshot(t.Context(), "demo", snapshot.Snapshot{Name: name, Kind: k}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"two", "three"} {
		s := snapshot.Snapshot{Name: name, Kind: snapshot.Session}
		if _, err := a.TakeSnapshot(t.Context(), "demo", s, nil); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := a.PrunePlan(t.Context(), "demo", nil)
	if err != nil || len(plan) != 2 || plan[0].Reason != "beyond the newest 1 of sessions" {
		t.Fatalf("planned: %+v, %v", plan, err)
	}
	if _, err := a.RenameSnapshot(t.Context(), "demo", "one", "it worked", nil); err != nil {
		t.Fatal(err)
	}
	gone, err := a.PruneSnapshots(t.Context(), "demo", plan, nil)
	if err != nil || len(gone) != 1 || gone[0].Snapshot.Name != "two" {
		t.Errorf("gone: %+v, %v", gone, err)
	}
	got := shown(t, a)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"it worked", "mine", "three"}, got); diff != "" {
		t.Error(diff)
	}
	plan, err = a.PrunePlan(t.Context(), "demo", &snapshot.Selection{Kinds: []snapshot.Kind{snapshot.Manual}})
	if err != nil || len(plan) != 1 || plan[0].Snapshot.Name != "mine" {
		t.Errorf("a person's selection: %+v, %v", plan, err)
	}
	if w := workspace(t, a, "demo"); w.LastError != nil {
		t.Errorf("pruning failed: %+v", w.LastError)
	}
}

func TestWhatIsSaidOfASnapshotIsNoOperation(t *testing.T) {
	a, _ := demo(t)
	if _, err := a.TakeSnapshot(t.Context(), "demo", snapshot.Snapshot{Name: "one"}, nil); err != nil {
		t.Fatal(err)
	}
	if s, err := a.NoteSnapshot(t.Context(), "demo", "one", "before lunch", nil); err != nil || s.Note != "before lunch" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := a.RenameSnapshot(t.Context(), "demo", "none", "two", nil); !errors.Is(err, vm.ErrNoSnapshot) {
		t.Errorf("a name for nothing: %v", err)
	}
	if _, err := a.RenameSnapshot(t.Context(), "demo", "one", "two\n", nil); err == nil {
		t.Error("a name of two lines")
	}
	if s, err := a.FindSnapshot(t.Context(), "", "one"); err != nil || s.Note != "before lunch" {
		t.Errorf("%+v, %v", s, err)
	}
	if w := workspace(t, a, "demo"); w.LastError != nil || w.Operation != nil {
		t.Errorf("%+v", w)
	}
}
