package topline

import (
	"bytes"
	"unicode/utf8"
)

// The scanner is this package's own, and not ansi.Parser: text must run through at memory speed, and a sequence must
// come out with the very bytes it came in with. It follows the same state diagram as terminals do (ECMA-48 as DEC's
// terminals parsed it): controls inside a sequence act at once, CAN and SUB abort it, an escape starts another.

type state int

const (
	stGround state = iota
	stEsc          // after ESC and intermediates
	stCSI
	stOSC
	stOSCEsc // after ESC inside an OSC
	stDCS    // the header of a device control string
	stAPC    // the header of an application command
	stTitle  // ESC k, the title of screen and tmux
	stStream // a string that is passed on as it comes
	stStreamEsc
	stDrop // a string that is dropped as it comes
	stDropEsc
)

type scanner struct {
	state state
	buf   []byte // the sequence read so far, without introducer
	over  bool   // it is longer than its limit; what follows is not kept
	carry []byte // the first bytes of a character
	bel   bool   // the string passed on or dropped is an OSC, which BEL ends
	draws bool   // the string passed on is an image, and may move the cursor
	parts bool   // parts of an inline image may follow (OSC 1337)
}

const (
	maxCSI    = 1024
	maxOSC    = 16 << 10 // titles, links, notifications
	maxHeader = 1024     // what decides about a string that is streamed
)

// Output takes what the program printed and appends what the terminal is to get.
func (f *Filter) Output(dst, src []byte) []byte {
	s := &f.scan
	if len(s.carry) > 0 {
		src = append(s.carry, src...)
		s.carry = nil
	}
	for i := 0; i < len(src); {
		switch s.state {
		case stGround:
			dst, i = f.ground(dst, src, i)
		case stOSC, stStream, stDrop, stTitle:
			dst, i = f.inString(dst, src, i)
		default:
			if src[i] >= utf8.RuneSelf {
				// No sequence holds such bytes. It is void, and this byte is text again.
				dst = f.void(dst)
				continue
			}
			dst = f.step(dst, src[i])
			i++
		}
	}
	if f.due && f.Ground() {
		dst = f.settle(dst)
	}
	return dst
}

// ground passes text and controls, up to the next sequence.
func (f *Filter) ground(dst, src []byte, i int) ([]byte, int) {
	start := i // of what is not yet passed
	cells := 0 // printed, and not yet in the books
	for i < len(src) {
		if n := printable(src[i:]); n > 0 {
			cells += n
			f.ascii = true
			if i += n; i == len(src) {
				break
			}
		}
		b := src[i]
		if b == 0x1b {
			if n := wholeSGR(src[i:]); n > 0 { // it passes as it is, together with the text around it
				f.ascii = false
				f.sgr.add(src[i : i+n])
				i += n
				continue
			}
		}
		if cells > 0 {
			f.text(cells)
			cells = 0
		}
		if b >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(src[i:])
			if r != utf8.RuneError || n > 1 {
				if r >= 0xa0 {
					f.printed(r)
					i += n
					continue
				}
			} else if !utf8.FullRune(src[i:]) {
				dst = append(dst, src[start:i]...)
				f.scan.carry = append([]byte(nil), src[i:]...)
				return dst, len(src)
			} else if b >= 0xa0 {
				// Not UTF-8: what a UTF-8 terminal shows for it, so that every terminal reads the same.
				dst = append(dst, src[start:i]...)
				dst = utf8.AppendRune(dst, utf8.RuneError)
				f.text(1)
				i += brokenRune(src[i:])
				start = i
				continue
			} else {
				r = rune(b)
			}
			// A C1 control, as a character or as a byte: it is its seven-bit form from here on.
			dst = append(dst, src[start:i]...)
			f.begin()
			return f.step(dst, byte(r)-0x40), i + n
		}
		if b == 0x1b {
			dst = append(dst, src[start:i]...)
			if i+1 < len(src) && src[i+1] == '[' {
				if n := wholeCSI(src[i+2:]); n > 0 {
					body := src[i+2 : i+2+n]
					return f.csi(dst, body[:n-1], body[n-1]), i + 2 + n
				}
			}
			f.begin()
			return dst, i + 1
		}
		if b == 0x05 {
			dst = append(dst, src[start:i]...)
			i++
			start = i
			f.refuse(ruleAnswerback)
			continue
		}
		f.control(b)
		i++
	}
	if cells > 0 {
		f.text(cells)
	}
	return append(dst, src[start:i]...), i
}

func (f *Filter) begin() {
	f.scan.state = stEsc
	f.scan.buf = f.scan.buf[:0]
	f.scan.over = false
}

func (f *Filter) end() {
	f.scan.state = stGround
	f.scan.buf = f.scan.buf[:0]
	if cap(f.scan.buf) > 4*maxOSC { // a clipboard's worth is not kept for ever
		f.scan.buf = nil
	}
}

// void drops what is held back and leads the terminal back to its ground state.
func (f *Filter) void(dst []byte) []byte {
	if !f.Ground() {
		dst = append(dst, "\x1b\\"...)
		f.drawn()
	}
	f.end()
	return dst
}

// drawn tells that a streamed string has ended. Where an image leaves the cursor, terminals do not agree.
func (f *Filter) drawn() {
	if f.scan.draws {
		f.cur.lost()
	}
}

// keep adds a byte to the sequence, up to a limit.
func (f *Filter) keep(b byte, limit int) {
	if len(f.scan.buf) >= limit {
		f.scan.over = true
		return
	}
	f.scan.buf = append(f.scan.buf, b)
}

// step takes one byte of a sequence that is being held back.
func (f *Filter) step(dst []byte, b byte) []byte {
	s := &f.scan
	switch s.state {
	case stOSCEsc, stStreamEsc, stDropEsc:
		if b == '\\' {
			if s.state == stOSCEsc {
				return f.osc(dst, "\x1b\\")
			}
			return f.void(dst)
		}
		dst = f.void(dst)
		f.begin()
	}
	switch {
	case b == 0x1b:
		if s.state == stAPC { // ended by its own header: decided now
			dst = f.apc(dst)
			s.state++ // from passing or dropping to the same after ESC
			return dst
		}
		f.begin()
		return dst
	case b == 0x18 || b == 0x1a:
		f.end()
		return dst
	case b == 0x05:
		f.refuse(ruleAnswerback)
		return dst
	case b < 0x20:
		if s.state == stEsc || s.state == stCSI {
			f.control(b)
			return append(dst, b)
		}
		return dst
	case b == 0x7f:
		return dst
	}
	switch s.state {
	case stEsc:
		if b < 0x30 {
			f.keep(b, 8)
			return dst
		}
		return f.escape(dst, b)
	case stCSI:
		if b < 0x40 {
			f.keep(b, maxCSI)
			return dst
		}
		body, over := s.buf, s.over
		s.state = stGround
		if !over {
			dst = f.csi(dst, body, b)
		}
		f.end()
		return dst
	case stDCS:
		f.keep(b, maxHeader)
		if b >= 0x40 {
			dst = f.dcs(dst)
		}
		return dst
	default: // stAPC
		f.keep(b, maxHeader)
		if b == ';' || s.buf[0] != 'G' || s.over {
			dst = f.apc(dst)
		}
		return dst
	}
}

// inString takes what it can of a string's payload.
func (f *Filter) inString(dst, src []byte, i int) ([]byte, int) {
	s := &f.scan
	end := i
	for end < len(src) {
		b := src[end]
		if b == 0x1b || b == 0x18 || b == 0x1a || b == 0x07 && (s.state == stOSC || s.state == stTitle || s.bel) {
			break
		}
		end++
	}
	part := src[i:end]
	switch s.state {
	case stOSC, stTitle:
		limit := f.oscLimit(part)
		if room := max(0, limit-len(s.buf)); len(part) > room {
			s.over = true
			part = part[:room]
		}
		s.buf = append(s.buf, part...)
		if s.state == stOSC {
			dst = f.maybeImage(dst)
		}
	case stStream:
		dst = appendASCII(dst, part)
	}
	if end == len(src) {
		return dst, end
	}
	switch b := src[end]; b {
	case 0x07:
		switch s.state {
		case stOSC:
			dst = f.osc(dst, "\x07")
		case stTitle:
			f.end()
		case stStream:
			dst = append(dst, b)
			f.drawn()
			f.end()
		default:
			f.end()
		}
	case 0x1b:
		switch s.state {
		case stTitle:
			f.reportTitle(s.buf)
			s.state = stDropEsc
		default:
			s.state++ // each such state is followed by the same after ESC
		}
	default: // CAN or SUB
		if s.state == stStream {
			dst = append(dst, 0x18)
			f.drawn()
		}
		f.end()
	}
	return dst, end + 1
}

// appendASCII appends the ASCII part of p. Payloads that are streamed are base64 or sixels; another byte could end the
// string in a terminal that knows C1 controls as bytes.
func appendASCII(dst, p []byte) []byte {
	for len(p) > 0 {
		i := bytes.IndexFunc(p, func(r rune) bool { return r >= utf8.RuneSelf })
		if i < 0 {
			return append(dst, p...)
		}
		dst = append(dst, p[:i]...)
		for i < len(p) && p[i] >= utf8.RuneSelf {
			i++
		}
		p = p[i:]
	}
	return dst
}
