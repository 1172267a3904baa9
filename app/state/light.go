package state

import (
	"fmt"

	"github.com/calmenu/calmenu/internal/isolation"
)

// Light is what an icon or banner shows of a workspace, or of all of them.
type Light int

// The lights, from best to worst.
const (
	Grey   Light = iota // nothing runs
	Green               // it runs, and its isolation is proven
	Yellow              // something is under way, or not proven, or weakened by choice
	Red                 // an error, or broken isolation
)

// String returns the light's colour.
func (l Light) String() string { return [...]string{"grey", "green", "yellow", "red"}[l] }

// Light returns the worst light over all workspaces.
func (s State) Light() Light {
	worst := Grey
	for _, w := range s.Workspaces {
		worst = max(worst, w.Light())
	}
	return worst
}

// Light returns the workspace's light.
func (w Workspace) Light() Light {
	switch {
	case w.Life == Failed || w.Life == Running && w.Isolation.Level == isolation.Broken:
		return Red
	case w.Operation != nil || w.Life == Starting || w.Life == Stopping || w.Silent:
		return Yellow
	case w.Life == Stopped:
		return Grey
	case w.Isolation.Level == isolation.Verified:
		return Green
	}
	return Yellow
}

// Why returns, in one short line, the reason for the workspace's light.
func (w Workspace) Why() string {
	switch {
	case w.Operation != nil:
		return w.Operation.String()
	case w.Life == Failed && w.LastError != nil:
		return w.LastError.Text
	case w.Life == Stopped:
		return "stopped"
	case w.Silent && w.Isolation.Level != isolation.Broken:
		return "the VM does not answer"
	case w.Isolation.Level == isolation.Verified:
		return fmt.Sprintf("isolation verified (%d of %d)", w.Isolation.Passed, w.Isolation.Total)
	case w.Isolation.Level == isolation.Unknown:
		return "isolation " + w.Isolation.Reason
	}
	return fmt.Sprintf("isolation %s: %s", w.Isolation.Level, w.Isolation.Reason)
}

// gerunds are the words for operations in flight.
var gerunds = map[string]string{
	"new": "creating", "start": "starting", "stop": "stopping", "restart": "restarting", "delete": "deleting",
	"snapshot": "taking a snapshot", "rollback": "rolling back", "sync": "syncing", "isolation": "checking isolation",
	"prune": "deleting old snapshots", "image": "building the base image",
}

// String returns the operation with its phase and progress.
func (o Operation) String() string {
	s := gerunds[o.Verb]
	if s == "" {
		s = o.Verb
	}
	if o.Phase != "" {
		s += ": " + o.Phase
	}
	if o.Total > 0 {
		s += fmt.Sprintf(" %d%%", min(100, o.Done*100/o.Total))
	}
	if o.Detail != "" {
		s += ", " + o.Detail
	}
	return s
}
