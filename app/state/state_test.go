package state

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm"
)

var (
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	live = journal.Process{PID: 10, Start: 1}
	dead = journal.Process{PID: 11, Start: 1}
)

func alive(p journal.Process) bool { return p == live }

func event(p journal.Process, k journal.Kind, verb, errText string) journal.Event {
	return journal.Event{Process: p, Kind: k, Workspace: "demo", Op: verb, Verb: verb, Error: errText, Time: now}
}

func proven(pid int, level isolation.Level) isolation.Report {
	return isolation.Report{Level: level, Reason: "why", PID: pid, Results: make([]isolation.Result, 9)}
}

func TestLifeAndLight(t *testing.T) {
	up := vm.Machine{Name: "demo", Running: true, PID: 99}
	cases := []struct {
		name    string
		machine vm.Machine
		report  isolation.Report
		events  []journal.Event
		life    Life
		light   Light
	}{
		{"never started", vm.Machine{}, isolation.Report{}, nil, Stopped, Grey},
		{"starting", vm.Machine{}, isolation.Report{}, []journal.Event{event(live, journal.OpBegin, "start", "")}, Starting, Yellow},
		{
			"still starting when the process runs", up,
			isolation.Report{},
			[]journal.Event{event(live, journal.OpBegin, "start", "")},
			Starting, Yellow,
		},
		{"proven", up, proven(99, isolation.Verified), nil, Running, Green},
		{"not proven yet", up, isolation.Report{}, nil, Running, Yellow},
		{"a report about an earlier machine proves nothing", up, proven(98, isolation.Verified), nil, Running, Yellow},
		{"weakened", up, proven(99, isolation.Weakened), nil, Running, Yellow},
		{"broken", up, proven(99, isolation.Broken), nil, Running, Red},
		{
			"snapshot in flight", up, proven(99, isolation.Verified),
			[]journal.Event{event(live, journal.OpBegin, "snapshot", "")},
			Running, Yellow,
		},
		{"a session's guest is silent", up, proven(99, isolation.Verified), []journal.Event{
			event(live, journal.SessionBegin, "s", ""), event(live, journal.SessionSilent, "s", ""),
		}, Running, Yellow},
		{"it is silent, and isolation broken", up, proven(99, isolation.Broken), []journal.Event{
			event(live, journal.SessionBegin, "s", ""), event(live, journal.SessionSilent, "s", ""),
		}, Running, Red},
		{"it answers again", up, proven(99, isolation.Verified), []journal.Event{
			event(live, journal.SessionBegin, "s", ""), event(live, journal.SessionSilent, "s", ""),
			event(live, journal.SessionAnswered, "s", ""),
		}, Running, Green},
		{"the process that found it silent died", up, proven(99, isolation.Verified), []journal.Event{
			event(dead, journal.SessionBegin, "s", ""), event(dead, journal.SessionSilent, "s", ""),
		}, Running, Green},
		{"stopping", up, proven(99, isolation.Verified), []journal.Event{event(live, journal.OpBegin, "stop", "")}, Stopping, Yellow},
		{"start failed", vm.Machine{}, isolation.Report{}, []journal.Event{
			event(live, journal.OpBegin, "start", ""), event(live, journal.OpEnd, "start", "no space"),
		}, Failed, Red},
		{"guest never answered", up, isolation.Report{}, []journal.Event{event(dead, journal.OpEnd, "start", "no answer")}, Failed, Red},
		{"a failure is over with the next success", vm.Machine{}, isolation.Report{}, []journal.Event{
			event(dead, journal.OpEnd, "start", "no space"), event(dead, journal.OpEnd, "start", ""),
		}, Stopped, Grey},
		{
			"the process that was starting it died",
			vm.Machine{},
			isolation.Report{},
			[]journal.Event{event(dead, journal.OpBegin, "start", "")},
			Stopped, Grey,
		},
		{
			"the process that was starting it died after the machine was up", up,
			isolation.Report{},
			[]journal.Event{event(dead, journal.OpBegin, "start", "")},
			Running, Yellow,
		},
		{"a start that was cancelled is no failure", vm.Machine{}, isolation.Report{}, []journal.Event{
			event(live, journal.OpBegin, "start", ""),
			{Process: live, Kind: journal.OpEnd, Workspace: "demo", Op: "start", Detail: journal.Cancelled},
		}, Stopped, Grey},
		{"a rollback to nowhere is no failure", vm.Machine{}, isolation.Report{}, []journal.Event{
			event(live, journal.OpBegin, "rollback", ""),
			{Process: live, Kind: journal.OpEnd, Workspace: "demo", Op: "rollback", Detail: journal.InVain},
		}, Stopped, Grey},
		{
			"a failed snapshot leaves a running VM running", up, proven(99, isolation.Verified),
			[]journal.Event{event(dead, journal.OpEnd, "snapshot", "disk full")},
			Running, Green,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := Fold(Facts{
				Now: now, Events: c.events, Alive: alive,
				Workspaces: []Configured{{Name: "demo", Machine: c.machine, Report: c.report}},
			})
			w, ok := s.Find("demo")
			if !ok || w.Life != c.life || w.Light() != c.light || s.Light() != c.light {
				t.Errorf("life %s, light %s; want %s, %s (%s)", w.Life, w.Light(), c.life, c.light, w.Why())
			}
		})
	}
}

func TestSessionsOfDeadProcessesAreGone(t *testing.T) {
	begin := func(p journal.Process, id string) journal.Event {
		return journal.Event{Process: p, Kind: journal.SessionBegin, Workspace: "demo", Op: id, Agent: "shell"}
	}
	s := Fold(Facts{
		Alive: alive, Workspaces: []Configured{{Name: "demo"}},
		Events: []journal.Event{
			begin(live, "a"), begin(dead, "b"), begin(live, "c"),
			{Process: live, Kind: journal.SessionEnd, Workspace: "demo", Op: "a"},
		},
	})
	if got := s.Workspaces[0].Sessions; len(got) != 1 || got[0].ID != "c" {
		t.Errorf("sessions %+v", got)
	}
}

func TestTheWorstLightWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lives := rapid.SliceOfN(rapid.SampledFrom([]Life{Stopped, Running, Failed, Starting}), 0, 6).Draw(t, "lives")
		var s State
		want := Grey
		for _, l := range lives {
			w := Workspace{Life: l, Isolation: Isolation{Level: isolation.Verified}}
			want = max(want, w.Light())
			s.Workspaces = append(s.Workspaces, w)
		}
		if s.Light() != want {
			t.Errorf("%v give %s, want %s", lives, s.Light(), want)
		}
	})
}

func TestFoldTakesAnyEvents(t *testing.T) {
	kinds := []journal.Kind{
		journal.OpBegin, journal.OpPhase, journal.OpEnd, journal.SessionBegin, journal.SessionEnd, journal.Landed,
		journal.Refused, journal.Isolation, journal.AgentBegin, journal.AgentEnd, journal.Notice, "from the future",
		journal.SessionWaiting, journal.SessionActive, journal.SessionSilent, journal.SessionAnswered,
	}
	rapid.Check(t, func(t *rapid.T) {
		var f Facts
		f.Alive = alive
		f.Workspaces = []Configured{{Name: "demo"}, {Name: "other"}}
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			f.Events = append(f.Events, journal.Event{
				Process:   rapid.SampledFrom([]journal.Process{live, dead}).Draw(t, "process"),
				Kind:      rapid.SampledFrom(kinds).Draw(t, "kind"),
				Workspace: rapid.SampledFrom([]string{"demo", "other", "gone", ""}).Draw(t, "workspace"),
				Op:        rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "op"),
				Verb:      rapid.SampledFrom([]string{"start", "stop", "sync", ""}).Draw(t, "verb"),
			})
		}
		s := Fold(f)
		if len(s.Workspaces) != 2 {
			t.Errorf("%d workspaces", len(s.Workspaces))
		}
		for _, w := range s.Workspaces {
			if w.Operation != nil && w.Operation.PID != live.PID {
				t.Errorf("an operation of a dead process is in flight")
			}
			if len(w.Artifacts) > recent {
				t.Errorf("%d artifacts", len(w.Artifacts))
			}
			if w.Waiting != (len(w.Waits) > 0) {
				t.Errorf("waiting %v with waits %+v", w.Waiting, w.Waits)
			}
			_ = w.Why()
		}
	})
}
