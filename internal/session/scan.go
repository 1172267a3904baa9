package session

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pieceKind says what a piece of the terminal's input is.
type pieceKind int

const (
	pieceText   pieceKind = iota // characters and control characters, no escape sequence
	pieceSeq                     // one escape sequence, or a lone escape
	piecePaste                   // of a bracketed paste, its marks included
	piecePrefix                  // one press of the prefix key
)

// piece is a part of the terminal's input; pieces one after the other are the input, byte for byte.
type piece struct {
	kind pieceKind
	data []byte
}

const (
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
	// maxSequence bounds what is held back for the end of a sequence; what is longer is passed on in parts.
	maxSequence = 4096
)

// scanner cuts the terminal's input into pieces. It holds back an escape sequence until it is complete, or until flush.
type scanner struct {
	prefix  byte
	held    []byte
	pasting bool
	mark    int // bytes of pasteEnd seen just now
}

// feed scans input and hands each piece on; data is only valid during the call of emit.
func (s *scanner) feed(src []byte, emit func(piece)) {
	if len(s.held) > 0 {
		src = append(s.held, src...)
		s.held = nil
	}
	for len(src) > 0 {
		if s.pasting {
			n := s.paste(src)
			emit(piece{piecePaste, src[:n]})
			src = src[n:]
			continue
		}
		n := s.plain(src)
		if n > 0 {
			emit(piece{pieceText, src[:n]})
			src = src[n:]
			continue
		}
		if src[0] != 0x1b {
			emit(piece{piecePrefix, src[:1]})
			src = src[1:]
			continue
		}
		n = sequence(src)
		if n == 0 {
			if len(src) <= maxSequence {
				s.held = append([]byte(nil), src...)
				return
			}
			n = len(src)
		}
		s.sequence(src[:n], emit)
		src = src[n:]
	}
}

// flush hands on what feed held back: the terminal was silent long enough to say that no more of it comes.
func (s *scanner) flush(emit func(piece)) {
	held := s.held
	s.held = nil
	if len(held) > 0 {
		s.sequence(held, emit)
	}
}

// abandon forgets a paste whose end never came.
func (s *scanner) abandon() { s.pasting, s.mark = false, 0 }

func (s *scanner) sequence(seq []byte, emit func(piece)) {
	switch {
	case string(seq) == pasteBegin:
		s.pasting, s.mark = true, 0
		emit(piece{piecePaste, seq})
	case len(seq) == 1 && s.prefix == 0x1b, s.isPrefix(seq):
		emit(piece{piecePrefix, seq})
	default:
		emit(piece{pieceSeq, seq})
	}
}

// plain returns how many bytes come before an escape or the prefix.
func (s *scanner) plain(src []byte) int {
	n := len(src)
	if i := bytes.IndexByte(src, 0x1b); i >= 0 {
		n = i
	}
	if i := bytes.IndexByte(src[:n], s.prefix); i >= 0 {
		n = i
	}
	return n
}

// paste returns how many bytes belong to the paste. It holds nothing back, so that a paste flows.
func (s *scanner) paste(src []byte) int {
	for i, b := range src {
		switch b {
		case pasteEnd[s.mark]:
			s.mark++
		case pasteEnd[0]:
			s.mark = 1
		default:
			s.mark = 0
		}
		if s.mark == len(pasteEnd) {
			s.abandon()
			return i + 1
		}
	}
	return len(src)
}

// isPrefix recognises a press of the prefix key as terminals report it in the kitty protocol (CSI 93;5u) and in xterm's
// modifyOtherKeys (CSI 27;5;93~).
func (s *scanner) isPrefix(seq []byte) bool {
	k, ok := encodedKey(seq)
	return ok && k.event == eventPress && k.mods == modCtrl && k.code == prefixRune(s.prefix)
}

// prefixRune is the key that, with Ctrl, sends b: ']' for 0x1d.
func prefixRune(b byte) rune {
	r := rune(b) | 0x40
	if r >= 'A' && r <= 'Z' {
		r |= 0x20
	}
	return r
}

// sequence returns the length of the escape sequence that b begins with, or 0 if it is not complete.
func sequence(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case 0x1b: // the first one was a key of its own
		return 1
	case '[':
		return controlSequence(b)
	case 'O':
		if len(b) < 3 {
			return 0
		}
		if b[2] < 0x20 || b[2] > 0x7e {
			return 2
		}
		return 3
	case ']', 'P', '_', '^', 'X':
		return controlString(b)
	}
	if b[1] < utf8.RuneSelf { // Alt and a key
		return 2
	}
	if !utf8.FullRune(b[1:]) {
		return 0
	}
	_, n := utf8.DecodeRune(b[1:])
	return 1 + n
}

func controlSequence(b []byte) int {
	if len(b) > 2 {
		switch b[2] {
		case 'M': // a mouse report of old: three bytes follow
			if len(b) < 6 {
				return 0
			}
			return 6
		case '[': // a function key of the Linux console: one letter follows
			if len(b) < 4 {
				return 0
			}
			return 4
		}
	}
	for i := 2; i < len(b); i++ {
		switch c := b[i]; {
		case c >= 0x40 && c <= 0x7e:
			return i + 1
		case c < 0x20 || c > 0x7e: // not a sequence after all
			return i
		}
	}
	return 0
}

func controlString(b []byte) int {
	for i := 2; i < len(b); i++ {
		switch {
		case b[i] == 0x07:
			return i + 1
		case b[i] == 0x1b && i+1 < len(b):
			if b[i+1] == '\\' {
				return i + 2
			}
			return i
		}
	}
	return 0
}

// isReport tells whether a sequence is the terminal's answer to a program, or a report of focus, rather than a key.
func isReport(seq []byte) bool {
	if len(seq) < 3 {
		return false
	}
	switch seq[1] {
	case ']', 'P', '_', '^', 'X':
		return len(seq) > 3
	case '[':
		switch seq[len(seq)-1] {
		case 'c', 'n', 'y', 't', 'x', 'R', 'I', 'O':
			return true
		case 'u':
			return seq[2] == '?'
		}
	}
	return false
}

// isMouse tells whether a sequence is a mouse report.
func isMouse(seq []byte) bool {
	return len(seq) > 3 && seq[1] == '[' && (seq[2] == '<' || seq[2] == 'M')
}

const (
	modShift = 1
	modAlt   = 2
	modCtrl  = 4

	eventPress   = 1
	eventRelease = 3
)

// encoded is a key in one of the encodings that name its code and modifiers.
type encoded struct {
	code, shifted rune
	mods, event   int
	text          rune // what the key types, if the terminal says so
}

// encodedKey parses CSI code[:shifted];mods[:event][;text] u and CSI 27;mods;code ~.
func encodedKey(seq []byte) (encoded, bool) {
	if len(seq) < 4 || seq[0] != 0x1b || seq[1] != '[' {
		return encoded{}, false
	}
	fields := strings.Split(string(seq[2:len(seq)-1]), ";")
	k := encoded{event: eventPress}
	number := func(i, j, def int) int {
		if i >= len(fields) {
			return def
		}
		sub := strings.Split(fields[i], ":")
		if j >= len(sub) {
			return def
		}
		n, err := strconv.Atoi(sub[j])
		if err != nil || n < 0 || n > utf8.MaxRune {
			return def
		}
		return n
	}
	switch seq[len(seq)-1] {
	case 'u':
		if strings.ContainsAny(fields[0], "?<>=") {
			return encoded{}, false
		}
		k.code, k.shifted = rune(number(0, 0, 0)), rune(number(0, 1, 0))
		k.mods, k.event = number(1, 0, 1), number(1, 1, eventPress)
		k.text = rune(number(2, 0, 0))
	case '~':
		if len(fields) != 3 || fields[0] != "27" {
			return encoded{}, false
		}
		k.mods, k.code = number(1, 0, 1), rune(number(2, 0, 0))
	default:
		return encoded{}, false
	}
	k.mods = (k.mods - 1) & 0x3f // without caps lock and num lock
	return k, k.code != 0
}
