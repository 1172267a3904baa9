package wire

import (
	"strconv"
	"time"
)

// Entry is one name of a guest's outbox, as hostile as its author.
type Entry struct {
	Name   string // below the outbox, with slashes; "" is the outbox itself
	Kind   byte   // as find's %y: f d l p s b c
	Size   int64  // bytes
	MTime  Stamp
	CTime  Stamp
	Inode  uint64
	Device uint64
	Links  uint64
	Mode   uint32 // permission bits, setuid and the like included
	Target string // of a symbolic link
}

// Stamp is a time that a guest claims. Seconds are kept apart: a file system's range is larger than that of nanoseconds
// in 64 bits.
type Stamp struct {
	Sec  int64
	Nano int32
}

// Time returns the stamp if it is one that a file of the host can have, or the current time.
func (s Stamp) Time() time.Time {
	const year2200 = 7258118400
	if s.Sec < 0 || s.Sec >= year2200 {
		return time.Now()
	}
	return time.Unix(s.Sec, int64(s.Nano))
}

// Source identifies content without reading it: whatever changes it changes this. (The time of the last change of the
// inode cannot be set by a program.)
func (e *Entry) Source() string { return string(e.appendSource(make([]byte, 0, maxSource))) }

// HasSource tells whether an entry's source is s.
func (e *Entry) HasSource(s string) bool {
	return string(e.appendSource(make([]byte, 0, maxSource))) == s
}

// maxSource is how long a source can be: seven numbers of 64 bits and what is between them.
const maxSource = 7*20 + 6

func (e *Entry) appendSource(b []byte) []byte {
	for _, n := range [...]int64{
		e.Size, e.MTime.Sec, int64(e.MTime.Nano), e.CTime.Sec, int64(e.CTime.Nano), int64(e.Mode),
	} {
		b = append(strconv.AppendInt(b, n, 10), ':')
	}
	return strconv.AppendUint(b, e.Inode, 10)
}
