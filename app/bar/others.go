package bar

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/journal"
	outbox "github.com/calmenu/calmenu/internal/sync"
)

// announceOthers tells of what other processes have brought in since the agent looked last: a session looks after its
// workspace where it was there before the agent, and `CALMenu sync` can be said in any terminal. What this process brings
// in it announces itself, a burst at a time.
func (b *Agent) announceOthers(before, now state.State) {
	if before.Time.IsZero() {
		return // what landed before there was an agent is in the menu
	}
	for _, w := range now.Workspaces {
		old, _ := before.Find(w.Name)
		since := latest(old)
		if !latest(w).After(since) {
			continue
		}
		events, err := b.app.Journal.Events()
		if err != nil {
			b.app.Log.Warn().Err(err).Msg("reading what landed")
			return
		}
		cfg, err := b.app.Workspace(w.Name)
		if err != nil {
			continue // deleted meanwhile
		}
		if r := broughtInByOthers(events, w.Name, since); len(r.Landed)+len(r.Refused) > 0 {
			b.tasks.start(func() { b.landed(cfg, r) })
		}
	}
}

// latest is when something of a workspace last landed or was refused.
func latest(w state.Workspace) time.Time {
	var t time.Time
	if len(w.Artifacts) > 0 {
		t = w.Artifacts[0].Time
	}
	if len(w.Refused) > 0 && w.Refused[0].Time.After(t) {
		t = w.Refused[0].Time
	}
	return t
}

func broughtInByOthers(events []journal.Event, workspace string, since time.Time) outbox.Report {
	var r outbox.Report
	self := journal.Self()
	for _, e := range events {
		if e.Workspace != workspace || e.Process == self || !e.Time.After(since) {
			continue
		}
		switch e.Kind {
		case journal.Landed:
			a := outbox.Artifact{Name: filepath.Base(e.Path), Path: e.Path, Size: e.Size, SHA256: e.SHA256}
			if e.Detail != "" {
				a.Warnings = strings.Split(e.Detail, journal.WarningsSeparator)
			}
			r.Landed = append(r.Landed, a)
			r.Bytes += e.Size
		case journal.Refused:
			r.Refused = append(r.Refused, outbox.Refusal{Name: e.Path, Reason: e.Detail})
		}
	}
	return r
}
