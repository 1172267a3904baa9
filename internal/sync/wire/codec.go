package wire

import (
	"encoding/binary"
	"fmt"
)

// maxText bounds a name or a sentence in bytes; PATH_MAX is 4096.
const maxText = 8 << 10

// Decoder takes values off a payload. After the first error it gives zero values.
type Decoder struct {
	b   []byte
	err error
}

// NewDecoder decodes a payload, which it does not keep.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

// Err is the first error, or that something was left over.
func (d *Decoder) Err() error {
	if d.err == nil && len(d.b) > 0 {
		return fmt.Errorf("%w: %d bytes too many", errFrame, len(d.b))
	}
	return d.err
}

// More tells whether there is something left to decode.
func (d *Decoder) More() bool { return d.err == nil && len(d.b) > 0 }

func (d *Decoder) fail() {
	if d.err == nil {
		d.err = errShort
	}
	d.b = nil
}

// Byte takes one byte.
func (d *Decoder) Byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

// Uint takes an unsigned number.
func (d *Decoder) Uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// Int takes a signed number.
func (d *Decoder) Int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// Bytes takes that many bytes, which stay the payload's.
func (d *Decoder) Bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

// Text takes a string.
func (d *Decoder) Text() string { return string(d.text()) }

func (d *Decoder) text() []byte {
	n := d.Uint()
	if n > maxText {
		d.fail()
		return nil
	}
	return d.Bytes(n)
}

// AppendText appends a string, cut where it is longer than the other side takes.
func AppendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxText)]
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendUint appends an unsigned number.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// What an entry's first byte says besides.
const (
	sameChange = 1 << iota // CTime is MTime
	oneLink
	sameDevice // as the entry before
)

// AppendEntry appends an entry. before is the entry appended before it to the same payload, or the zero one: names of one
// directory share their beginnings.
func AppendEntry(b []byte, before, e *Entry) []byte {
	var flags byte
	if e.CTime == e.MTime {
		flags |= sameChange
	}
	if e.Links == 1 {
		flags |= oneLink
	}
	if e.Device == before.Device {
		flags |= sameDevice
	}
	b = append(b, flags, e.Kind)
	shared := 0
	for shared < min(len(e.Name), len(before.Name), maxText) && e.Name[shared] == before.Name[shared] {
		shared++
	}
	b = binary.AppendUvarint(b, uint64(shared))
	b = AppendText(b, e.Name[shared:])
	b = binary.AppendVarint(b, e.Size)
	b = appendStamp(b, e.MTime)
	if flags&sameChange == 0 {
		b = appendStamp(b, e.CTime)
	}
	b = binary.AppendVarint(b, int64(e.Inode-before.Inode))
	if flags&sameDevice == 0 {
		b = binary.AppendUvarint(b, e.Device)
	}
	if flags&oneLink == 0 {
		b = binary.AppendUvarint(b, e.Links)
	}
	b = binary.AppendUvarint(b, uint64(e.Mode))
	if e.Kind == 'l' {
		b = AppendText(b, e.Target)
	}
	return b
}

func appendStamp(b []byte, s Stamp) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, s.Sec), uint64(uint32(s.Nano)))
}

// Entry takes an entry that was appended after before.
func (d *Decoder) Entry(before *Entry) Entry {
	var e Entry
	flags := d.Byte()
	e.Kind = d.Byte()
	shared := d.Uint()
	rest := d.text()
	if shared > uint64(len(before.Name)) || shared+uint64(len(rest)) > maxText {
		d.fail()
		return e
	}
	e.Name = before.Name[:shared] + string(rest)
	if e.Size = d.Int(); e.Size < 0 {
		d.fail()
	}
	e.MTime = d.stamp()
	e.CTime = e.MTime
	if flags&sameChange == 0 {
		e.CTime = d.stamp()
	}
	e.Inode = before.Inode + uint64(d.Int())
	e.Device = before.Device
	if flags&sameDevice == 0 {
		e.Device = d.Uint()
	}
	e.Links = 1
	if flags&oneLink == 0 {
		e.Links = d.Uint()
	}
	mode := d.Uint()
	if mode > 0o7777 {
		d.fail()
	}
	e.Mode = uint32(mode)
	if e.Kind == 'l' {
		e.Target = d.Text()
	}
	return e
}

func (d *Decoder) stamp() Stamp {
	sec, nano := d.Int(), d.Uint()
	if nano >= 1e9 {
		d.fail()
		return Stamp{}
	}
	return Stamp{Sec: sec, Nano: int32(nano)}
}

// EntriesOf takes all entries that are left.
func (d *Decoder) EntriesOf(take func(Entry) error) error {
	var before Entry
	for d.More() {
		e := d.Entry(&before)
		if d.err != nil {
			return d.err
		}
		if err := take(e); err != nil {
			return err
		}
		before = e
	}
	return d.Err()
}

// Outbox is which directory the helper is to look at, and how far.
type Outbox struct {
	Dir        string // absolute, or below the home of the guest's user
	MaxEntries int
	MaxDepth   int // directories above a file
}

// Append appends the payload of a Hello.
func (o Outbox) Append(b []byte) []byte {
	b = AppendUint(b, Version)
	b = AppendText(b, o.Dir)
	b = AppendUint(b, uint64(o.MaxEntries))
	return AppendUint(b, uint64(o.MaxDepth))
}

// DecodeOutbox reads the payload of a Hello.
func DecodeOutbox(b []byte) (Outbox, error) {
	d := NewDecoder(b)
	if v := d.Uint(); v != Version {
		return Outbox{}, fmt.Errorf("the host speaks version %d of the protocol, this is %d", v, Version)
	}
	o := Outbox{Dir: d.Text(), MaxEntries: int(d.Uint()), MaxDepth: int(d.Uint())}
	return o, d.Err()
}

// Request asks for a file.
type Request struct {
	ID    uint32 // the host's, for the answers
	Entry Entry  // as it was listed
	From  int64  // where to begin, if the bytes before have the hash Sum
	Sum   [32]byte
}

// Append appends a request to the payload of a Get, after the one before.
func (r *Request) Append(b []byte, before *Entry) []byte {
	b = AppendUint(b, uint64(r.ID))
	b = AppendEntry(b, before, &r.Entry)
	b = AppendUint(b, uint64(r.From))
	if r.From > 0 {
		b = append(b, r.Sum[:]...)
	}
	return b
}

// Requests reads the payload of a Get.
func Requests(b []byte, take func(Request)) error {
	d := NewDecoder(b)
	var before Entry
	for d.More() {
		r := Request{ID: uint32(d.Uint()), Entry: d.Entry(&before), From: int64(d.Uint())}
		if r.From > 0 {
			copy(r.Sum[:], d.Bytes(uint64(len(r.Sum))))
		}
		if d.err != nil {
			return d.err
		}
		before = r.Entry
		take(r)
	}
	return d.Err()
}
