package sync

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// fact is what a pass asks of a line again. Nothing more is read of a manifest, of which each pass reads all: lines are
// thousands, and most of what they tell is for people.
type fact struct {
	V       int    `json:"v"`
	Event   string `json:"event"`
	Source  string `json:"source"`
	Entry   string `json:"entry"`
	Reason  string `json:"reason"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
	Bundle  bool   `json:"bundle"`
}

func (l line) fact() fact {
	f := fact{V: l.V, Event: l.Event, Source: l.Source, Entry: l.Entry, Reason: l.Reason}
	if a := l.Artifact; a != nil {
		f.Name, f.Version, f.Size, f.SHA256, f.Bundle = a.Name, a.Version, a.Size, a.SHA256, a.Bundle
	}
	return f
}

func (f fact) record() record {
	return record{Version: f.Version, Size: f.Size, SHA256: f.SHA256, Bundle: f.Bundle, Source: f.Source}
}

// landed tells whether it is about an artifact.
func (f fact) landed() bool { return f.Event == eventLanded || f.Event == eventSeen }

func (f fact) valid() bool {
	switch {
	case f.V != manifestVersion:
		return false
	case f.landed():
		return f.Name != ""
	case f.Event == eventRefused, f.Event == eventLost:
		return f.Entry != "" && f.Name == ""
	case f.Event == eventBoot, f.Event == eventFlushed, f.Event == eventSettled:
		return f.Source != "" && f.Name == ""
	}
	return false
}

// readFact reads a line. It is not ok if that is no JSON.
func readFact(text []byte) (f fact, ok bool) {
	if f, ok = readPlain(text); ok {
		return f, true
	}
	return readAny(text)
}

func readAny(text []byte) (f fact, ok bool) {
	err := json.Unmarshal(text, &f)
	return f, err == nil
}

// readPlain reads a line as encode writes almost all of them, in a fifth of the time that encoding/json takes: one object on
// one line, without blanks, of strings without escapes, whole numbers, true and false. ok is false for everything else.
func readPlain(text []byte) (f fact, ok bool) {
	rest, found := bytes.CutPrefix(bytes.TrimSuffix(text, []byte("\n")), []byte("{"))
	for found {
		var key, value []byte
		if key, rest, found = plainString(rest); !found {
			break
		}
		if rest, found = bytes.CutPrefix(rest, []byte(":")); !found {
			break
		}
		quoted := len(rest) > 0 && rest[0] == '"'
		if quoted {
			value, rest, found = plainString(rest)
		} else {
			value, rest, found = plainWord(rest)
		}
		if !found || !f.set(key, value, quoted) {
			break
		}
		if len(rest) == 1 && rest[0] == '}' {
			return f, true
		}
		rest, found = bytes.CutPrefix(rest, []byte(","))
	}
	return fact{}, false
}

// plainString takes a string without escapes off the beginning of b.
func plainString(b []byte) (s, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	ascii := true
	for i, c := range b[1:] {
		switch {
		case c == '"':
			s = b[1 : 1+i]
			return s, b[2+i:], ascii || utf8.Valid(s)
		case c == '\\', c < ' ':
			return nil, nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, nil, false
}

// plainWord takes what is no string off the beginning of b: up to what ends a member of an object.
func plainWord(b []byte) (word, rest []byte, ok bool) {
	end := bytes.IndexAny(b, ",}")
	if end < 0 {
		return nil, nil, false
	}
	return b[:end], b[end:], true
}

// set sets a member. It returns false for what it does not know how to read as encoding/json would.
func (f *fact) set(key, value []byte, quoted bool) bool {
	var text *string
	switch string(key) {
	case "event":
		if quoted && string(value) == eventLanded { // most are, and share it
			f.Event = eventLanded
			return true
		}
		text = &f.Event
	case "source":
		text = &f.Source
	case "entry":
		text = &f.Entry
	case "reason":
		text = &f.Reason
	case "name":
		text = &f.Name
	case "sha256":
		text = &f.SHA256
	case "bundle":
		f.Bundle = string(value) == "true"
		return !quoted && (f.Bundle || string(value) == "false")
	case "v":
		return setNumber(&f.V, value, quoted)
	case "version":
		return setNumber(&f.Version, value, quoted)
	case "size":
		return setNumber(&f.Size, value, quoted)
	default:
		return ignored(key, value, quoted)
	}
	*text = string(value)
	return quoted
}

func setNumber[T int | int64](to *T, value []byte, quoted bool) bool {
	n, err := wholeNumber(value)
	*to = T(n)
	return err == nil && !quoted && int64(*to) == n
}

// ignored tells whether a member is one that encoding/json would pass over: a name that is none of fact's in any case, with a
// value that needs no look.
func ignored(key, value []byte, quoted bool) bool {
	for _, c := range key {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	if quoted || string(value) == "true" || string(value) == "false" {
		return true
	}
	_, err := wholeNumber(value)
	return err == nil
}

// wholeNumber reads a number of JSON's that is whole (RFC 8259, 6).
func wholeNumber(b []byte) (int64, error) {
	if digits := bytes.TrimPrefix(b, []byte("-")); len(digits) == 0 || digits[0] == '+' || digits[0] == '0' && len(digits) > 1 {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(string(b), 10, 64)
}
