package topline

import "github.com/mattn/go-runewidth"

// control keeps the books for a control character that is passed on.
func (f *Filter) control(b byte) {
	f.ascii = false
	c := &f.cur
	switch b {
	case '\n', '\v', '\f':
		f.lineFeed()
	case '\r':
		f.carriageReturn()
	case '\b':
		if c.colKnown && !c.wrap {
			c.col = max(0, c.col-1)
		} else {
			c.colKnown, c.wrap = false, false
		}
	case '\t':
		f.tab()
	case 0x0e:
		f.modes.gl = 1
	case 0x0f:
		f.modes.gl = 0
	case 0x07:
		f.tell(Event{Kind: Bell})
	}
}

// printed keeps the books for a character beyond ASCII.
func (f *Filter) printed(r rune) {
	f.ascii = false
	switch {
	case r < 0x300:
		if r == 0xad { // the soft hyphen: terminals disagree
			f.blur(1)
			return
		}
		f.text(1)
	case r >= 0x2500 && r < 0x2600 || r >= 0x2800 && r < 0x2900: // lines, blocks, braille: one column everywhere
		f.text(1)
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r < 0xa4d0, r >= 0xac00 && r < 0xd7a4, r >= 0xff00 && r <= 0xff60:
		if runewidth.RuneWidth(r) == 2 {
			f.wide()
			return
		}
		f.blur(2)
	case r >= 0x370 && r < 0x483, r >= 0x2010 && r < 0x2028, r >= 0x20a0 && r < 0x20c0:
		f.text(1)
	default:
		f.blur(2)
	}
}
