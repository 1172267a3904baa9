package app

import (
	"context"
	"fmt"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
)

// bannerStatus is what a session's banner says of its workspace, whose guest does not answer the session since silent unless
// that is zero. It is a pure function.
func bannerStatus(s state.State, workspace, agentName string, silent time.Time) session.Status {
	st := session.Status{Workspace: workspace, Agent: agentName}
	w, ok := s.Find(workspace)
	if !ok {
		st.Level, st.Mode = session.LevelTrouble, "the workspace was deleted"
		return st
	}
	st.Level, st.Mode = bannerMode(w.Isolation)
	switch w.Life {
	case state.Failed:
		st.Level = session.LevelTrouble
		if w.LastError != nil {
			st.Activity = w.LastError.Verb + " failed: " + w.LastError.Text
		}
	case state.Stopped:
		st.Level, st.Mode = max(st.Level, session.LevelChanging), "the VM is stopped"
	case state.Starting, state.Stopping:
		st.Level = max(st.Level, session.LevelChanging)
	case state.Running:
		if !silent.IsZero() {
			st.Level = max(st.Level, session.LevelChanging)
			st.Activity = fmt.Sprintf("not answering %d s", int(s.Time.Sub(silent).Seconds()))
		}
	}
	// What is under way explains a silence: a snapshot stops the machine for a while.
	if o := w.Operation; o != nil {
		st.Level = max(st.Level, session.LevelChanging)
		if st.Activity = o.String(); o.Detail == "" { // which says more than how long it has taken
			st.Activity += fmt.Sprintf(" %d s", int(s.Time.Sub(o.Since).Seconds()))
		}
	}
	return st
}

// bannerMode is what may be said of isolation: Safe Mode only where every check holds, that is no share and no network
// beyond the policy.
func bannerMode(i state.Isolation) (session.Level, string) {
	switch i.Level {
	case isolation.Verified:
		return session.LevelRunning, "Safe Mode"
	case isolation.Weakened:
		return session.LevelChanging, "Weakened: " + i.Reason
	case isolation.Broken:
		return session.LevelTrouble, "Broken: " + i.Reason
	case isolation.Unknown:
	}
	return session.LevelChanging, "Not proven yet"
}

const (
	// statusLag bounds how late the banner is where the journal's directory cannot be watched, and for machines that end
	// without a word in the journal.
	statusLag = 5 * time.Second
	// statusEvery is how often elapsed time is told anew.
	statusEvery = time.Second
)

// followStatus tells set what the banner has to say, now and after every change, until ctx ends. silences brings since when the
// guest does not answer, and the zero time when it does again; lasting is told what comes of that.
func (a *App) followStatus(
	ctx context.Context, workspace, agentName string, silences <-chan time.Time, lasting lasting, set func(session.Status),
) {
	changed := make(chan struct{}, 1)
	go func() {
		err := a.Journal.Watch(ctx, func() {
			select {
			case changed <- struct{}{}:
			default: // one is pending already
			}
		})
		if err != nil && ctx.Err() == nil {
			a.Log.Warn().Err(err).Msg("watching the journal")
		}
	}()
	var silent time.Time
	for {
		s, err := a.State(ctx)
		if ctx.Err() != nil {
			return
		}
		st := session.Status{Level: session.LevelTrouble, Workspace: workspace, Agent: agentName, Mode: "state unknown"}
		if err == nil {
			st = bannerStatus(s, workspace, agentName, silent)
		}
		set(st)
		lasting.look(silent, time.Now())
		wait := statusLag
		if st.Activity != "" {
			wait = statusEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case silent = <-silences:
		case <-time.After(wait):
		}
	}
}

const (
	// lastingAfter is how long a guest must be silent for others than its sessions to be told.
	lastingAfter = 3 * time.Second
	// lastingEvery is how often they are told at most: when a guest is silent is the guest's to choose, and the journal is
	// not to be filled by it.
	lastingEvery = 30 * time.Second
)

// lasting journals silences of a session's guest that last, for the menu and every other process to know of.
type lasting struct {
	note func(kind journal.Kind, text string)
	told bool
	last time.Time // when one was told
}

// look sees whether there is something to tell, now that the guest has been silent since then; zero: it is not.
func (l *lasting) look(silent, now time.Time) {
	switch {
	case silent.IsZero() && l.told:
		l.told = false
		l.note(journal.SessionAnswered, "")
	case !silent.IsZero() && !l.told && now.Sub(silent) >= lastingAfter && now.Sub(l.last) >= lastingEvery:
		l.told, l.last = true, now
		l.note(journal.SessionSilent, "")
	}
}
