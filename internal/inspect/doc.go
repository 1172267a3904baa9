// Package inspect looks at what came out of a guest for things that would run by themselves later, when a person opens,
// unpacks or enters them: scripts, installers, launchers, unsigned applications, and archives that hold such things or
// would write outside of where they are unpacked.
//
// What must hold here: nothing that is looked at is run, unpacked, or followed; every look is bounded in bytes, members
// and time, and says so where it did not see everything; what it says is safe to show, whatever the names are. It warns,
// and refuses nothing: that it has found nothing is no proof that there is nothing.
package inspect

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits bound one look.
type Limits struct {
	Members int           // of archives and bundles, looked at by name; default 20,000
	Bytes   int64         // read, decompressed ones included; default 128 MB
	Nested  int64         // bytes of an archive within an archive; default 8 MB
	Depth   int           // archives within archives; default 2
	Time    time.Duration // default 2 s
}

func (l Limits) withDefaults() Limits {
	if l.Members <= 0 {
		l.Members = 20_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 128e6
	}
	if l.Nested <= 0 {
		l.Nested = 8e6
	}
	if l.Depth <= 0 {
		l.Depth = 2
	}
	if l.Time <= 0 {
		l.Time = 2 * time.Second
	}
	return l
}

// Name makes a name of the guest's safe to show: one line, no controls, not too long.
func Name(name string) string {
	const limit = 200
	cut := ""
	if len(name) > limit {
		name, cut = strings.ToValidUTF8(name[:limit], ""), "..."
	}
	plain := utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
	if plain {
		return name + cut
	}
	q := strconv.Quote(name)
	return q[1:len(q)-1] + cut
}
