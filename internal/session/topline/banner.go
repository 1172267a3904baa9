package topline

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// maxText caps what an event carries, in characters.
const maxText = 200

// clean strips control characters and characters that reorder or hide text, and caps the length.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) ||
			r == unicode.ReplacementChar {
			continue
		}
		if n++; n > maxText {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// cutLine keeps text and styles of a line and cuts it to cols columns.
func cutLine(line string, cols int) string {
	var b strings.Builder
	var state byte
	for rest := line; rest != ""; {
		seq, width, n, next := ansi.DecodeSequence(rest, state, nil)
		args, isStyle := strings.CutPrefix(seq, "\x1b[")
		isStyle = isStyle && strings.HasSuffix(args, "m") && strings.Trim(args[:len(args)-1], "0123456789;:") == ""
		if width > 0 || isStyle {
			b.WriteString(seq)
		}
		state, rest = next, rest[n:]
	}
	return ansi.Truncate(b.String(), cols, "")
}

// The ways back from an excursion to another part of the screen.
type wayBack int

const (
	// bySlot saves and restores by the terminal itself, which is exact whatever the cursor's state, unless the program
	// keeps something in the terminal's one slot and the cursor's place is certain.
	bySlot wayBack = iota
	// atPlace addresses the cursor if its place is certain: for when the terminal may have moved it.
	atPlace
)

// away lets body draw elsewhere, with absolute rows of the real terminal and plain character sets, and returns to the
// program's place, attributes and modes.
func (f *Filter) away(dst []byte, way wayBack, body func([]byte) []byte) []byte {
	s := &f.saved[f.modes.alt]
	slot := !f.cur.exact()
	if slot && way == atPlace { // a terminal may have moved it
		f.guesses++
	}
	if way == bySlot && (!s.set || s.dirty) {
		slot = true
	}
	m := &f.modes
	dst = closeLink(dst, m.link) // before saving: some terminals save it along
	if slot {
		dst = append(dst, "\x1b7"...)
		s.dirty = true
	}
	margins := m.margins
	if m.origin {
		dst = appendMode(dst, modeOrigin, false)
	}
	if m.insert {
		dst = append(dst, "\x1b[4l"...)
	}
	if margins != [2]int{} {
		dst = appendMode(dst, modeMargins, false)
	}
	dst = cursorModes{}.charsets(dst, m.cursorModes)

	dst = body(dst)

	if margins != [2]int{} {
		dst = appendMode(dst, modeMargins, true)
		dst = appendCSI(dst, 's', margins[0], margins[1])
	}
	if m.insert {
		dst = append(dst, "\x1b[4h"...)
	}
	dst = m.charsets(dst, cursorModes{})
	if m.origin {
		dst = appendMode(dst, modeOrigin, true)
	}
	if slot {
		dst = append(dst, "\x1b8"...)
	} else {
		dst = append(dst, "\x1b[m"...)
		dst = append(dst, f.sgr.log...)
		dst = f.place(dst)
	}
	if m.link != "" {
		dst = append(dst, "\x1b]8;"...)
		dst = append(dst, m.link...)
		dst = append(dst, "\x1b\\"...)
	}
	return dst
}

// drawBanner draws the line; it moves the cursor and changes attributes, so it is for away.
func (f *Filter) drawBanner(dst []byte) []byte {
	// Erased first: after the last column is written, erasing to the end would take that character away.
	dst = append(dst, "\x1b[1;1H\x1b[m\x1b[2K"...)
	dst = append(dst, f.banner...)
	return append(dst, "\x1b[m"...)
}

// setRegion appends the program's scroll region, below the banner. The terminal homes its cursor on it.
func (f *Filter) setRegion(dst []byte) []byte {
	return appendCSI(dst, 'r', f.cur.top+1+f.shift, f.cur.bottom+1+f.shift)
}

func (f *Filter) regionAndBanner(dst []byte) []byte {
	return f.drawBanner(f.setRegion(dst))
}

// claim takes the row on a terminal whose modes are the default ones, and homes the program's cursor.
func (f *Filter) claim(dst []byte) []byte {
	dst = f.regionAndBanner(dst)
	return f.place(dst)
}

// settle draws what had to wait for the terminal's ground state.
func (f *Filter) settle(dst []byte) []byte {
	f.due = false
	if f.title != "" {
		dst = f.appendTitle(dst)
	}
	if f.shift == 0 {
		return dst
	}
	return f.away(dst, bySlot, f.regionAndBanner)
}
