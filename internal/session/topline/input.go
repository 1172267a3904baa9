package topline

import (
	"bytes"
	"unicode/utf8"
)

// input is the state of the stream from the terminal to the program.
type input struct {
	held  []byte // the beginning of a report, kept back until the rest comes
	sent  int    // how many bytes of an introducer, ESC or ESC [, were already passed on when the read ended
	paste bool   // inside a bracketed paste
	match int    // how much of the paste's end was seen

	asked      []bool // cursor reports the program waits for: whether origin mode was on
	cellHeight int    // in pixels, 0 if not known
	pressed    bool   // a button pressed in the program's rows is held
	swallowed  bool   // a button pressed on the banner is held
}

const (
	maxAsked  = 64
	maxReport = 64
	pasteEnd  = "\x1b[201~"
)

// askPosition notes that the program waits for a cursor report.
func (f *Filter) askPosition(dst, body []byte, final byte) []byte {
	if len(f.in.asked) >= maxAsked {
		return dst
	}
	f.in.asked = append(f.in.asked, f.modes.origin)
	return raw(dst, body, final)
}

// Input takes what the terminal sent and appends what the program is to get. A lone escape is never kept: it may be the
// key. What is kept is the beginning of a report with at least one parameter; FlushInput gives it up.
func (f *Filter) Input(dst, src []byte) []byte {
	in := &f.in
	if len(in.held) > 0 {
		src = append(in.held, src...)
		in.held = nil
	}
	for i := 0; i < len(src); {
		if in.paste {
			n := in.pasted(src[i:])
			dst = append(dst, src[i:i+n]...)
			i += n
			continue
		}
		sent := in.sent
		in.sent = 0
		if sent == 0 {
			j := bytes.IndexByte(src[i:], 0x1b)
			if j < 0 {
				return append(dst, src[i:]...)
			}
			dst = append(dst, src[i:i+j]...)
			i += j
		}
		// What stands at i is an escape, or what follows the part of an introducer that was passed on.
		rest := src[i:]
		intro := "\x1b["[sent:]
		if n := min(len(intro), len(rest)); string(rest[:n]) != intro[:n] {
			if sent == 0 {
				dst = append(dst, rest[0])
				i++
			}
			continue
		} else if len(rest) <= len(intro) {
			// ESC or ESC [ at the end of the read: a key, as far as anybody can tell.
			in.sent = sent + n
			return append(dst, rest...)
		}
		n, ok := reportLength(rest[len(intro):], f.modes.mouse(), f.modes.on(modeMouseUTF8))
		if !ok {
			dst = append(dst, intro...)
			i += len(intro)
			continue
		}
		if n == 0 {
			in.held = append([]byte(nil), rest...)
			if sent > 0 { // the rest of a report whose beginning is already with the program
				in.held, in.sent = nil, 0
				return append(dst, rest...)
			}
			return dst
		}
		body := rest[len(intro) : len(intro)+n]
		dst = f.report(dst, intro, body, sent > 0)
		i += len(intro) + n
	}
	return dst
}

// FlushInput gives up what Input keeps back. Call it when nothing has followed for a moment.
func (f *Filter) FlushInput(dst []byte) []byte {
	dst = append(dst, f.in.held...)
	f.in.held = nil
	return dst
}

// pasted returns how much of p belongs to the paste, its end included.
func (in *input) pasted(p []byte) int {
	for i := 0; i < len(p); {
		if in.match == 0 {
			j := bytes.IndexByte(p[i:], 0x1b)
			if j < 0 {
				return len(p)
			}
			i += j + 1
			in.match = 1
			continue
		}
		switch p[i] {
		case pasteEnd[in.match]:
			in.match++
			i++
			if in.match == len(pasteEnd) {
				in.match, in.paste = 0, false
				return i
			}
		case 0x1b:
			in.match = 1
			i++
		default:
			in.match = 0
		}
	}
	return len(p)
}

// reportLength returns the length of the control sequence at p (after its introducer), 0 if more bytes are needed. It
// is not ok if this is no control sequence.
func reportLength(p []byte, mouse, utf bool) (n int, ok bool) {
	if p[0] == 'M' && mouse { // X10: three characters follow
		n = 1
		for range 3 {
			if n >= len(p) {
				return 0, true
			}
			size := 1
			if utf && p[n] >= utf8.RuneSelf {
				if !utf8.FullRune(p[n:]) {
					return 0, true
				}
				_, size = utf8.DecodeRune(p[n:])
			}
			n += size
		}
		return n, true
	}
	for i, b := range p {
		switch {
		case b >= 0x40 && b <= 0x7e:
			return i + 1, true
		case b < 0x20 || b > 0x7e || i >= maxReport:
			return 0, false
		}
	}
	return 0, true
}

// report rewrites one report. intro is what of its introducer is still to be passed on; part says that some of it
// already was, so that the report cannot be swallowed any more.
func (f *Filter) report(dst []byte, intro string, body []byte, part bool) []byte {
	final := body[len(body)-1]
	pass := func(body []byte) []byte { return append(append(dst, intro...), body...) }
	switch string(body) {
	case "I", "O":
		kind := FocusIn
		if final == 'O' {
			kind = FocusOut
		}
		f.tell(Event{Kind: kind})
		if f.modes.on(modeFocus) || part {
			return pass(body)
		}
		return dst
	case "200~":
		f.in.paste, f.in.match = f.modes.on(modePaste), 0
		return pass(body)
	}
	if len(body) > 1 && body[0] == 'M' && f.modes.mouse() {
		return f.mouseX10(dst, intro, body, part)
	}
	marker, ps, inter, ok := splitCSI(body[:len(body)-1])
	if !ok {
		return pass(body)
	}
	p, plain := parseParams(ps)
	if !plain {
		return pass(body)
	}
	out, keep := f.rewriteReport(marker, inter, final, &p, part)
	switch {
	case !keep:
		return dst
	case out == nil:
		return pass(body)
	}
	return pass(out)
}

// rewriteReport returns the new body of a report, nil to leave it as it is, or that it is not for the program.
func (f *Filter) rewriteReport(marker byte, inter []byte, final byte, p *params, part bool) (out []byte, keep bool) {
	render := func() []byte {
		var b []byte
		if marker != 0 {
			b = append(b, marker)
		}
		for i, v := range p.val[:p.n] {
			if i > 0 {
				b = append(b, ';')
			}
			if v >= 0 {
				b = appendInt(b, v)
			}
		}
		return append(append(b, inter...), final)
	}
	switch {
	case len(inter) == 1 && inter[0] == '$' && final == 'y' && marker == '?':
		if p.val[0] == modeFocus && p.n > 1 && !f.modes.on(modeFocus) {
			p.val[1] = 2
			return render(), true
		}
	case len(inter) > 0:
	case final == 'R' && (marker == 0 || marker == '?') && p.n >= 2 && len(f.in.asked) > 0:
		origin := f.in.asked[0]
		f.in.asked = f.in.asked[1:]
		if !origin && f.shift > 0 {
			p.val[0] = max(p.get(0, 1)-f.shift, 1)
			return render(), true
		}
	case final == 't' && marker == 0:
		return f.sizeReport(p, render, part)
	case (final == 'M' || final == 'm') && (marker == '<' || marker == 0) && p.n == 3:
		if f.shift == 0 || !f.modes.mouse() {
			return nil, true
		}
		button := p.get(0, 0)
		if marker == 0 {
			button -= 32
		}
		by := f.shift
		if f.modes.on(modeMousePixels) && marker == '<' {
			by = f.in.cellHeight
		}
		y, keep := f.mouseRow(button, final == 'm' || marker == 0 && button&3 == 3 && button < 64, p.get(2, 0), by)
		if !keep && !part {
			return nil, false
		}
		p.val[2] = y
		return render(), true
	}
	return nil, true
}

// sizeReport rewrites reports of the window's size.
func (f *Filter) sizeReport(p *params, render func() []byte, part bool) (out []byte, keep bool) {
	if f.shift == 0 || p.n < 3 {
		return nil, true
	}
	below := func(pixels int) int { return pixels * f.childRows() / f.rows }
	switch p.val[0] {
	case 4:
		f.in.cellHeight = p.get(1, 0) / f.rows
		p.val[1] = below(p.get(1, 0))
	case 6:
		f.in.cellHeight = p.get(1, 0)
		if f.modes.autowait > 0 {
			f.modes.autowait--
			return nil, part
		}
		return nil, true
	case 8, 9:
		p.val[1] = max(p.get(1, 1)-f.shift, 1)
	case 48:
		p.val[1] = max(p.get(1, 1)-f.shift, 1)
		if p.n > 3 {
			p.val[3] = below(p.get(3, 0))
		}
	default:
		return nil, true
	}
	return render(), true
}

// mouseRow moves a mouse report's row by the banner. What happens on the banner is not the program's, but for the end
// of what began in its own rows, which it gets on its first row.
func (f *Filter) mouseRow(button int, release bool, y, by int) (int, bool) {
	in := &f.in
	wheel, motion := button&64 != 0, button&32 != 0
	onBanner := y <= by && by > 0
	row := max(y-by, 1)
	switch {
	case wheel:
		return row, !onBanner
	case motion:
		if in.swallowed {
			return row, false
		}
		return row, !onBanner || in.pressed
	case release:
		was := in.swallowed
		in.pressed, in.swallowed = false, false
		return row, !was
	default:
		in.pressed, in.swallowed = !onBanner, onBanner
		return row, !onBanner
	}
}

// mouseX10 rewrites a report of the old form: each value is a character, 32 above it.
func (f *Filter) mouseX10(dst []byte, intro string, body []byte, part bool) []byte {
	utf := f.modes.on(modeMouseUTF8)
	var val [3]int
	rest := body[1:]
	for i := range val {
		r, n := rune(rest[0]), 1
		if utf {
			r, n = utf8.DecodeRune(rest)
		}
		val[i], rest = int(r), rest[n:]
	}
	if f.shift > 0 && val[2] > 32 { // 0 means beyond what this form can say
		button := val[0] - 32
		y, keep := f.mouseRow(button, button&3 == 3 && button < 64, val[2]-32, f.shift)
		if !keep && !part {
			return dst
		}
		val[2] = y + 32
	}
	dst = append(append(dst, intro...), 'M')
	for _, v := range val {
		if utf {
			dst = utf8.AppendRune(dst, rune(v))
		} else {
			dst = append(dst, byte(v))
		}
	}
	return dst
}
