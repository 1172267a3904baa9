// Package menu derives the menu from the State. It is a pure function: what a person sees is decided here and tested as
// text; internal/statusicon only puts it on the screen.
package menu

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/statusicon"
)

// Action is what an entry does when it is clicked: a verb, the workspace it is about, and an argument.
type Action struct {
	Verb, Workspace, Arg string
}

// ID encodes the action as the entry's identifier.
func (a Action) ID() string { return a.Verb + "|" + a.Workspace + "|" + a.Arg }

// ParseID decodes an entry's identifier.
func ParseID(id string) (Action, bool) {
	p := strings.SplitN(id, "|", 3)
	if len(p) != 3 || p[0] == "" {
		return Action{}, false
	}
	return Action{Verb: p[0], Workspace: p[1], Arg: p[2]}, true
}

// The verbs of entries.
const (
	Launch      = "launch"      // Arg: agent, which gets a window of its own; empty: the workspace's, whose window is raised
	GoTo        = "goto"        // Arg: agent; raises its window, or opens one
	Shell       = "shell"       // opens a shell in the guest
	Snapshot    = "snapshot"    // asks for a name
	Rollback    = "rollback"    // Arg: snapshot
	Undo        = "undo"        // undoes the last rollback
	Sync        = "sync"        // brings in the outbox now
	Reveal      = "reveal"      // Arg: path
	Sign        = "sign"        // Arg: path; asks who signs
	OpenOutput  = "open-output" // opens the folder artifacts land in
	Switch      = "switch"      // makes another workspace the menu's
	New         = "new"         // asks for a name
	Start       = "start"
	Stop        = "stop"
	Restart     = "restart"
	Delete      = "delete"     // asks first
	Commit      = "commit"     // asks for a message; commits and pushes
	NetMode     = "net-mode"   // Arg: auto, on or off
	NetPolicy   = "net-policy" // Arg: allowlist, ask, open or offline
	NetAllow    = "net-allow"  // Arg: host:port
	NetOnce     = "net-once"   // Arg: host:port
	NetDeny     = "net-deny"   // Arg: host:port
	NetLog      = "net-log"    // opens a terminal on the log of connections
	SignIn      = "sign-in"    // asks for a token of GitHub's
	OpenPage    = "open-page"  // Arg: address
	Isolation   = "isolation"
	Doctor      = "doctor"
	Logs        = "logs"
	Preferences = "preferences"
	Login       = "login"  // starts CALMenu at login, or no longer
	Update      = "update" // opens the page of the newer release
	Quit        = "quit"   // asks whether VMs are to go on
)

// Choice is an agent the selector offers.
type Choice struct{ ID, Name string }

// Build returns the menu for a state. choices are the agents the selector offers.
func Build(s state.State, choices []Choice) statusicon.Menu {
	m := statusicon.Menu{Title: "CALMenu", Status: Status(s.Light())}
	w, ok := s.Find(s.Current)
	if !ok && len(s.Workspaces) > 0 {
		w, ok = s.Workspaces[0], true
	}
	if !ok {
		m.Tooltip = "CALMenu: no workspace yet"
		m.Items = append([]statusicon.Item{label("No workspace yet"), entry("New workspace...", Action{Verb: New})},
			footer(s, statusicon.Item{Separator: true})...)
		return m
	}
	m.Tooltip = fmt.Sprintf("CALMenu: %s %s", w.Name, w.Why()) + waitingIn(s, choices)
	m.Items = append(m.Items, header(s, w, choices)...)
	m.Items = append(m.Items, separator)
	m.Items = append(m.Items, agentItems(w, choices)...)
	m.Items = append(m.Items, separator)
	m.Items = append(m.Items, snapshotItems(s, w)...)
	m.Items = append(m.Items, separator)
	m.Items = append(m.Items, artifactItems(s, w)...)
	m.Items = append(m.Items, separator, networkItem(s, w), workspaceItem(s, w))
	report := entry("Isolation Report", Action{Verb: Isolation, Workspace: w.Name})
	report.Disabled = w.Life != state.Running
	m.Items = append(m.Items, footer(s, report)...)
	return m
}

// Status maps a light to the icon's status.
func Status(l state.Light) statusicon.Status {
	return map[state.Light]statusicon.Status{
		state.Grey: statusicon.Idle, state.Green: statusicon.Verified,
		state.Yellow: statusicon.Busy, state.Red: statusicon.Broken,
	}[l]
}

var separator = statusicon.Item{Separator: true}

func label(title string) statusicon.Item { return statusicon.Item{Title: title, Disabled: true} }

func entry(title string, a Action) statusicon.Item { return statusicon.Item{ID: a.ID(), Title: title} }

func header(s state.State, w state.Workspace, choices []Choice) []statusicon.Item {
	items := []statusicon.Item{label(fmt.Sprintf("%s: %s", w.Name, w.Life))}
	if s.DiskWarning != "" {
		items = append(items, label(upperFirst(clip(s.DiskWarning, 110))))
	}
	for _, agent := range waiting(w) {
		items = append(items, label(AgentName(w, agent, choices)+" is waiting"))
	}
	if w.Why() != string(w.Life) {
		items = append(items, label(upperFirst(clip(w.Why(), 90))))
	}
	if w.LastError != nil && w.Life != state.Failed {
		items = append(items, label(clip(fmt.Sprintf("Last %s failed: %s", w.LastError.Verb, w.LastError.Text), 110)))
	}
	if w.LastError != nil && w.LastError.Hint != "" {
		items = append(items, label(clip(w.LastError.Hint, 110)))
	}
	items = append(items, label(fmt.Sprintf("Agent: %s | Network: %s", w.AgentName, networkLine(w))))
	last := "No snapshot yet"
	for _, sn := range w.Snapshots {
		if sn.Kind != snapshot.Undo { // an undo is no backup: it is what was given up
			last = "Last snapshot " + age(s.Time, sn.Created)
			break
		}
	}
	items = append(items, label(last))
	return items
}

func agentItems(w state.Workspace, choices []Choice) []statusicon.Item {
	launch := entry("Launch "+w.AgentName, Action{Launch, w.Name, ""})
	if _, waits := w.WaitOf(w.Agent); waits {
		launch.Title = "Go to " + w.AgentName + " (waiting)"
	}
	items := []statusicon.Item{launch}
	if len(choices) > 1 {
		with := statusicon.Item{Title: "Launch with"}
		for _, c := range choices {
			it := entry(c.Name, Action{Launch, w.Name, c.ID})
			if _, waits := w.WaitOf(c.ID); waits && c.ID != w.Agent {
				it = entry("Go to "+c.Name+" (waiting)", Action{GoTo, w.Name, c.ID})
			}
			it.Checkable, it.Checked = true, c.ID == w.Agent
			with.Children = append(with.Children, it)
		}
		items = append(items, with)
	}
	return append(items, entry("Open Shell", Action{Shell, w.Name, ""}))
}

func snapshotItems(s state.State, w state.Workspace) []statusicon.Item {
	items := []statusicon.Item{busyAware(w, entry("Snapshot...", Action{Snapshot, w.Name, ""}))}
	back := statusicon.Item{Title: "Rollback"}
	var undo *snapshot.Snapshot
	for _, sn := range w.Snapshots {
		if sn.Kind == snapshot.Undo {
			if undo == nil {
				undo = &sn
			}
			continue
		}
		title := fmt.Sprintf("%s (%s, %s", sn.Name, sn.Kind, age(s.Time, sn.Created))
		if sn.SizeBytes > 0 {
			title += ", " + size(sn.SizeBytes)
		}
		if sn.Warm {
			title += ", resumes"
		}
		title += ")"
		back.Children = append(back.Children, busyAware(w, entry(title, Action{Rollback, w.Name, sn.ID})))
	}
	if undo != nil {
		if len(back.Children) > 0 {
			back.Children = append(back.Children, separator)
		}
		title := "Undo last rollback (" + age(s.Time, undo.Created) + ")"
		back.Children = append(back.Children, busyAware(w, entry(title, Action{Undo, w.Name, ""})))
	}
	if len(back.Children) > 0 {
		items = append(items, back)
	}
	return items
}

func artifactItems(s state.State, w state.Workspace) []statusicon.Item {
	var items []statusicon.Item
	if w.Life == state.Running {
		items = append(items, entry("Sync Now", Action{Sync, w.Name, ""}))
	}
	if w.Life == state.Running {
		items = append(items, statusicon.Item{Title: "GitHub", Children: []statusicon.Item{
			entry("Commit and Push...", Action{Commit, w.Name, ""}),
			entry("Sign In...", Action{SignIn, w.Name, ""}),
		}})
	}
	return append(items, artifactsItem(s, w))
}

func workspaceItem(s state.State, w state.Workspace) statusicon.Item {
	it := statusicon.Item{Title: "Workspace"}
	for _, o := range s.Workspaces {
		title := fmt.Sprintf("%s (%s)", o.Name, o.Life)
		if o.Waiting {
			title = fmt.Sprintf("%s (%s, waiting)", o.Name, o.Life)
		}
		e := entry(title, Action{Switch, o.Name, ""})
		e.Checkable, e.Checked = true, o.Name == w.Name
		it.Children = append(it.Children, e)
	}
	it.Children = append(it.Children, separator, entry("New...", Action{Verb: New}))
	if w.Life == state.Running || w.Life == state.Failed && w.PID != 0 {
		it.Children = append(it.Children, busyAware(w, entry("Stop "+w.Name, Action{Stop, w.Name, ""})),
			busyAware(w, entry("Restart "+w.Name, Action{Restart, w.Name, ""})))
	} else {
		it.Children = append(it.Children, busyAware(w, entry("Start "+w.Name, Action{Start, w.Name, ""})))
	}
	it.Children = append(it.Children, busyAware(w, entry("Delete "+w.Name+"...", Action{Delete, w.Name, ""})))
	return it
}

func footer(s state.State, first statusicon.Item) []statusicon.Item {
	items := []statusicon.Item{
		first,
		entry("Doctor", Action{Verb: Doctor}),
		entry("Logs", Action{Verb: Logs}),
		entry("Preferences", Action{Verb: Preferences}),
	}
	switch s.StartAtLogin {
	case state.LoginOn, state.LoginOff:
		it := entry("Start at Login", Action{Verb: Login})
		it.Checkable, it.Checked = true, s.StartAtLogin == state.LoginOn
		items = append(items, it)
	case state.LoginNeedsApproval:
		it := entry("Start at Login (allow it in the system's settings...)", Action{Verb: Login})
		it.Checkable = true
		items = append(items, it)
	}
	if s.Update != "" {
		items = append(items, entry("Version "+s.Update+" is available...", Action{Verb: Update}))
	}
	return append(items, separator, entry("Quit CALMenu", Action{Verb: Quit}))
}

// busyAware greys an entry out while an operation holds the workspace: it could only wait.
func busyAware(w state.Workspace, it statusicon.Item) statusicon.Item {
	it.Disabled = w.Operation != nil
	return it
}

func age(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < 5*time.Second:
		return "just now"
	case d < time.Minute:
		// In steps: a menu that changed every second would be redrawn every second.
		return "less than a minute ago"
	}
	return humanize.RelTime(t, now, "ago", "from now")
}

func size(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

func upperFirst(s string) string {
	r := []rune(s)
	if len(r) == 0 {
		return s
	}
	return strings.ToUpper(string(r[:1])) + string(r[1:])
}

// IsolationLine returns what a notification says when a workspace's level changes.
func IsolationLine(w state.Workspace) string {
	if w.Isolation.Level == isolation.Broken {
		return fmt.Sprintf("Isolation of %s is broken: %s", w.Name, w.Isolation.Reason)
	}
	return fmt.Sprintf("Isolation of %s is %s", w.Name, w.Isolation.Level)
}

// Trouble is the menu of a CALMenu that cannot read its own state.
func Trouble(text, advice string) []statusicon.Item {
	items := []statusicon.Item{label(clip(text, 110))}
	if advice != "" {
		items = append(items, label(clip(advice, 110)))
	}
	return append(items, separator, entry("Doctor", Action{Verb: Doctor}), entry("Preferences", Action{Verb: Preferences}),
		separator, entry("Quit CALMenu", Action{Verb: Quit}))
}
