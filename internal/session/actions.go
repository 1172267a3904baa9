package session

import (
	"context"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// Actions are what the hotkeys do. Every call may take long: it reports its progress and ends with its context. What said
// returns is one line for the person. Errors should carry a hint. Text may come from the guest: whoever shows it strips it.
type Actions interface {
	// Snapshot takes a snapshot; an empty name is generated.
	Snapshot(ctx context.Context, name string, report vm.Progress) (said string, err error)
	// Snapshots lists the snapshots, the newest first.
	Snapshots(ctx context.Context) ([]SnapshotRow, error)
	// Preview tells, in lines of at most so many columns, what going back to a snapshot would undo.
	Preview(ctx context.Context, id string, columns int) ([]string, error)
	// RollbackRisk tells what work would be lost if the guest's disk went now. An error counts as unknown.
	RollbackRisk(ctx context.Context) (Risk, error)
	// Rollback goes back to a snapshot. It may cost the connection to the guest.
	Rollback(ctx context.Context, id string, report vm.Progress) (said string, err error)
	// Repositories lists the guest's repositories.
	Repositories(ctx context.Context) ([]Repository, error)
	// Diff is what Commit would take, as text.
	Diff(ctx context.Context, repo string) (text string, err error)
	// Commit records everything that is changed in a repository.
	Commit(ctx context.Context, repo, message string, report vm.Progress) (said string, err error)
	// Push brings a repository's current branch to its remote.
	Push(ctx context.Context, repo string, report vm.Progress) (said string, err error)
	// PullRequest proposes a repository's current branch; said is the request's URL.
	PullRequest(ctx context.Context, repo, title string, report vm.Progress) (said string, err error)
	// Agents lists the agents that can be attached to this workspace.
	Agents(ctx context.Context) ([]AgentRow, error)
	// Stop shuts the VM down.
	Stop(ctx context.Context, report vm.Progress) error
}

// SnapshotRow is a snapshot in a list.
type SnapshotRow struct {
	ID, Name string
	Kind     string // as in "manual"
	Created  time.Time
	Bytes    int64 // what deleting it would free; 0: unknown
	Warm     bool  // it holds memory: what ran then goes on
}

// Risk is work in the guest that exists nowhere else.
type Risk struct {
	Lines   []string // for people: "app: 3 files uncommitted"
	Unknown string   // why it could not be told; counts as work at risk
}

// None tells that nothing would be lost.
func (r Risk) None() bool { return len(r.Lines) == 0 && r.Unknown == "" }

// Repository is a repository of the guest.
type Repository struct {
	Name, Branch string
	Summary      string // "3 files changed, 2 commits not pushed"
	Dirty        bool   // a commit would take something
	Unpushed     bool   // a push would send something
}

// AgentRow is an agent in a list.
type AgentRow struct {
	ID, Name string
	Current  bool
	Running  bool   // a session of it is at work in the guest
	Absent   bool   // it is known not to be installed; taking it installs it
	Auth     string // AuthSignedIn, AuthSignedOut or AuthUnknown; empty where the agent has no account
}

// What is known about an agent's account.
const (
	AuthSignedIn  = "signed in"
	AuthSignedOut = "signed out"
	AuthUnknown   = "unknown"
)
