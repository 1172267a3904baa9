package journal

import "time"

// SchemaVersion is the version written into every event. A reader skips events of a higher version.
const SchemaVersion = 1

// Kind says what an event reports.
type Kind string

// The kinds of event. An operation is a begin, any number of phases, and an end, tied together by Event.Op.
const (
	OpBegin      Kind = "op.begin"      // Verb
	OpPhase      Kind = "op.phase"      // Phase, Done, Total
	OpEnd        Kind = "op.end"        // Error, Hint (both empty: it succeeded)
	SessionBegin Kind = "session.begin" // Agent
	SessionEnd   Kind = "session.end"   // Exit, Detail
	// SessionWaiting and SessionActive tell that an agent began, and ceased, to wait for a person. Op is the session's, or
	// empty for an agent no terminal is attached to.
	SessionWaiting Kind = "session.waiting" // Agent, Detail: what it said, stripped and capped
	SessionActive  Kind = "session.active"  // Agent
	// SessionSilent and SessionAnswered tell that a session's guest has not answered for some seconds, and answers again.
	SessionSilent   Kind = "session.silent"   // Agent
	SessionAnswered Kind = "session.answered" // Agent
	Landed          Kind = "artifact"         // Path, Size, SHA256, Detail: warnings
	Refused         Kind = "refused"          // Path, Detail
	OutboxFailed    Kind = "outbox.failed"    // Error, Hint: nothing lands
	Hook            Kind = "hook"             // Path, Detail: program; Error, Hint (both empty: it succeeded)
	Isolation       Kind = "isolation"        // Level, Detail
	Connection      Kind = "connection"       // Path: host and port of a refused connection of the guest, Detail: why
	Reached         Kind = "reached"          // Path: host and port of a connection of the guest, Detail: the rule
	// NetAsked tells that a guest waits for a person to allow a destination, and NetAnswered that it waits no more.
	NetAsked    Kind = "network.asked"    // Op, Path: host and port
	NetAnswered Kind = "network.answered" // Op (of the question, if there was one), Path, Detail: the answer
	AgentBegin  Kind = "agent.begin"      // the menu-bar (or headless) agent started
	AgentEnd    Kind = "agent.end"
	Notice      Kind = "notice" // Detail
)

// WarningsSeparator stands between an artifact's warnings in Event.Detail.
const WarningsSeparator = "; "

// Event is one line of the journal. Which of the optional fields are set depends on Kind.
type Event struct {
	V         int       `json:"v"`
	Time      time.Time `json:"time"`
	Process   Process   `json:"process"`
	Kind      Kind      `json:"kind"`
	Workspace string    `json:"workspace,omitempty"`
	Op        string    `json:"op,omitempty"` // identifies one operation or session
	Verb      string    `json:"verb,omitempty"`
	Phase     string    `json:"phase,omitempty"`
	Done      int64     `json:"done,omitempty"`
	Total     int64     `json:"total,omitempty"`
	Error     string    `json:"error,omitempty"`
	Hint      string    `json:"hint,omitempty"`
	Agent     string    `json:"agent,omitempty"`
	Exit      int       `json:"exit,omitempty"`
	Level     string    `json:"level,omitempty"`
	Path      string    `json:"path,omitempty"`
	Size      int64     `json:"size,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	Detail    string    `json:"detail,omitempty"`
}

// Process identifies a process for longer than its number lives: with the time it started.
type Process struct {
	PID   int   `json:"pid"`
	Start int64 `json:"start"` // opaque: start time of the process as the operating system counts it
}
