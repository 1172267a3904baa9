package app

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
)

func TestBannerStatus(t *testing.T) {
	now := time.Date(2026, 1, 17, 14, 30, 0, 0, time.UTC)
	ago := now.Add(-3500 * time.Millisecond)
	verified := state.Isolation{Level: isolation.Verified}
	for _, tt := range []struct {
		name   string
		w      state.Workspace
		silent time.Time
		want   session.Status
	}{
		{
			"all is well",
			state.Workspace{Life: state.Running, Isolation: verified},
			time.Time{},
			session.Status{Level: session.LevelRunning, Mode: "Safe Mode"},
		},
		{
			"the guest is silent",
			state.Workspace{Life: state.Running, Isolation: verified},
			ago,
			session.Status{Level: session.LevelChanging, Mode: "Safe Mode", Activity: "not answering 3 s"},
		},
		{
			"broken, and silent",
			state.Workspace{Life: state.Running, Isolation: state.Isolation{Level: isolation.Broken, Reason: "the host answers"}},
			ago,
			session.Status{Level: session.LevelTrouble, Mode: "Broken: the host answers", Activity: "not answering 3 s"},
		},
		{
			"silent while a snapshot stops it",
			state.Workspace{
				Life: state.Running, Isolation: verified,
				Operation: &state.Operation{Verb: "snapshot", Phase: "freezing", Since: now.Add(-5 * time.Second)},
			},
			ago,
			session.Status{Level: session.LevelChanging, Mode: "Safe Mode", Activity: "taking a snapshot: freezing 5 s"},
		},
		{
			"stopped",
			state.Workspace{Life: state.Stopped},
			ago,
			session.Status{Level: session.LevelChanging, Mode: "the VM is stopped"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.w.Name, tt.want.Workspace, tt.want.Agent = "demo", "demo", "Codex"
			got := bannerStatus(state.State{Time: now, Workspaces: []state.Workspace{tt.w}}, "demo", "Codex", tt.silent)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLastingSilences: one that ends soon is none of the menu's, and a guest that is silent again and again is told of seldom.
func TestLastingSilences(t *testing.T) {
	var told []journal.Kind
	l := lasting{note: func(kind journal.Kind, _ string) { told = append(told, kind) }}
	begun := time.Date(2026, 1, 17, 14, 30, 0, 0, time.UTC)
	at := func(s int) time.Time { return begun.Add(time.Duration(s) * time.Second) }
	for s := range 66 { // silent for six seconds of seven
		var silent time.Time
		if s%7 != 0 {
			silent = at(s - s%7 + 1)
		}
		l.look(silent, at(s))
	}
	l.look(at(70), at(72)) // too short
	l.look(time.Time{}, at(73))
	want := []journal.Kind{
		journal.SessionSilent, journal.SessionAnswered, journal.SessionSilent, journal.SessionAnswered,
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
