package app

import (
	"slices"
	"time"

	"github.com/calmenu/calmenu/internal/journal"
)

var (
	// quiet are the verbs that neither run anything in a guest that is stopped, nor exchange its disk.
	quiet = []string{"stop", "suspend", "snapshot", "prune", "rename", "sync"}
	// ends are the verbs that stop a guest after its last look.
	ends = []string{"stop", "suspend"}
)

// ranOn tells from the journal what may have happened in a guest that does not run now since it was looked through: why
// that look is too old, or nothing. never says that the guest has never run at all. What the journal does not tell of
// counts as having happened.
func ranOn(events []journal.Event, workspace string, looked time.Time) (why string, never bool) {
	made := "" // the operation that made the workspace
	ran := true
	var stopping string // the operation in which it was looked through, if it was to stop it
	var begun time.Time // when that began
	covered, after := false, ""
	for _, e := range events {
		if e.Workspace != workspace {
			continue
		}
		switch e.Kind {
		case journal.OpBegin:
			switch {
			case e.Verb == "new":
				made, ran = e.Op, false
			case !slices.Contains(quiet, e.Verb):
				ran = true
			}
			if slices.Contains(ends, e.Verb) {
				stopping, begun = e.Op, e.Time
			} else if !slices.Contains(quiet, e.Verb) && e.Time.After(looked) && after == "" {
				after = e.Verb
			}
		case journal.OpEnd:
			failed := e.Error != "" || e.Detail != ""
			if e.Op == made && failed {
				ran = true
			}
			if e.Op == stopping && !failed && !looked.Before(begun) && !looked.After(e.Time) {
				covered, after = true, ""
			}
		case journal.OpPhase:
		default:
			ran = true // a session, a check of its isolation, something that landed
		}
	}
	switch {
	case made != "" && !ran:
		return "", true
	case looked.IsZero():
		return "", false // as the survey says itself
	case after != "":
		return "there was a " + after + " since", false
	case !covered:
		return "it ran on after that, as far as is known", false
	}
	return "", false
}
