package session

import (
	"bytes"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// keyKind is what a dialog tells keys apart by.
type keyKind int

const (
	keyNone keyKind = iota
	keyRune
	keyEnter
	keyEscape
	keyUp
	keyDown
	keyLeft
	keyRight
	keyHome
	keyEnd
	keyPageUp
	keyPageDown
	keyBackspace
	keyDelete
	keyTab
	keyCtrl   // with key.r in lower case: 'c'
	keyPaste  // with key.text
	keyPrefix // the prefix key; key.text is what it sent
	keyResize // no key: the terminal has another size
)

// key is one key press in a dialog.
type key struct {
	kind keyKind
	r    rune
	text string
	at   time.Time // when it was read from the terminal
}

// maxPaste is how much of a paste a dialog takes, in bytes.
const maxPaste = 64 << 10

// decoder makes keys of pieces.
type decoder struct {
	rest  []byte // an incomplete character
	paste []byte // a paste that goes on
}

func (d *decoder) keys(p piece) []key {
	switch p.kind {
	case piecePrefix:
		return []key{{kind: keyPrefix, text: string(p.data)}}
	case piecePaste:
		return d.pasted(p.data)
	case pieceSeq:
		if k := sequenceKey(p.data); k.kind != keyNone {
			return []key{k}
		}
		return nil
	}
	var keys []key
	b := append(d.rest, p.data...)
	d.rest = nil
	for len(b) > 0 {
		if b[0] < 0x20 || b[0] == 0x7f {
			keys = append(keys, controlKey(b[0]))
			b = b[1:]
			continue
		}
		if !utf8.FullRune(b) {
			d.rest = append([]byte(nil), b...)
			break
		}
		r, n := utf8.DecodeRune(b)
		if r != utf8.RuneError {
			keys = append(keys, key{kind: keyRune, r: r})
		}
		b = b[n:]
	}
	return keys
}

func (d *decoder) pasted(b []byte) []key {
	d.paste = append(d.paste, b...)
	ended := bytes.HasSuffix(d.paste, []byte(pasteEnd))
	if len(d.paste) > maxPaste+len(pasteBegin) && !ended {
		// The end of what is left out is kept: the paste's end mark may come in parts.
		d.paste = append(d.paste[:maxPaste:maxPaste], d.paste[len(d.paste)-len(pasteEnd):]...)
	}
	if !ended {
		return nil
	}
	text := strings.TrimSuffix(strings.TrimPrefix(string(d.paste), pasteBegin), pasteEnd)
	d.paste = nil
	return []key{{kind: keyPaste, text: text[:min(len(text), maxPaste)]}}
}

func controlKey(b byte) key {
	switch b {
	case '\r', '\n':
		return key{kind: keyEnter}
	case '\t':
		return key{kind: keyTab}
	case 0x7f, 0x08:
		return key{kind: keyBackspace}
	}
	return key{kind: keyCtrl, r: prefixRune(b)}
}

var (
	letterKeys = map[byte]keyKind{
		'A': keyUp, 'B': keyDown, 'C': keyRight, 'D': keyLeft, 'H': keyHome, 'F': keyEnd, 'M': keyEnter,
	}
	numberKeys = map[string]keyKind{
		"1": keyHome, "7": keyHome, "4": keyEnd, "8": keyEnd, "3": keyDelete, "5": keyPageUp, "6": keyPageDown,
	}
	codeKeys = map[rune]keyKind{
		13: keyEnter, 27: keyEscape, 9: keyTab, 127: keyBackspace, 8: keyBackspace, 57414: keyEnter,
		57417: keyLeft, 57418: keyRight, 57419: keyUp, 57420: keyDown, 57421: keyPageUp, 57422: keyPageDown,
		57423: keyHome, 57424: keyEnd, 57426: keyDelete,
	}
)

func sequenceKey(seq []byte) key {
	if len(seq) == 1 {
		return key{kind: keyEscape}
	}
	if k, ok := encodedKey(seq); ok {
		return k.key()
	}
	if len(seq) < 3 || isMouse(seq) {
		return key{}
	}
	last := seq[len(seq)-1]
	switch seq[1] {
	case 'O':
		return key{kind: letterKeys[last]}
	case '[':
		params := string(seq[2 : len(seq)-1])
		if strings.HasSuffix(params, ":3") { // a key that was let go
			return key{}
		}
		first, _, _ := strings.Cut(params, ";")
		if last == '~' {
			return key{kind: numberKeys[first]}
		}
		if first == "" || first == "1" {
			return key{kind: letterKeys[last]}
		}
	}
	return key{}
}

func (e encoded) key() key {
	if e.event == eventRelease {
		return key{}
	}
	if k, ok := codeKeys[e.code]; ok {
		return key{kind: k}
	}
	if e.code >= 57399 && e.code <= 57408 { // digits of the keypad
		return key{kind: keyRune, r: '0' + e.code - 57399}
	}
	if e.code >= 57344 && e.code <= 63743 || !unicode.IsPrint(e.code) { // other keys that type nothing
		return key{}
	}
	switch {
	case e.mods&modCtrl != 0:
		return key{kind: keyCtrl, r: unicode.ToLower(e.code)}
	case e.mods&modAlt != 0:
		return key{}
	case e.text != 0 && unicode.IsPrint(e.text):
		return key{kind: keyRune, r: e.text}
	case e.mods&modShift != 0 && e.shifted != 0 && unicode.IsPrint(e.shifted):
		return key{kind: keyRune, r: e.shifted}
	case e.mods&modShift != 0:
		return key{kind: keyRune, r: unicode.ToUpper(e.code)}
	}
	return key{kind: keyRune, r: e.code}
}
