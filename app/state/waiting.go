package state

import (
	"slices"
	"time"

	"github.com/calmenu/calmenu/internal/journal"
)

// wait replays the begin or the end of a wait. What a dead process saw counts no longer: nobody would tell of its end.
func (p *past) wait(e journal.Event, alive func(journal.Process) bool) {
	begins := e.Kind == journal.SessionWaiting
	if e.Op == "" {
		p.forget(e.Agent)
		if begins && e.Agent != "" && alive(e.Process) {
			p.detached = append(p.detached, Wait{Agent: e.Agent, Since: e.Time, Detail: e.Detail})
		}
		return
	}
	for i := range p.sessions {
		s := &p.sessions[i]
		if s.ID != e.Op {
			continue
		}
		switch {
		case !begins:
			s.Waiting, s.WaitingSince, s.Detail = false, time.Time{}, ""
		case !s.Waiting:
			s.Waiting, s.WaitingSince, s.Detail = true, e.Time, e.Detail
		case e.Detail != "":
			s.Detail = e.Detail // it waits already, and has said more
		}
	}
}

// forget ends the wait of an agent without a terminal.
func (p *past) forget(agent string) {
	p.detached = slices.DeleteFunc(p.detached, func(w Wait) bool { return w.Agent == agent })
}

// waits returns who waits, the longest first: with a terminal, or without one in the machine that was started then.
func (p *past) waits(started time.Time) []Wait {
	var all []Wait
	for _, s := range p.sessions {
		if s.Waiting {
			all = append(all, Wait{Agent: s.Agent, Session: s.ID, Since: s.WaitingSince, Detail: s.Detail})
		}
	}
	for _, w := range p.detached {
		if !w.Since.Before(started) {
			all = append(all, w)
		}
	}
	slices.SortStableFunc(all, func(a, b Wait) int { return a.Since.Compare(b.Since) })
	return all
}
