package topline

import "bytes"

// maxParams is how many parameters are looked at; no sequence that names a row has more.
const maxParams = 16

// params are the numbers of a control sequence: -1 where one is missing.
type params struct {
	n   int
	val [maxParams]int
}

// maxParam is where a parameter is capped: beyond any screen, far from overflow.
const maxParam = 99999

// parseParams reads "1;2;3". It fails on anything else (subparameters, signs).
func parseParams(p []byte) (ps params, ok bool) {
	cur := -1
	push := func() {
		if ps.n < maxParams {
			ps.val[ps.n] = cur
			ps.n++
		}
		cur = -1
	}
	for _, b := range p {
		switch {
		case b >= '0' && b <= '9':
			cur = min(max(cur, 0)*10+int(b-'0'), maxParam)
		case b == ';':
			push()
		default:
			return ps, false
		}
	}
	push()
	return ps, true
}

// get returns parameter i, or def if it is missing or zero where zero means the default.
func (p *params) get(i, def int) int {
	if i >= p.n || p.val[i] <= 0 {
		return def
	}
	return p.val[i]
}

// first returns the selector, zero by default.
func (p *params) first() int { return p.get(0, 0) }

// splitCSI takes a body apart: private marker, parameters, intermediates.
func splitCSI(body []byte) (marker byte, ps, inter []byte, ok bool) {
	if len(body) > 0 && body[0] >= '<' && body[0] <= '?' {
		marker, body = body[0], body[1:]
	}
	n := len(body)
	for n > 0 && body[n-1] < 0x30 {
		n--
	}
	ps, inter = body[:n], body[n:]
	for _, b := range ps {
		if b < 0x30 || b > 0x3b {
			return 0, nil, nil, false
		}
	}
	return marker, ps, inter, true
}

// raw appends a control sequence as it came.
func raw(dst, body []byte, final byte) []byte {
	dst = append(dst, 0x1b, '[')
	dst = append(dst, body...)
	return append(dst, final)
}

// isSGR tells whether a control sequence sets attributes: without marker and intermediates, for there are others of the same
// final byte.
func isSGR(body []byte, final byte) bool {
	return final == 'm' && (len(body) == 0 || body[0] < '<' && body[len(body)-1] >= 0x30)
}

// csi handles one control sequence.
func (f *Filter) csi(dst, body []byte, final byte) []byte {
	ascii := f.ascii
	f.ascii = false
	if isSGR(body, final) {
		dst = raw(dst, body, final)
		f.sgr.add(dst[len(dst)-len(body)-len("\x1b[m"):])
		return dst
	}
	marker, ps, inter, ok := splitCSI(body)
	if !ok {
		return dst // malformed; terminals ignore it
	}
	if len(inter) > 1 {
		return dst // no terminal knows one
	}
	var room [4]byte
	key := room[:0]
	if marker != 0 {
		key = append(key, marker)
	}
	key = append(append(key, inter...), final)
	if r := csiRules[string(key)]; r != nil {
		f.refuse(r)
		return dst
	}
	p, plain := parseParams(ps)
	if !plain { // subparameters: nothing that names a row has them
		if marker == 0 && len(inter) == 0 && bytes.IndexByte([]byte("HfdrABEFGJKeastu"), final) >= 0 {
			return dst
		}
		return raw(dst, body, final)
	}
	switch {
	case len(inter) > 0:
		return f.csiInter(dst, body, string(key), &p)
	case marker != 0:
		return f.csiPrivate(dst, body, marker, &p, final)
	}
	if final == 't' {
		return f.window(dst, body, &p)
	}
	return f.csiPlain(dst, body, &p, final, ascii)
}

// csiPlain handles sequences without marker and intermediates. ascii says that it follows a character of one column.
func (f *Filter) csiPlain(dst, body []byte, p *params, final byte, ascii bool) []byte {
	c := &f.cur
	if c.wrap && bytes.IndexByte([]byte("JKXP@LMST"), final) >= 0 {
		// Whether the next character still wraps after these, terminals do not agree.
		c.wrap, c.colKnown, c.col = false, false, f.cols
	}
	switch final {
	case 'H', 'f':
		row, col := p.get(0, 1), p.get(1, 1)
		f.toRow(row - 1)
		f.toCol(col - 1)
		if f.modes.origin || f.shift == 0 {
			return raw(dst, body, final)
		}
		row = min(row, f.childRows()) + f.shift
		if p.n < 2 {
			return appendCSI(dst, final, row)
		}
		return appendCSI(dst, final, row, col)
	case 'd':
		row := p.get(0, 1)
		f.toRow(row - 1)
		c.colKnown = c.colKnown && !f.modes.origin
		if f.modes.origin || f.shift == 0 {
			return raw(dst, body, final)
		}
		return appendCSI(dst, final, min(row, f.childRows())+f.shift)
	case 'A', 'F':
		return f.climb(dst, body, p.get(0, 1), final)
	case 'B', 'e', 'E':
		if final == 'e' { // some terminals stop it at the margin, others at the edge
			c.known = c.known && c.row+p.get(0, 1) <= c.bottom
			c.loose = !c.known
		}
		f.downBounded(p.get(0, 1))
		if final == 'E' {
			f.carriageReturn()
		}
	case 'G', '`':
		f.toCol(p.get(0, 1) - 1)
	case 'C', 'a', 'D':
		n := p.get(0, 1)
		if final == 'D' {
			n = -n
		}
		if known := c.colKnown && !c.wrap && f.modes.margins == [2]int{}; known {
			f.toCol(c.col + n)
		} else {
			c.colKnown, c.wrap, c.col = false, false, max(0, min(c.col, f.cols-1)+max(n, 0))
		}
	case 'I', 'Z':
		c.colKnown, c.wrap, c.col = false, false, f.cols-1
	case 'b':
		if ascii {
			f.text(p.get(0, 1))
		} else {
			f.blur(2 * p.get(0, 1))
		}
	case 'L', 'M': // to the left margin, if it is in the region at all
		switch {
		case !c.known:
			c.colKnown, c.wrap, c.col = false, false, f.cols-1
		case c.row >= c.top && c.row <= c.bottom:
			f.carriageReturn()
		}
	case 'J':
		return f.erase(dst, body, p)
	case 'r':
		return f.region(dst, body, p)
	case 's':
		if f.modes.on(modeMargins) {
			return f.setMargins(dst, body, p)
		}
		f.save(f.modes.alt)
	case 'u':
		return f.restore(dst, f.modes.alt, raw(nil, body, final))
	case 'g':
		c.tabs = false
	case 'h', 'l':
		return f.ansiModes(dst, p, final)
	case 'n':
		if p.first() == 6 {
			return f.askPosition(dst, body, final)
		}
	case 'T':
		if p.n > 1 { // highlight tracking, which names rows and hangs the terminal's mouse
			f.refuse(ruleHighlight)
			return dst
		}
	}
	return raw(dst, body, final)
}

// climb handles cursor up and previous line. Above the program's region, a terminal moves on to the first row of all,
// which is the banner's here.
func (f *Filter) climb(dst, body []byte, n int, final byte) []byte {
	c := &f.cur
	full := c.top == 0 && c.bottom == f.childRows()-1 && !f.modes.on(modeMargins)
	switch {
	case f.shift == 0 || full:
		dst = raw(dst, body, final)
	case !c.known && (n <= c.row || !c.loose && c.row >= c.top && c.row <= c.bottom):
		dst = raw(dst, body, final) // it cannot get so far, or the region stops it
	case c.known:
		if m := min(n, c.row); m > 0 {
			dst = appendCSI(dst, final, m)
		} else if final == 'F' {
			dst = append(dst, '\r')
		}
	default:
		// The row is not known: the move is made inside the whole screen below the banner.
		dst = f.unbounded(dst, func(dst []byte) []byte { return appendCSI(dst, final, n) })
	}
	f.up(n)
	if final == 'F' {
		f.carriageReturn()
	}
	return dst
}

// unbounded makes a move with the region set to all rows below the banner. Setting a region moves the cursor, so it is
// saved and restored in the terminal's slot.
func (f *Filter) unbounded(dst []byte, move func([]byte) []byte) []byte {
	f.guesses++
	f.saved[f.modes.alt].dirty = true
	dst = append(dst, "\x1b7"...)
	dst = appendCSI(dst, 'r', 1+f.shift, f.rows)
	dst = append(dst, "\x1b8"...)
	dst = move(dst)
	dst = append(dst, "\x1b7"...)
	dst = f.setRegion(dst)
	return append(dst, "\x1b8"...)
}

// erase handles ED. Erasing to the end never meets the banner.
func (f *Filter) erase(dst, body []byte, p *params) []byte {
	if f.shift == 0 {
		return raw(dst, body, 'J')
	}
	switch p.first() {
	case 0:
		return raw(dst, body, 'J')
	case 1:
		// As it is, and the banner again: this keeps the attributes it erases with and needs no cursor.
		return f.away(raw(dst, body, 'J'), bySlot, f.drawBanner)
	case 2:
		// From the first row below the banner to the end. Not as it is: some terminals keep what 2J erases in their
		// history, and the banner has no business there.
		return f.eraseAll(dst)
	case 3:
		// The history. Some terminals erase the screen as well.
		return f.away(raw(dst, body, 'J'), bySlot, f.drawBanner)
	}
	return raw(dst, body, 'J')
}

func (f *Filter) eraseAll(dst []byte) []byte {
	slot := !f.cur.exact()
	if slot {
		f.saved[f.modes.alt].dirty = true
		dst = append(dst, "\x1b7"...)
	}
	if f.modes.origin {
		dst = appendMode(dst, modeOrigin, false)
	}
	dst = appendCSI(dst, 'H', 1+f.shift, 1)
	dst = append(dst, "\x1b[J"...)
	if f.modes.origin {
		dst = appendMode(dst, modeOrigin, true)
	}
	if slot {
		return append(dst, "\x1b8"...)
	}
	return f.place(dst)
}

// region handles DECSTBM. Terminals ignore one of fewer than two rows, and home the cursor on one they take.
func (f *Filter) region(dst, body []byte, p *params) []byte {
	rows := f.childRows()
	top, bottom := p.get(0, 1), min(p.get(1, rows), rows)
	if top >= bottom {
		return dst
	}
	f.cur.top, f.cur.bottom = top-1, bottom-1
	f.cur.row, f.cur.col, f.cur.wrap, f.cur.known, f.cur.colKnown = 0, 0, false, true, true
	f.cur.loose = false
	if f.modes.origin {
		f.cur.row = f.cur.top
		f.cur.colKnown = f.modes.margins == [2]int{}
	}
	if f.shift == 0 {
		return raw(dst, body, 'r')
	}
	dst = f.setRegion(dst)
	if f.modes.origin {
		return append(dst, "\x1b[H"...) // tmux would be in the banner's row: there, setting the region forgets the mode
	}
	return f.place(dst)
}

// setMargins handles DECSLRM, which homes the cursor as DECSTBM does.
func (f *Filter) setMargins(dst, body []byte, p *params) []byte {
	left, right := p.get(0, 1), min(p.get(1, f.cols), f.cols)
	if left >= right {
		return dst
	}
	f.modes.margins = [2]int{left, right}
	if left == 1 && right == f.cols {
		f.modes.margins = [2]int{}
	}
	f.cur.row, f.cur.col, f.cur.wrap, f.cur.known, f.cur.colKnown = 0, 0, false, true, true
	f.cur.loose = false
	dst = raw(dst, body, 's')
	if f.modes.origin {
		f.cur.row, f.cur.colKnown = f.cur.top, f.modes.margins == [2]int{}
		return dst
	}
	return f.place(dst)
}
