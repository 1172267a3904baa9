package session

import (
	"fmt"
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

// cells measures text as a terminal shows it that takes ambiguous characters for narrow, whatever this machine's locale.
var cells = &runewidth.Condition{StrictEmojiNeutral: true}

const separator = " │ "

var (
	signs  = [...]string{LevelRunning: "🔒", LevelChanging: "◐", LevelTrouble: "✗"}
	paints = [...]string{LevelRunning: "30;42", LevelChanging: "30;43", LevelTrouble: "1;97;41"}
)

// bannerParts are what a banner is put together from; an empty part is left out.
type bannerParts struct{ head, vm, env, mode, activity, waiting string }

func (p bannerParts) String() string {
	var all []string
	for _, s := range []string{p.head, p.vm, p.env, p.mode, p.activity, p.waiting} {
		if s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, separator)
}

// Banner returns the top line for a terminal of that many columns, which it fills; colour false leaves the signs, the words
// and reverse video. A part that comes from the guest is stripped. In a narrow terminal it drops, in this order: all
// environments but the first; the environments; what follows the mode's first word ("Weakened: network open"); the words
// "ISOLATION ACTIVE"; "waiting for you"; the workspace; the end of the activity; the activity. What the mode says first
// is never cut from 20 columns on.
func Banner(s Status, width int, colour bool) string {
	if width <= 0 {
		return ""
	}
	text := bannerText(s, width)
	text += strings.Repeat(" ", max(0, width-cells.StringWidth(text)))
	sgr := "7"
	if colour {
		sgr = paints[s.level()]
	}
	return paint(text, sgr, true)
}

func (s Status) level() Level { return min(max(s.Level, LevelRunning), LevelTrouble) }

func bannerText(s Status, width int) string {
	sign := signs[s.level()] + " "
	mode := flat(s.Mode)
	short, _, _ := strings.Cut(mode, ":")
	p := bannerParts{head: sign + "CAL ISOLATION", mode: mode, activity: flat(s.Activity)}
	switch s.level() {
	case LevelRunning:
		p.head += " ACTIVE"
	case LevelTrouble:
		if short == "Broken" {
			p.head += " BROKEN"
		}
	}
	if s.Workspace != "" {
		p.vm = "VM: " + flat(s.Workspace)
	}
	if len(s.Envs) > 0 {
		p.env = "Env: " + flat(strings.Join(s.Envs, ","))
	}
	if s.Waiting {
		p.waiting = "waiting for you"
	}
	steps := []func(){
		func() {
			if n := len(s.Envs); n > 1 {
				p.env = fmt.Sprintf("Env: %s +%d", flat(s.Envs[0]), n-1)
			}
		},
		func() { p.env = "" },
		func() {
			// What comes after the first word is cut, rather than dropped, where enough of it stays.
			room := width - cells.StringWidth(p.String()) + cells.StringWidth(mode)
			if p.mode = cells.Truncate(mode, max(room, 0), "…"); room < cells.StringWidth(short)+12 {
				p.mode = short
			}
		},
		func() { p.head = sign + "CAL" },
		func() { p.waiting = "" },
		func() { p.vm = "" },
		func() {
			room := width - cells.StringWidth(bannerParts{head: p.head, mode: p.mode}.String()+separator)
			p.activity = cells.Truncate(p.activity, max(room, 0), "…")
			if cells.StringWidth(p.activity) < 8 { // too little of it to say anything
				p.activity = ""
			}
		},
		func() { p.activity = "" },
		func() { p.head = strings.TrimSpace(sign) },
		func() { p.head = "" },
	}
	for _, drop := range steps {
		if cells.StringWidth(p.String()) <= width {
			break
		}
		drop()
	}
	return cells.Truncate(p.String(), width, "")
}

// maxTitle caps the window's title, in columns.
const maxTitle = 120

// Title returns the window's title.
func Title(s Status) string {
	mode, _, _ := strings.Cut(s.Mode, ":")
	parts := []string{signs[s.level()] + " " + flat(s.Agent), mode, s.Activity}
	if s.Waiting {
		parts = append(parts, "waiting for you")
	}
	var all []string
	for _, p := range parts {
		if p = flat(p); p != "" {
			all = append(all, p)
		}
	}
	// How it begins is what a window is found again by.
	return cells.Truncate("CAL "+flat(s.Workspace)+" "+strings.Join(all, " · "), maxTitle, "…")
}

// flat is text of anybody's as a part of one line.
func flat(s string) string { return strings.Join(strings.Fields(Printable(s)), " ") }
