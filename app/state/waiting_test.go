package state

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm"
)

func TestWhoWaits(t *testing.T) {
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	ev := func(s int, p journal.Process, k journal.Kind, op, agent, detail string) journal.Event {
		return journal.Event{Time: at(s), Process: p, Kind: k, Workspace: "demo", Op: op, Agent: agent, Detail: detail}
	}
	begin := ev(1, live, journal.SessionBegin, "a", "codex", "")
	up := vm.Machine{Name: "demo", Running: true, PID: 9, StartedAt: now}
	cases := []struct {
		name    string
		machine vm.Machine
		events  []journal.Event
		want    []Wait
	}{
		{"nobody", up, []journal.Event{begin}, nil},
		{
			"a session", up,
			[]journal.Event{begin, ev(2, live, journal.SessionWaiting, "a", "codex", "done?")},
			[]Wait{{Agent: "codex", Session: "a", Since: at(2), Detail: "done?"}},
		},
		{
			"asking again does not begin again", up,
			[]journal.Event{
				begin, ev(2, live, journal.SessionWaiting, "a", "codex", ""), ev(9, live, journal.SessionWaiting, "a", "codex", "well?"),
			},
			[]Wait{{Agent: "codex", Session: "a", Since: at(2), Detail: "well?"}},
		},
		{"answered", up, []journal.Event{
			begin, ev(2, live, journal.SessionWaiting, "a", "codex", ""), ev(3, live, journal.SessionActive, "a", "codex", ""),
		}, nil},
		{"ended", up, []journal.Event{
			begin, ev(2, live, journal.SessionWaiting, "a", "codex", ""), ev(3, live, journal.SessionEnd, "a", "codex", ""),
		}, nil},
		{"its process died", up, []journal.Event{
			ev(1, dead, journal.SessionBegin, "a", "codex", ""), ev(2, dead, journal.SessionWaiting, "a", "codex", ""),
		}, nil},
		{"the machine is off", vm.Machine{}, []journal.Event{begin, ev(2, live, journal.SessionWaiting, "a", "codex", "")}, nil},
		{
			"without a terminal", up,
			[]journal.Event{ev(2, live, journal.SessionWaiting, "", "codex", "hm")},
			[]Wait{{Agent: "codex", Since: at(2), Detail: "hm"}},
		},
		{"a terminal came", up, []journal.Event{ev(0, live, journal.SessionWaiting, "", "codex", ""), begin}, nil},
		{"it went on", up, []journal.Event{
			ev(2, live, journal.SessionWaiting, "", "codex", ""), ev(3, live, journal.SessionActive, "", "codex", ""),
		}, nil},
		{"who saw it died", up, []journal.Event{ev(2, dead, journal.SessionWaiting, "", "codex", "")}, nil},
		{"in an earlier boot", up, []journal.Event{ev(-5, live, journal.SessionWaiting, "", "codex", "")}, nil},
		{
			"several, the longest first", up,
			[]journal.Event{
				begin, ev(2, live, journal.SessionWaiting, "", "claude-code", ""), ev(5, live, journal.SessionWaiting, "a", "codex", ""),
			},
			[]Wait{{Agent: "claude-code", Since: at(2)}, {Agent: "codex", Session: "a", Since: at(5)}},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := Fold(Facts{Now: now, Events: c.events, Alive: alive, Workspaces: []Configured{{Name: "demo", Machine: c.machine}}})
			w := s.Workspaces[0]
			if d := cmp.Diff(c.want, w.Waits); d != "" || w.Waiting != (len(c.want) > 0) {
				t.Errorf("waiting %v (-want +got):\n%s", w.Waiting, d)
			}
			for _, x := range c.want {
				if got, ok := w.WaitOf(x.Agent); !ok || got != x {
					t.Errorf("the wait of %s is %+v, %v", x.Agent, got, ok)
				}
			}
		})
	}
}
