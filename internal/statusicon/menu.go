package statusicon

import (
	"strings"
	"unicode"
)

// Status is the worst state over all workspaces, as the icon shows it.
type Status int

// The states of the icon, from nothing running to broken.
const (
	Idle     Status = iota // nothing runs: grey outline of an open lock
	Verified               // running, isolation verified: green closed lock
	Busy                   // an operation in flight, or a check weakened: yellow hourglass
	Broken                 // error, or isolation broken: red warning triangle
)

// Statuses lists every Status in order.
var Statuses = []Status{Idle, Verified, Busy, Broken}

// String returns the status in lower case, as tests and file names use it.
func (s Status) String() string {
	switch s {
	case Verified:
		return "verified"
	case Busy:
		return "busy"
	case Broken:
		return "broken"
	default:
		return "idle"
	}
}

// Item is one entry of the menu. ID is what a click delivers; entries that share an ID deliver the same. An entry
// with no ID, with Disabled set, or with Children delivers nothing. Separator excludes all other fields. Checked counts
// only where Checkable is set. Tooltip is shown on macOS only: the Linux protocol has none.
type Item struct {
	ID        string
	Title     string
	Tooltip   string
	Disabled  bool
	Checked   bool
	Checkable bool
	Separator bool
	Children  []Item
}

// Menu is everything the tray shows. Title names the icon for panels and assistive technology on Linux; it is not
// drawn beside the icon on macOS.
type Menu struct {
	Tooltip string
	Title   string
	Status  Status
	Items   []Item
}

// maxTitle is the longest title shown, in characters: more only pushes the menu off the screen.
const maxTitle = 120

// normal returns items as they can be shown: no separator first, last or doubled (the macOS tray loses a submenu's
// first one), no branch without a leaf, and only text a tray can take.
func normal(items []Item) []Item {
	out := make([]Item, 0, len(items))
	for _, it := range items {
		if it.Separator {
			if len(out) > 0 && !out[len(out)-1].Separator {
				out = append(out, Item{Separator: true})
			}
			continue
		}
		it.Title, it.Tooltip = printable(it.Title), printable(it.Tooltip)
		it.Children = normal(it.Children)
		it.Checked = it.Checked && it.Checkable
		out = append(out, it)
	}
	if n := len(out); n > 0 && out[n-1].Separator {
		out = out[:n-1]
	}
	return out
}

// printable makes text safe for a tray: titles carry names chosen in the guest, D-Bus drops the connection over invalid
// UTF-8, a NUL cuts a C string, and a right-to-left override would let a repository rewrite the entry around it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if r := []rune(s); len(r) > maxTitle {
		return string(r[:maxTitle-1]) + "…"
	}
	return s
}
