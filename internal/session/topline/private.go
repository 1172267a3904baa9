package topline

import (
	"bytes"
	"slices"
)

// csiPrivate handles sequences with a private marker.
func (f *Filter) csiPrivate(dst, body []byte, marker byte, p *params, final byte) []byte {
	switch {
	case marker == '?' && (final == 'h' || final == 'l'):
		return f.privateModes(dst, body, p, final == 'h')
	case marker == '?' && final == 's':
		for _, mode := range p.val[:p.n] {
			if len(f.modes.stored) < maxModes && mode >= 0 {
				f.modes.stored[mode] = f.modes.on(mode)
			}
		}
		return f.plainModes(dst, p, final)
	case marker == '?' && final == 'r':
		for _, mode := range p.val[:p.n] {
			if on, ok := f.modes.stored[mode]; ok && tracked(mode) {
				dst = f.setMode(dst, mode, on)
			} else if ok {
				f.modes.note(mode, on)
			}
		}
		return f.plainModes(dst, p, final)
	case marker == '?' && final == 'J':
		dst = raw(dst, body, final)
		if f.shift == 0 || p.first() == 0 {
			return dst
		}
		return f.away(dst, bySlot, f.drawBanner)
	case marker == '?' && final == 'n':
		if p.first() == 6 {
			return f.askPosition(dst, body, final)
		}
	case marker == '>' && (final == 'm' || final == 'n'):
		f.modes.modify = true
	case final == 'u':
		switch n := &f.modes.kitty[f.modes.alt]; marker {
		case '>':
			*n = min(*n+1, 32)
		case '<':
			*n = max(*n-p.get(0, 1), 0)
		}
	}
	return raw(dst, body, final)
}

// tracked reports whether a private mode does more than switch something on: the terminal must not store and restore
// it behind this package's back.
func tracked(mode int) bool {
	switch mode {
	case modeOrigin, modeAlt, modeMargins, modeFocus, modeAltClear, modeSaveCursor, modeAltSave:
		return true
	}
	return modeRules[mode] != nil
}

// plainModes passes a store or restore of modes for those that are not tracked.
func (f *Filter) plainModes(dst []byte, p *params, final byte) []byte {
	for _, mode := range p.val[:p.n] {
		if mode >= 0 && !tracked(mode) {
			dst = append(dst, "\x1b[?"...)
			dst = append(appendInt(dst, mode), final)
		}
	}
	return dst
}

// privateModes sets or resets private modes; each acts by itself if one of them is of interest here.
func (f *Filter) privateModes(dst, body []byte, p *params, on bool) []byte {
	special := func(mode int) bool { return tracked(mode) || mode == modeMousePixels }
	if !slices.ContainsFunc(p.val[:p.n], special) && p.n < maxParams {
		for _, mode := range p.val[:p.n] {
			f.modes.note(mode, on)
		}
		return raw(dst, body, "lh"[b2i(on)])
	}
	for _, mode := range p.val[:p.n] {
		if mode >= 0 {
			dst = f.setMode(dst, mode, on)
		}
	}
	return dst
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// setMode sets or resets one private mode.
func (f *Filter) setMode(dst []byte, mode int, on bool) []byte {
	if r := modeRules[mode]; r != nil {
		f.refuse(r)
		return dst
	}
	switch mode {
	case modeOrigin:
		f.modes.note(mode, on)
		dst = appendMode(dst, mode, on)
		f.modes.origin = on
		f.toRow(0)
		f.toCol(0)
		if on || f.shift == 0 {
			return dst // the terminal homes to the region's top, which is below the banner
		}
		return f.place(dst)
	case modeFocus: // the terminal's stays on: this package listens
		f.modes.note(mode, on)
		return dst
	case modeMargins:
		f.modes.note(mode, on)
		f.modes.margins = [2]int{}
		return appendMode(dst, mode, on)
	case modeMousePixels:
		f.modes.note(mode, on)
		dst = appendMode(dst, mode, on)
		if on && f.in.cellHeight == 0 && f.shift > 0 {
			// Reports will name pixels: how many of them are the banner's?
			f.modes.autowait++
			dst = append(dst, "\x1b[16t"...)
		}
		return dst
	case modeSaveCursor:
		if on {
			f.save(f.modes.alt)
			return appendMode(dst, mode, on)
		}
		return f.restore(dst, f.modes.alt, appendMode(nil, mode, on))
	case modeAlt, modeAltClear, modeAltSave:
		return f.switchScreen(dst, mode, on)
	}
	f.modes.note(mode, on)
	return appendMode(dst, mode, on)
}

// switchScreen shows the alternate screen or the main one. Region and cursor are shared by both in xterm, but not in
// every terminal, so both are told again, and the banner is drawn on the screen now shown.
func (f *Filter) switchScreen(dst []byte, mode int, on bool) []byte {
	f.modes.note(mode, on)
	to := b2i(on)
	if f.shift == 0 {
		f.modes.alt = to
		return appendMode(dst, mode, on)
	}
	switch {
	case mode == modeAltSave && on:
		f.save(f.modes.alt)
		dst = appendMode(dst, mode, on)
		if f.modes.alt == 0 && f.saved[1].set {
			f.saved[1].dirty = true // not every terminal has a slot for each screen
		}
		f.modes.alt = 1
	case mode == modeAltSave:
		f.modes.alt = 0
		native := appendMode(nil, mode, false)
		if s := f.saved[0]; s.set && !s.dirty && s.cur.exact() {
			dst = append(dst, native...)
			f.adopt(&s)
		} else {
			if !s.set || s.dirty { // the slot is this package's: the screen without the cursor
				dst = appendMode(dst, modeAltClear, false)
			}
			dst = f.restore(dst, 0, native)
		}
	default:
		dst = appendMode(dst, mode, on)
		f.modes.alt = to
	}
	return f.away(dst, atPlace, f.regionAndBanner)
}

// ansiModes handles SM and RM.
func (f *Filter) ansiModes(dst []byte, p *params, final byte) []byte {
	for _, mode := range p.val[:p.n] {
		switch mode {
		case -1:
			continue
		case 2:
			f.refuse(ruleKeyboard)
			continue
		case 4:
			f.modes.insert = final == 'h'
		case 20:
			f.modes.newline = final == 'h'
		}
		dst = appendCSI(dst, final, mode)
	}
	return dst
}

// rectangles are the operations on rectangles: which parameters are first rows, of the rectangle and of a target.
var rectangles = map[string][]int{
	"$v": {0, 5}, "$x": {1}, "$z": {0}, "${": {0}, "$r": {0}, "$t": {0},
}

// csiInter handles sequences with an intermediate byte.
func (f *Filter) csiInter(dst, body []byte, key string, p *params) []byte {
	last := key[len(key)-1]
	switch key {
	case "!p", "\"p":
		return f.softReset(raw(dst, body, last))
	case " q":
		f.modes.style = true
	case "\"q":
		f.modes.protect = p.first() == 1
	}
	rows, ok := rectangles[key]
	if !ok || f.shift == 0 || f.modes.origin {
		return raw(dst, body, last)
	}
	for _, i := range rows {
		for p.n <= i {
			p.val[p.n] = -1
			p.n++
		}
		p.val[i] = min(p.get(i, 1), f.childRows()+1) + f.shift
		if i == rows[0] { // the rectangle itself has a last row too
			for p.n <= i+2 {
				p.val[p.n] = -1
				p.n++
			}
			p.val[i+2] = min(p.get(i+2, f.childRows()), f.childRows()) + f.shift
		}
	}
	dst = append(dst, 0x1b, '[')
	for i, v := range p.val[:p.n] {
		if i > 0 {
			dst = append(dst, ';')
		}
		if v >= 0 {
			dst = appendInt(dst, v)
		}
	}
	return append(dst, key...)
}

// softReset follows DECSTR or DECSCL, which reset region, margins, origin mode, attributes and the saved cursor but
// leave the cursor where it is. What they reset is said once more in words every terminal knows.
func (f *Filter) softReset(dst []byte) []byte {
	m := &f.modes
	exact := f.cur.exact()
	for _, mode := range []int{modeOrigin, modeMargins} {
		if m.on(mode) {
			m.note(mode, false)
			if exact { // it moves the cursor, which must be led back
				dst = appendMode(dst, mode, false)
			}
		}
	}
	m.cursorModes, m.insert, m.margins, m.protect = cursorModes{}, false, [2]int{}, false
	m.note(modeCursor, true)
	f.sgr.reset()
	f.saved[m.alt] = savedCursor{}
	f.cur.top, f.cur.bottom = 0, f.childRows()-1
	dst = append(dst, "\x1b[4l\x1b[?25h\x1b(B\x0f\x1b[m"...)
	if f.shift == 0 {
		return dst
	}
	return f.away(dst, atPlace, f.regionAndBanner)
}

// escape handles ESC, intermediates, and a final byte.
func (f *Filter) escape(dst []byte, final byte) []byte {
	s := &f.scan
	inter := s.buf
	if len(inter) == 0 {
		switch final {
		case '[':
			s.state = stCSI
			return dst
		case ']':
			s.state = stOSC
			return dst
		case 'P':
			s.state = stDCS
			return dst
		case '_':
			s.state = stAPC
			return dst
		case '^', 'X':
			s.state, s.bel = stDrop, false
			return dst
		case 'k':
			s.state = stTitle
			return dst
		}
	}
	f.ascii = false
	seq := append([]byte{0x1b}, inter...)
	seq = append(seq, final)
	over := s.over
	f.end()
	if r := escRules[string(seq[1:])]; r != nil {
		f.refuse(r)
		return dst
	}
	if over {
		return dst
	}
	if len(seq) == 3 && bytes.IndexByte([]byte("()*+"), seq[1]) >= 0 {
		set := seq[2]
		if set == 'B' {
			set = 0
		}
		f.modes.g[seq[1]-'('] = set
		return append(dst, seq...)
	}
	return f.escapeMove(dst, seq)
}

// escapeMove handles the escapes that move the cursor or change how it moves.
func (f *Filter) escapeMove(dst, seq []byte) []byte {
	c := &f.cur
	switch string(seq[1:]) {
	case "7":
		f.save(f.modes.alt)
	case "8":
		return f.restore(dst, f.modes.alt, seq)
	case "D":
		c.wrap, c.colKnown = false, c.colKnown && !c.wrap
		c.down(1, f.childRows())
	case "E":
		c.down(1, f.childRows())
		f.carriageReturn()
	case "M":
		return f.reverseIndex(dst, seq)
	case "H":
		c.tabs = false
	case "6", "9":
		c.colKnown, c.col = false, f.cols-1
	case "=":
		f.modes.keypad = true
	case ">":
		f.modes.keypad = false
	case "n":
		f.modes.gl = 2
	case "o":
		f.modes.gl = 3
	case "c":
		return f.fullReset(append(dst, seq...))
	case "#8":
		dst = append(dst, seq...)
		c.row, c.col, c.known, c.colKnown, c.wrap, c.loose = 0, 0, true, true, false, false
		c.top, c.bottom = 0, f.childRows()-1
		f.modes.margins = [2]int{}
		if f.shift == 0 {
			return dst
		}
		if f.modes.origin {
			f.modes.origin = false
			dst = appendMode(dst, modeOrigin, false)
		}
		return f.away(dst, atPlace, f.regionAndBanner)
	}
	return append(dst, seq...)
}

// reverseIndex handles RI. Above the program's region it is a move up, and must stop below the banner.
func (f *Filter) reverseIndex(dst, seq []byte) []byte {
	c := &f.cur
	if f.shift == 0 || c.top == 0 {
		dst = append(dst, seq...)
		if c.row != c.top {
			f.up(1)
			c.wrap = false
		}
		return dst
	}
	if !c.known && (c.row == 0 || c.loose) {
		return f.unbounded(dst, func(dst []byte) []byte { return append(dst, "\x1b[A"...) })
	}
	if c.known && c.row == 0 {
		return dst // the first row, above the region: nothing moves
	}
	if c.row != c.top {
		c.row--
		c.wrap = false
	}
	return append(dst, seq...)
}

// fullReset follows RIS: everything is as at the start, and the row is claimed again.
func (f *Filter) fullReset(dst []byte) []byte {
	f.resetState()
	dst = append(dst, "\x1b[?1004h"...)
	if f.shift > 0 {
		dst = f.claim(dst)
	}
	if f.title != "" {
		dst = f.appendTitle(dst)
	}
	return dst
}
