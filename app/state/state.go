// Package state folds the journal and the drivers' facts into one immutable State. Menu, icon, `status --json` and the
// session's words are pure functions of it; no view asks a driver anything.
package state

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// Life is where a workspace's VM is in its life.
type Life string

// The lives of a VM. Failed means that the last operation that should have changed it did not.
const (
	Stopped  Life = "stopped"
	Starting Life = "starting"
	Running  Life = "running"
	Stopping Life = "stopping"
	Failed   Life = "error"
)

// State is what CALMenu knows at one instant.
type State struct {
	Time     time.Time `json:"time"`
	AgentPID int       `json:"agent_pid,omitempty"` // the menu-bar or headless agent; 0 if none runs
	Current  string    `json:"current,omitempty"`   // the workspace the menu is about
	Update   string    `json:"update,omitempty"`    // version of a newer release, if one is known
	// DiskWarning says that the host's disk is about to run full, if it is.
	DiskWarning string `json:"disk_warning,omitempty"`
	// StartAtLogin is the login item as the system has it; empty where the menu does not show it.
	StartAtLogin LoginItem   `json:"start_at_login,omitempty"`
	Workspaces   []Workspace `json:"workspaces"`
}

// LoginItem says whether the menu bar program is started when the person logs in.
type LoginItem string

// The states of the login item, as the system knows them.
const (
	LoginOff           LoginItem = "off"
	LoginOn            LoginItem = "on"
	LoginNeedsApproval LoginItem = "needs approval" // asked for; switched off or not yet allowed in the system's settings
	LoginUnavailable   LoginItem = "unavailable"    // this program cannot be started at login
)

// Workspace is what is known of one workspace.
type Workspace struct {
	Name       string              `json:"name"`
	Agent      string              `json:"agent"`      // identifier of its coding agent
	AgentName  string              `json:"agent_name"` // the name people know it by
	Life       Life                `json:"state"`
	Since      time.Time           `json:"since,omitzero"` // of a running VM: when it started
	PID        int                 `json:"pid,omitempty"`
	CPU        int                 `json:"cpu"`
	MemoryMiB  int                 `json:"memory_mib"`
	DiskBytes  int64               `json:"disk_bytes"`
	Isolation  Isolation           `json:"isolation"`
	Operation  *Operation          `json:"operation,omitempty"` // in flight
	LastError  *Failure            `json:"last_error,omitempty"`
	Sessions   []Session           `json:"sessions,omitempty"`
	Waiting    bool                `json:"waiting"` // an agent waits for a person
	Waits      []Wait              `json:"waits,omitempty"`
	Silent     bool                `json:"silent,omitempty"`    // the guest does not answer a session, for some seconds now
	Snapshots  []snapshot.Snapshot `json:"snapshots,omitempty"` // newest first
	Artifacts  []Artifact          `json:"artifacts,omitempty"` // newest first, the most recent ones
	Refused    []Refusal           `json:"refused,omitempty"`   // newest first, the most recent ones
	NetRefused []Refusal           `json:"net_refused,omitempty"`
	// NetReached are the destinations reached lately, newest first, once in a while each; Reason is the rule.
	NetReached []Refusal `json:"net_reached,omitempty"`
	// NetAsks are the destinations the guest waits for a person to allow, oldest first.
	NetAsks []NetAsk `json:"net_asks,omitempty"`
	Network Network  `json:"network"`
}

// Network is how a workspace's guest gets out.
type Network struct {
	Policy string `json:"policy"` // allowlist, ask, open or offline
	Mode   string `json:"mode"`   // of the tunnel: auto, on or off
	Tunnel bool   `json:"tunnel"` // in force
	Why    string `json:"why,omitempty"`
}

// NetAsk is a destination a guest waits for.
type NetAsk struct {
	ID          string    `json:"id"`
	Destination string    `json:"destination"` // host:port
	Since       time.Time `json:"since"`
}

// Isolation is the verdict that stands.
type Isolation struct {
	Level   isolation.Level `json:"level"`
	Reason  string          `json:"reason,omitempty"`
	Passed  int             `json:"passed"`
	Total   int             `json:"total"`
	Checked time.Time       `json:"checked,omitzero"`
}

// Operation is something a process of CALMenu is doing to a workspace.
type Operation struct {
	ID    string `json:"id"`
	Verb  string `json:"verb"`
	Phase string `json:"phase,omitempty"`
	Done  int64  `json:"done,omitempty"`
	Total int64  `json:"total,omitempty"`
	// Detail is how far it is, in words for people, such as bytes, rate and time left; often empty.
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since"`
	PID    int       `json:"pid"`
}

// Failure is how the last failed operation ended.
type Failure struct {
	Verb string    `json:"verb"`
	Text string    `json:"text"`
	Hint string    `json:"hint,omitempty"`
	Time time.Time `json:"time"`
}

// Session is a terminal attached to an agent.
type Session struct {
	ID           string    `json:"id"`
	Agent        string    `json:"agent"`
	PID          int       `json:"pid"`
	Since        time.Time `json:"since"`
	Waiting      bool      `json:"waiting,omitempty"` // for a person, while its window is not in front
	WaitingSince time.Time `json:"waiting_since,omitzero"`
	Detail       string    `json:"detail,omitempty"` // what it said when it began to wait
	Silent       bool      `json:"silent,omitempty"` // the guest does not answer it
}

// Wait is an agent that waits for a person.
type Wait struct {
	Agent   string    `json:"agent"`
	Session string    `json:"session,omitempty"` // empty: no terminal is attached to it
	Since   time.Time `json:"since"`
	Detail  string    `json:"detail,omitempty"` // text of the guest's
}

// WaitOf returns the longest wait of an agent, and whether it waits.
func (w Workspace) WaitOf(agent string) (Wait, bool) {
	i := slices.IndexFunc(w.Waits, func(x Wait) bool { return x.Agent == agent })
	if i < 0 {
		return Wait{}, false
	}
	return w.Waits[i], true
}

// Artifact is a file that landed.
type Artifact struct {
	Path     string    `json:"path"` // on the host
	Size     int64     `json:"size"`
	Time     time.Time `json:"time"`
	Warnings []string  `json:"warnings,omitempty"` // what would run by itself later
}

// Refusal is something of the guest's that was not let through.
type Refusal struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

// Facts are what a State is folded from.
type Facts struct {
	Now        time.Time
	Current    string
	Workspaces []Configured
	Events     []journal.Event
	// Alive tells whether the process that wrote an event still lives.
	Alive func(journal.Process) bool
}

// Configured is one workspace's configuration with the facts read for it.
type Configured struct {
	Name, Agent, AgentName string
	Machine                vm.Machine // zero if the driver knows no such machine
	Report                 isolation.Report
	Snapshots              []snapshot.Snapshot
	Network                Network
}

// askLife is longer than any question waits: whoever put it and still lives says when nobody has answered.
const askLife = 5 * time.Minute

// recent bounds the lists a menu shows.
const recent = 12

// AgentPID is the process of the menu-bar or headless agent that runs; 0 if none does.
func AgentPID(events []journal.Event, alive func(journal.Process) bool) (pid int) {
	for _, e := range events {
		switch e.Kind {
		case journal.AgentBegin:
			if alive(e.Process) {
				pid = e.Process.PID
			}
		case journal.AgentEnd:
			if pid == e.Process.PID {
				pid = 0
			}
		}
	}
	return pid
}

// Fold derives the State. It is a pure function.
func Fold(f Facts) State {
	s := State{Time: f.Now, Current: f.Current, Workspaces: make([]Workspace, 0, len(f.Workspaces))}
	s.AgentPID = AgentPID(f.Events, f.Alive)
	for _, c := range f.Workspaces {
		s.Workspaces = append(s.Workspaces, foldWorkspace(f, c))
	}
	slices.SortFunc(s.Workspaces, func(a, b Workspace) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Find returns the workspace of that name.
func (s State) Find(name string) (Workspace, bool) {
	i := slices.IndexFunc(s.Workspaces, func(w Workspace) bool { return w.Name == name })
	if i < 0 {
		return Workspace{}, false
	}
	return s.Workspaces[i], true
}

func foldWorkspace(f Facts, c Configured) Workspace {
	w := Workspace{
		Name: c.Name, Agent: c.Agent, AgentName: c.AgentName, Snapshots: c.Snapshots,
		PID: c.Machine.PID, CPU: c.Machine.CPU, MemoryMiB: c.Machine.MemoryMiB, DiskBytes: c.Machine.DiskBytes,
	}
	h := history(f, c.Name)
	w.Operation, w.LastError, w.Sessions = h.inFlight, h.failure, h.sessions
	w.Artifacts, w.Refused = h.artifacts, h.refused
	w.NetRefused, w.NetReached, w.NetAsks, w.Network = h.netRefused, h.netReached, h.netAsks, c.Network
	if c.Machine.Running {
		w.Waits = h.waits(c.Machine.StartedAt)
		w.Waiting = len(w.Waits) > 0
		w.Silent = slices.ContainsFunc(w.Sessions, func(s Session) bool { return s.Silent })
	}

	w.Life = life(c.Machine.Running, w.Operation, w.LastError)
	if c.Machine.Running {
		w.Since = c.Machine.StartedAt
		w.Isolation = verdict(c)
	} else {
		w.Isolation = Isolation{Level: isolation.Unknown, Reason: "the VM is not running"}
	}
	return w
}

// verdict takes a report for true only if it is about the process that runs now.
func verdict(c Configured) Isolation {
	r := c.Report
	if r.Level == "" || r.Level == isolation.Unknown || r.PID != c.Machine.PID {
		return Isolation{Level: isolation.Unknown, Reason: "not proven yet since the VM started"}
	}
	return Isolation{Level: r.Level, Reason: r.Reason, Passed: r.Passed(), Total: len(r.Results), Checked: r.Time}
}

func life(running bool, op *Operation, failed *Failure) Life {
	if op != nil {
		switch op.Verb {
		case "start", "restart", "new", "rollback":
			return Starting
		case "stop", "delete":
			return Stopping
		}
	}
	if failed != nil && decides[failed.Verb] && (!running || failed.Verb == "start" || failed.Verb == "restart") {
		return Failed // of a running VM: its process runs, but the guest was never reached
	}
	if running {
		return Running
	}
	return Stopped
}

// decides lists the operations whose failure leaves a VM that is not as it should be.
var decides = map[string]bool{"new": true, "start": true, "restart": true, "rollback": true, "delete": true}

type past struct {
	inFlight   *Operation
	failure    *Failure
	sessions   []Session
	detached   []Wait // of agents no terminal is attached to
	artifacts  []Artifact
	refused    []Refusal
	netRefused []Refusal
	netReached []Refusal
	netAsks    []NetAsk
}

// history replays one workspace's events.
func history(f Facts, name string) past {
	var p past
	ops := map[string]*Operation{}
	var order []string
	for _, e := range f.Events {
		if e.Workspace != name {
			continue
		}
		switch e.Kind {
		case journal.OpBegin:
			if f.Alive(e.Process) {
				ops[e.Op] = &Operation{ID: e.Op, Verb: e.Verb, Since: e.Time, PID: e.Process.PID}
				order = append(order, e.Op)
			}
		case journal.OpPhase:
			if o := ops[e.Op]; o != nil {
				o.Phase, o.Detail, o.Done, o.Total = e.Phase, e.Detail, e.Done, e.Total
			}
		case journal.OpEnd:
			delete(ops, e.Op)
			switch {
			case e.Detail == journal.Cancelled, e.Detail == journal.InVain: // neither a failure nor a success
			case e.Error != "":
				p.failure = &Failure{Verb: e.Verb, Text: e.Error, Hint: e.Hint, Time: e.Time}
			default:
				p.failure = nil
			}
		case journal.SessionBegin:
			if f.Alive(e.Process) {
				p.sessions = append(p.sessions, Session{ID: e.Op, Agent: e.Agent, PID: e.Process.PID, Since: e.Time})
			}
			p.forget(e.Agent) // a terminal is attached now
		case journal.SessionWaiting, journal.SessionActive:
			p.wait(e, f.Alive)
		case journal.SessionSilent, journal.SessionAnswered:
			for i := range p.sessions {
				if s := &p.sessions[i]; s.ID == e.Op {
					s.Silent = e.Kind == journal.SessionSilent
				}
			}
		case journal.SessionEnd:
			p.sessions = slices.DeleteFunc(p.sessions, func(s Session) bool { return s.ID == e.Op })
		case journal.Landed:
			a := Artifact{Path: e.Path, Size: e.Size, Time: e.Time}
			if e.Detail != "" {
				a.Warnings = strings.Split(e.Detail, journal.WarningsSeparator)
			}
			p.artifacts = append(p.artifacts, a)
		case journal.Refused:
			p.refused = append(p.refused, Refusal{Name: e.Path, Reason: e.Detail, Time: e.Time})
		case journal.Connection:
			p.netRefused = latest(p.netRefused, Refusal{Name: e.Path, Reason: e.Detail, Time: e.Time})
		case journal.Reached:
			p.netReached = latest(p.netReached, Refusal{Name: e.Path, Reason: e.Detail, Time: e.Time})
		case journal.NetAsked:
			if f.Alive(e.Process) && f.Now.Sub(e.Time) < askLife {
				p.netAsks = append(p.netAsks, NetAsk{ID: e.Op, Destination: e.Path, Since: e.Time})
			}
		case journal.NetAnswered:
			p.netAsks = slices.DeleteFunc(p.netAsks, func(a NetAsk) bool {
				return a.ID == e.Op || e.Op == "" && a.Destination == e.Path
			})
		}
	}
	for _, id := range order {
		if o := ops[id]; o != nil {
			p.inFlight = o
			break // the oldest: a later one waits for it
		}
	}
	p.artifacts, p.refused, p.netRefused = newest(p.artifacts), newest(p.refused), newest(p.netRefused)
	p.netReached = newest(p.netReached)
	return p
}

// latest adds what came, in place of what was of the same name.
func latest(all []Refusal, r Refusal) []Refusal {
	return append(slices.DeleteFunc(all, func(x Refusal) bool { return x.Name == r.Name }), r)
}

func newest[T any](all []T) []T {
	if len(all) > recent {
		all = all[len(all)-recent:]
	}
	slices.Reverse(all)
	return all
}
