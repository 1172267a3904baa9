package topline

// cursor is what is known of the program's cursor, in rows and columns of the program's screen, from 0. It is kept by
// arithmetic on runs of text, never by cells. Where terminals disagree (emoji sequences, wide characters at the right
// edge, images) it stops claiming to know, until the program addresses the cursor again.
type cursor struct {
	row, col int
	known    bool // row is certain; otherwise row is a lower bound
	loose    bool // row is not certain, and may be on either side of the region
	colKnown bool // col is certain; otherwise col is an upper bound
	wrap     bool // a character stands in the last column and the next one wraps
	top      int  // the program's scroll region, inclusive
	bottom   int
	tabs     bool // the tab stops are the usual ones
}

func (c *cursor) exact() bool { return c.known && c.colKnown && !c.wrap }

func (c *cursor) lost() {
	c.known, c.loose, c.colKnown, c.wrap = false, true, false, false
	c.row, c.col = 0, 1<<20
}

func (c *cursor) resize(rows, cols int) {
	c.row, c.col = min(c.row, rows-1), min(c.col, cols-1)
	c.top, c.bottom = 0, rows-1
	c.tabs = c.tabs && c.colKnown
	c.wrap = false
}

// down moves n lines down as line feeds do: a line feed at the bottom margin scrolls.
func (c *cursor) down(n, rows int) {
	if c.row <= c.bottom {
		c.row = min(c.row+n, c.bottom)
	} else {
		c.row = min(c.row+n, rows-1)
	}
}

// text tells that n characters of one column each were printed.
func (f *Filter) text(n int) {
	c := &f.cur
	if f.modes.margins != [2]int{} {
		c.lost()
		return
	}
	if !c.colKnown {
		if c.col += n; c.col >= f.cols {
			c.known = c.known && f.modes.noWrap
			c.col = 1 << 20
		}
		return
	}
	if f.modes.noWrap {
		c.col = min(c.col+n, f.cols-1)
		return
	}
	if c.wrap {
		c.wrap = false
		c.down(1, f.childRows())
		c.col = 0
	}
	end := c.col + n
	if end > f.cols {
		c.down((end-1)/f.cols, f.childRows())
		end = (end-1)%f.cols + 1
	}
	if c.col = end; end == f.cols {
		c.col, c.wrap = end-1, true
	}
}

// wide tells that a character of two columns was printed. At the right edge terminals differ: the place is then not
// claimed to be known.
func (f *Filter) wide() {
	c := &f.cur
	if c.colKnown && !c.wrap && c.col+3 < f.cols {
		f.text(2)
		return
	}
	f.blur(2)
}

// blur tells that something at most n columns wide was printed, but not how wide.
func (f *Filter) blur(n int) {
	c := &f.cur
	if c.wrap {
		c.col = f.cols
	}
	c.colKnown, c.wrap = false, false
	f.text(n)
}

func (f *Filter) lineFeed() {
	c := &f.cur
	c.down(1, f.childRows())
	if c.wrap { // whether the next character still wraps, terminals do not agree
		c.wrap, c.colKnown = false, false
	}
	if f.modes.newline {
		f.carriageReturn()
	}
}

func (f *Filter) carriageReturn() {
	c := &f.cur
	c.col, c.wrap = 0, false
	c.colKnown = f.modes.margins == [2]int{}
}

func (f *Filter) tab() {
	c := &f.cur
	switch {
	case !c.colKnown || !c.tabs || c.wrap || f.modes.margins != [2]int{}:
		c.colKnown, c.wrap = false, false
		c.col = f.cols - 1
	default:
		c.col = min((c.col/8+1)*8, f.cols-1)
	}
}

// toRow moves to a row of the program's screen as absolute addressing does, origin mode included.
func (f *Filter) toRow(row int) {
	c := &f.cur
	if f.modes.origin {
		c.row = min(c.top+row, c.bottom)
	} else {
		c.row = min(row, f.childRows()-1)
	}
	c.known, c.loose, c.wrap = true, false, false
}

func (f *Filter) toCol(col int) {
	c := &f.cur
	c.col, c.wrap = max(0, min(col, f.cols-1)), false
	c.colKnown = !f.modes.origin || f.modes.margins == [2]int{}
}

// up moves n rows up and stops where a terminal stops. Where the terminals disagree, below the region, the row is only
// certain if the region is not reached.
func (f *Filter) up(n int) {
	c := &f.cur
	c.wrap = false
	switch to := c.row - n; {
	case c.row < c.top:
		c.row = max(0, to)
	case to >= c.top:
		c.row = to
	case c.row <= c.bottom:
		c.row = c.top
	default:
		c.row, c.known = max(0, to), false
	}
}

func (f *Filter) downBounded(n int) {
	c := &f.cur
	c.wrap = false
	last := f.childRows() - 1
	switch to := c.row + n; {
	case c.row > c.bottom:
		c.row = min(to, last)
	case to <= c.bottom:
		c.row = to
	case c.row >= c.top:
		c.row = c.bottom
	default:
		c.row, c.known, c.loose = c.bottom, false, true
	}
}

// savedCursor is what the terminal's one slot for a saved cursor should hold for the program, on one screen.
type savedCursor struct {
	set   bool // the program has saved
	dirty bool // the terminal's slot holds something else by now: the filter used it to draw
	cur   cursor
	sgr   string
	modes cursorModes
}

func (f *Filter) save(screen int) {
	f.saved[screen] = savedCursor{set: true, cur: f.cur, sgr: f.sgr.String(), modes: f.modes.cursorModes}
}

// restore is what follows when the program asks for its saved cursor: nothing but bookkeeping if the terminal's slot is
// the program's, and otherwise the sequences that have the same effect. native is the program's own sequence.
func (f *Filter) restore(dst []byte, screen int, native []byte) []byte {
	was := f.saved[screen]
	if !was.set { // a terminal goes home then
		was.cur = cursor{known: true, colKnown: true}
	}
	if !was.dirty && (was.set || f.shift == 0) {
		dst = append(dst, native...)
		f.adopt(&was)
		return dst
	}
	if was.set && !was.cur.exact() {
		f.guesses++
	}
	dst = append(dst, "\x1b[m"...)
	dst = append(dst, was.sgr...)
	dst = was.modes.charsets(dst, f.modes.cursorModes)
	if was.modes.origin != f.modes.origin {
		dst = appendMode(dst, modeOrigin, was.modes.origin)
	}
	f.adopt(&was)
	return f.place(dst)
}

func (f *Filter) adopt(s *savedCursor) {
	top, bottom, tabs := f.cur.top, f.cur.bottom, f.cur.tabs
	f.cur = s.cur
	f.cur.top, f.cur.bottom, f.cur.tabs = top, bottom, tabs
	f.cur.row = min(f.cur.row, f.childRows()-1)
	f.cur.col = min(f.cur.col, f.cols-1)
	f.sgr.set(s.sgr)
	f.modes.cursorModes = s.modes
	if !s.cur.known { // saved with another region, perhaps
		f.cur.loose = true
	}
}

// place appends the sequence that moves the terminal's cursor to where the program's is believed to be.
func (f *Filter) place(dst []byte) []byte {
	c := &f.cur
	row, col := max(c.row, 0), max(0, min(c.col, f.cols-1))
	if f.modes.origin {
		return appendCSI(dst, 'H', max(row-c.top, 0)+1, col+1)
	}
	return appendCSI(dst, 'H', row+1+f.shift, col+1)
}
