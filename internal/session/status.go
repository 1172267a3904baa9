package session

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// Level is how a workspace stands, as the banner's colour says it.
type Level int

// The levels, from best to worst.
const (
	LevelRunning  Level = iota // green: it runs, and its isolation is proven
	LevelChanging              // yellow: something is under way, or not proven, or weakened by choice
	LevelTrouble               // red: an error, or broken isolation
)

// Status is what the banner says, folded by the caller from the live state.
type Status struct {
	Level     Level
	Workspace string
	Agent     string   // for people; shown in the window's title
	Envs      []string // environments, such as "ios"
	Mode      string   // "Safe Mode", "Weakened: network open", "Broken: the host answers"; never left out
	Activity  string   // what is under way: "snapshot: freezing 2 s"; empty: nothing
	Waiting   bool     // the agent waits for a person
}

// Banner returns the top line for a terminal of that many columns.
func Banner(s Status, width int, colour bool) string {
	return runewidth.Truncate("CAL │ VM: "+Printable(s.Workspace)+" │ "+Printable(s.Mode), width, "")
}

// Title returns the window's title.
func Title(s Status) string {
	return strings.TrimSpace(s.Workspace + " · " + s.Agent)
}
