// Package snapshot keeps what people know of snapshots (name, kind, reason, age) beside what a driver keeps of them
// (content), and runs create, rollback, delete, rename and prune as transactions that never discard the only copy of
// anything.
//
// What must hold: the driver alone decides which snapshots exist; the catalogue only describes them, so a lost or stale
// catalogue loses names, never content. Everything is described before it is made: after a crash at any instant nothing
// that exists has lost its name, and an undo is never taken for a person's own. A rollback always leaves the replaced
// state behind as an undo snapshot.
package snapshot

import (
	"time"
	"unicode/utf8"
)

// Kind says why a snapshot was taken.
type Kind string

// The kinds of snapshot.
const (
	Manual   Kind = "manual"   // asked for by a person
	Session  Kind = "session"  // before an agent session
	Undo     Kind = "undo"     // what a rollback replaced
	Periodic Kind = "periodic" // every so often while an agent is at work
)

// Kinds lists the kinds there are.
func Kinds() []Kind { return []Kind{Manual, Session, Periodic, Undo} }

// Automatic tells whether snapshots of this kind are taken, and let go of, without anybody asking.
func (k Kind) Automatic() bool { return k != Manual }

// The values of Snapshot.Mode, which are those of the setting snapshots.mode.
const (
	ModeAuto = "auto" // memory too, where that can be
	ModeWarm = "warm" // memory too, or an error
	ModeCold = "cold" // the disk alone
)

// Snapshot is one point a workspace can be rolled back to.
type Snapshot struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // for people: any text of up to 80 characters
	Kind    Kind      `json:"kind"`
	Created time.Time `json:"created"`
	Agent   string    `json:"agent,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Note    string    `json:"note,omitempty"` // a person's
	// Kept marks an automatic snapshot that a person has given a name: it stays until it is deleted.
	Kept         bool         `json:"kept,omitempty"`
	Repositories []Repository `json:"repositories,omitempty"`
	Warm         bool         `json:"warm"`       // it holds memory too: a rollback resumes what ran
	SizeBytes    int64        `json:"size_bytes"` // what deleting it would free, as far as the driver can tell

	// Mode is what is asked for where one is taken, empty as configured; it is not recorded.
	Mode string `json:"-"`
	// Ask, unless nil, is what Create calls for the Repositories once the snapshot is taken: nothing waits for them before.
	Ask func() []Repository `json:"-"`
}

// Repository is a git repository as it was in a snapshot. All of it is text of the guest's.
type Repository struct {
	Path   string `json:"path"` // below the guest's home
	Branch string `json:"branch,omitempty"`
	Commit string `json:"commit,omitempty"`
	State  State  `json:"state,omitempty"`
}

// State is what a repository's files were like; empty if that could not be found out in time.
type State string

// The states of a repository.
const (
	Clean State = "clean" // as committed
	Dirty State = "dirty" // changed or untracked files, or an unfinished merge
)

func (s State) known() State {
	if s == Clean || s == Dirty {
		return s
	}
	return ""
}

// Bounds of what is recorded of a guest that says what it likes.
const (
	maxRepositories = 64
	maxGuestText    = 512 // bytes
)

// bounded returns the repositories as they may be recorded.
func bounded(all []Repository) []Repository {
	kept := make([]Repository, 0, min(len(all), maxRepositories))
	for _, r := range all[:min(len(all), maxRepositories)] {
		kept = append(kept, Repository{
			Path: cut(r.Path, maxGuestText), Branch: cut(r.Branch, maxGuestText), Commit: cut(r.Commit, 64),
			State: r.State.known(),
		})
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// cut shortens a text to at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
