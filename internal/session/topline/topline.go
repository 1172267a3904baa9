// Package topline keeps the top line of a terminal for a banner, above a program that believes its terminal is one row
// shorter than it is.
//
// A Filter stands between the program and the terminal: bytes in, bytes out. It does no input or output, starts no
// goroutine and knows no clock, and it is not safe for concurrent use: the caller locks.
//
// What must hold here:
//   - terminal(filter(stream), rows) shows the banner above what terminal(stream, rows-1) shows, in cells, attributes,
//     and the cursor's place and visibility. Sequences that name no row pass byte for byte.
//   - Any split of a stream into reads gives the same bytes in total, and between two calls the terminal is never
//     half-way through a sequence, unless an image is being streamed through (Ground tells).
//   - The program's output is hostile: what could read the clipboard, type into the session, write files, or reach the
//     window is refused by the rules in rules.go. Nothing of it is buffered without a limit.
//
// The terminal's own scroll region does the hard part. It is always set to the rows below the banner (or to the
// program's own region, shifted), so wrapping and scrolling need no emulator here. What is tracked is light: the
// cursor's place as long as it is certain, the attributes in force, and the modes that change what a row means.
package topline

// Options describes the real terminal and what the program may do with it.
type Options struct {
	// Rows and Cols are the size of the real terminal.
	Rows, Cols int
	// Banner takes the top row. Without it no row is taken and only the rules against hostile output apply. A terminal
	// of fewer than three rows has no room for it, and keeps all its rows until it grows.
	Banner bool
	// ClipboardWrite lets the program set the clipboard (OSC 52). It can never read it.
	ClipboardWrite bool
	// ClipboardMax caps what one write may hold, in bytes of decoded text.
	ClipboardMax int
	// OnEvent is told what the program or the terminal reports, during Output and Input. It may be nil.
	OnEvent func(Event)
}

// EventKind says what an Event tells.
type EventKind int

// The kinds of event.
const (
	Bell            EventKind = iota // the program rang the bell (it was passed on)
	Notify                           // OSC 9, OSC 777 or OSC 99: Title and Text
	Title                            // the program named its window (OSC 0, OSC 2): Text
	ClipboardDenied                  // a clipboard access was refused: Text says which and why
	Dropped                          // a hostile sequence was dropped: Title names the rule, Text gives its reason
	FocusIn                          // the terminal's window came to the front
	FocusOut                         // the terminal's window went to the back
)

// Event is something the caller may want to act on. Title and Text hold no control characters, no characters that
// reorder text, and at most 200 characters each.
type Event struct {
	Kind        EventKind
	Title, Text string
}

// Filter rewrites one terminal's two streams.
type Filter struct {
	o          Options
	rows, cols int // of the real terminal
	shift      int // rows taken at the top: 0 or 1

	banner string // sanitized and cut to the width
	wanted string // as it was set
	title  string // what CALMenu wants in the title bar
	due    bool   // the banner is to be drawn as soon as the terminal is in its ground state
	active bool   // between Start and End

	scan  scanner
	cur   cursor
	ascii bool // the last thing printed is a character of one column
	sgr   sgrLog
	modes modes
	saved [2]savedCursor // by screen: main, alternate

	in input

	guesses int // how often a place had to be guessed; the tests ask
}

// New returns a filter for a terminal of o.Rows by o.Cols. Nothing is claimed before Start.
func New(o Options) *Filter {
	f := &Filter{o: o}
	f.setSize(o.Rows, o.Cols)
	f.resetState()
	return f
}

func (f *Filter) setSize(rows, cols int) {
	f.rows, f.cols = max(rows, 1), max(cols, 1)
	f.shift = 0
	if f.o.Banner && f.rows >= 3 {
		f.shift = 1
	}
	f.banner = cutLine(f.wanted, f.cols)
}

// resetState forgets what the program did, as a full reset of the terminal does.
func (f *Filter) resetState() {
	f.modes.reset()
	f.sgr.reset()
	f.saved = [2]savedCursor{}
	f.cur = cursor{known: true, colKnown: true, bottom: f.childRows() - 1, tabs: true}
}

func (f *Filter) childRows() int { return f.rows - f.shift }

// ChildSize returns the size the program is to be told.
func (f *Filter) ChildSize() (rows, cols int) { return f.childRows(), f.cols }

// Ground reports whether the terminal stands between two sequences, so that others may draw. It is false only while an
// image or another streamed string is half-way through. Sequences that were read in part are held back here, not there.
func (f *Filter) Ground() bool { return f.scan.state != stStream && f.scan.state != stStreamEsc }

// Start returns what claims the row: the title is pushed, focus reports are switched on, what was on the screen is
// scrolled into the terminal's history, the scroll region is set, and the cursor is below the banner.
func (f *Filter) Start() []byte {
	f.resetState()
	f.active = true
	dst := []byte("\x1b[22;0t\x1b[m\x1b[?1004h")
	if f.shift > 0 {
		dst = append(dst, "\x1b[r"...)
		dst = appendCSI(dst, 'H', f.rows, 1)
		for range f.rows {
			dst = append(dst, '\n')
		}
		dst = f.claim(dst)
	}
	if f.title != "" {
		dst = f.appendTitle(dst)
	}
	return dst
}

// Resize tells that the real terminal has rows by cols now. The program's own scroll region is gone then, as it is on
// a real terminal.
func (f *Filter) Resize(rows, cols int) []byte {
	was := f.shift
	f.setSize(rows, cols)
	f.cur.resize(f.childRows(), f.cols)
	f.modes.margins = [2]int{}
	if !f.active {
		return nil
	}
	if !f.Ground() {
		f.due = true
		return nil
	}
	if f.shift == 0 {
		if was == 0 {
			return nil
		}
		return f.away(nil, atPlace, func(dst []byte) []byte { return append(dst, "\x1b[r"...) })
	}
	return f.away(nil, atPlace, f.regionAndBanner)
}

// SetBanner sets the top line. It may hold styles (SGR) and text, nothing else; it is cut to the width. What it returns
// draws it at once, unless a string is being streamed through: then it comes with the next Output that ends it.
func (f *Filter) SetBanner(line string) []byte {
	if line == f.wanted {
		return nil
	}
	f.wanted = line
	f.banner = cutLine(line, f.cols)
	if f.shift == 0 || !f.active {
		return nil
	}
	if !f.Ground() {
		f.due = true
		return nil
	}
	return f.away(nil, bySlot, f.drawBanner)
}

// SetTitle sets the window's title. Titles the program sets are never passed on: they are reported as events, since
// they come from the guest.
func (f *Filter) SetTitle(title string) []byte {
	title = clean(title)
	if title == f.title {
		return nil
	}
	f.title = title
	if !f.active {
		return nil
	}
	if !f.Ground() {
		f.due = true
		return nil
	}
	return f.appendTitle(nil)
}

func (f *Filter) appendTitle(dst []byte) []byte {
	dst = append(dst, "\x1b]2;"...)
	dst = append(dst, f.title...)
	return append(dst, "\x1b\\"...)
}

// Redraw re-establishes what others may have changed by drawing: region, modes, attributes, the cursor's place as far
// as it is known, and the banner. It returns nothing while a string is being streamed through (see Ground).
func (f *Filter) Redraw() []byte {
	if !f.active {
		return nil
	}
	if !f.Ground() {
		f.due = true
		return nil
	}
	dst := f.modes.reassert(nil)
	if f.shift == 0 {
		return dst
	}
	return f.away(dst, atPlace, f.regionAndBanner)
}

// Overlay returns body wrapped so that it draws anywhere on the screen with plain attributes, ASCII character set, no
// margins and absolute rows of the real terminal, and the program notices nothing. Use it only while Ground.
func (f *Filter) Overlay(body []byte) []byte {
	return f.away(nil, bySlot, func(dst []byte) []byte {
		dst = append(dst, "\x1b[m"...)
		dst = append(dst, body...)
		return append(dst, "\x1b[m"...)
	})
}

// End gives the row back: what the program left switched on is switched off, the region is the whole screen again, the
// banner is erased and the title popped. Start may follow.
func (f *Filter) End() []byte {
	if !f.active {
		return nil
	}
	var dst []byte
	if !f.Ground() {
		dst = append(dst, "\x1b\\"...)
	}
	f.scan = scanner{}
	dst = f.modes.undo(dst)
	if f.shift > 0 {
		// Saved and restored around it, since setting a region moves the cursor.
		dst = append(dst, "\x1b7\x1b[m\x1b[r\x1b[1;1H\x1b[2K\x1b8"...)
	}
	dst = append(dst, "\x1b[m\x1b(B\x0f\x1b[?1004l\x1b[23;0t"...)
	f.active, f.due = false, false
	f.resetState()
	return dst
}
