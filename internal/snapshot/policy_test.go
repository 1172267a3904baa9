package snapshot

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// history draws the snapshots of a workspace, newest first.
func history(t *rapid.T) []Snapshot {
	var list []Snapshot
	at := noon
	for i := range rapid.IntRange(0, 20).Draw(t, "snapshots") {
		at = at.Add(-time.Duration(rapid.IntRange(1, 6000).Draw(t, "minutes")) * time.Minute)
		k := rapid.SampledFrom(Kinds()).Draw(t, "kind")
		list = append(list, Snapshot{
			ID: fmt.Sprint("s", i), Kind: k, Created: at, SizeBytes: rapid.Int64Range(0, 1000).Draw(t, "size"),
			Kept: k.Automatic() && rapid.IntRange(0, 5).Draw(t, "kept") == 0,
		})
	}
	return list
}

func without(list []Snapshot, plan []Removal) []Snapshot {
	return slices.DeleteFunc(slices.Clone(list), func(s Snapshot) bool {
		return slices.ContainsFunc(plan, func(r Removal) bool { return r.Snapshot.ID == s.ID })
	})
}

func ofKind(list []Snapshot, k Kind) []Snapshot {
	return slices.DeleteFunc(slices.Clone(list), func(s Snapshot) bool { return s.Kind != k || s.Kept })
}

func total(list []Snapshot) (sum int64) {
	for _, s := range list {
		sum += s.SizeBytes
	}
	return sum
}

func TestThePolicyKeepsWhatItPromises(t *testing.T) {
	days := func(t *rapid.T, what string) time.Duration {
		return time.Duration(rapid.IntRange(0, 10).Draw(t, what)) * 24 * time.Hour
	}
	rapid.Check(t, func(t *rapid.T) {
		list := history(t)
		p := Policy{
			SessionKeep: rapid.IntRange(0, 5).Draw(t, "session keep"), SessionMaxAge: days(t, "session days"),
			PeriodicKeep: rapid.IntRange(0, 5).Draw(t, "periodic keep"), PeriodicMaxAge: days(t, "periodic days"),
			UndoKeep:      rapid.IntRange(0, 5).Draw(t, "undo keep"),
			MaxTotalBytes: rapid.Int64Range(0, 8000).Draw(t, "total"),
		}
		plan := Plan(list, p, noon)
		left := without(list, plan)
		for _, r := range plan {
			if r.Reason == "" || !r.Snapshot.Kind.Automatic() || r.Snapshot.Kept {
				t.Errorf("%+v goes", r)
			}
		}
		if len(left)+len(plan) != len(list) {
			t.Errorf("%d of %d go, %d are left", len(plan), len(list), len(left))
		}
		if again := Plan(left, p, noon); len(again) != 0 {
			t.Errorf("the same policy at the same time lets more go: %v", again)
		}
		for k, keep := range map[Kind]int{Session: p.SessionKeep, Periodic: p.PeriodicKeep, Undo: p.UndoKeep} {
			before, after := ofKind(list, k), ofKind(left, k)
			if keep > 0 && len(after) > keep {
				t.Errorf("%d %s ones are left, %d are to be kept", len(after), k, keep)
			}
			if k != Periodic && len(before) > 0 && (len(after) == 0 || after[0].ID != before[0].ID) {
				t.Errorf("the newest %s snapshot goes", k)
			}
		}
		for _, s := range ofKind(left, Periodic) {
			if p.PeriodicMaxAge > 0 && noon.Sub(s.Created) > p.PeriodicMaxAge {
				t.Errorf("%v is older than the limit", s)
			}
		}
		if p.MaxTotalBytes > 0 && total(left) > p.MaxTotalBytes {
			needed := 0
			for _, s := range left {
				if s.Kind.Automatic() && !s.Kept && s.SizeBytes > 0 {
					needed++
				}
			}
			if needed > 2 { // the newest of a session, and the newest undo
				t.Errorf("%d bytes are left of %d that are allowed, in %d snapshots that may go", total(left), p.MaxTotalBytes, needed)
			}
		}
		if none := Plan(list, Policy{}, noon); len(none) != 0 {
			t.Errorf("no limits, and %v go", none)
		}
	})
}

func TestASelectionTakesOnlyWhatItNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := history(t)
		sel := Selection{
			Kinds:     rapid.SliceOfNDistinct(rapid.SampledFrom(Kinds()), 0, 3, rapid.ID[Kind]).Draw(t, "kinds"),
			OlderThan: time.Duration(rapid.IntRange(0, 200).Draw(t, "hours")) * time.Hour,
			Keep:      rapid.IntRange(0, 5).Draw(t, "keep"),
		}
		plan := Select(list, sel, noon)
		left := without(list, plan)
		for _, r := range plan {
			s := r.Snapshot
			named := slices.Contains(sel.Kinds, s.Kind) || len(sel.Kinds) == 0 && s.Kind.Automatic()
			if !named || s.Kept || r.Reason == "" || noon.Sub(s.Created) <= sel.OlderThan {
				t.Errorf("%+v goes by %+v", r, sel)
			}
		}
		for _, k := range Kinds() {
			before, after := ofKind(list, k), ofKind(left, k)
			if len(after) < min(len(before), sel.Keep) || k == Session && len(before) > 0 && len(after) == 0 {
				t.Errorf("%d of %d %s ones are left by %+v", len(after), len(before), k, sel)
			}
		}
	})
}

func TestPlansSayWhy(t *testing.T) {
	at := func(k Kind, days int, size int64) Snapshot {
		return Snapshot{
			ID: fmt.Sprintf("%s-%d", k, days), Kind: k, SizeBytes: size,
			Created: noon.Add(-time.Duration(days) * 24 * time.Hour),
		}
	}
	list := []Snapshot{
		at(Undo, 0, 1), at(Session, 1, 1), at(Undo, 1, 1), at(Manual, 2, 100), at(Session, 3, 1), at(Undo, 3, 1),
		at(Session, 8, 50), at(Session, 20, 1), at(Periodic, 30, 1),
	}
	got := map[string]string{}
	for _, r := range Plan(list, Policy{
		SessionKeep: 3, SessionMaxAge: 7 * 24 * time.Hour, PeriodicMaxAge: 7 * 24 * time.Hour, UndoKeep: 2, MaxTotalBytes: 103,
	}, noon) {
		got[r.Snapshot.ID] = r.Reason
	}
	want := map[string]string{
		"session-8":   "older than 7 days",
		"session-20":  "beyond the newest 3 of sessions",
		"periodic-30": "older than 7 days",
		"undo-3":      "beyond the newest 2 undos",
		"session-3":   "over the limit of 103 B",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	plan := Select(list, Selection{Kinds: []Kind{Manual, Session}, OlderThan: time.Hour, Keep: 0}, noon)
	got = map[string]string{}
	for _, r := range plan {
		got[r.Snapshot.ID] = r.Reason
	}
	want = map[string]string{
		"manual-2": "older than 1 h", "session-3": "beyond the newest 1 session ones, older than 1 h",
		"session-8": "beyond the newest 1 session ones, older than 1 h", "session-20": "beyond the newest 1 session ones, older than 1 h",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := Frees(plan); got != 152 {
		t.Errorf("it frees %d", got)
	}
}

// TestPeriodicSnapshotsThinOut takes one every ten minutes for a day: what is left reaches back far, and is close
// together near the end.
func TestPeriodicSnapshotsThinOut(t *testing.T) {
	var list []Snapshot
	now := noon
	for i := range 6 * 24 {
		now = now.Add(10 * time.Minute)
		list = slices.Insert(list, 0, Snapshot{ID: fmt.Sprint(i), Kind: Periodic, Created: now})
		list = without(list, Plan(list, Policy{PeriodicKeep: 6}, now))
	}
	if len(list) != 6 {
		t.Fatalf("%d are left", len(list))
	}
	if age := now.Sub(list[5].Created); age < 12*time.Hour {
		t.Errorf("the oldest is %s old", age)
	}
	if age := now.Sub(list[1].Created); age > 40*time.Minute {
		t.Errorf("the newest but one is %s old", age)
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "1 day", 168 * time.Hour: "7 days", 36 * time.Hour: "36 h", 90 * time.Minute: "1h30m0s",
	} {
		if got := span(d); got != want {
			t.Errorf("%s is %q", d, got)
		}
	}
}
