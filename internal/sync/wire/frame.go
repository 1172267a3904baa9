package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is that of the protocol; both sides say theirs first.
const Version = 1

// A frame is its kind (1 byte), the length of its payload (4 bytes, big-endian), and the payload.
const (
	HeaderSize = 5
	MaxPayload = 256<<10 + idSize // bytes
	idSize     = 4                // of a Data frame's file, before its bytes
)

// Frames from the host.
const (
	Hello byte = 'h' // Outbox; the helper answers with its own
	List  byte = 'l' // nothing; answered by Entries and End of WholeOutbox
	Get   byte = 'g' // Requests; answered for each by At, Data and Hole, and Finish
	Seal  byte = 's' // a listing's number and a bundle's name; answered by Entries and End
	Watch byte = 'w' // nothing; followed by Reset, Entries and End of Watched, then by Put and Gone until it is said again
)

// Frames from the helper.
const (
	Ready   byte = 'H' // version
	Entries byte = 'E' // a listing's number and entries of it
	End     byte = 'L' // a listing's number, and whether there is more than was taken
	At      byte = 'R' // a file's number and where in it the next bytes belong
	Data    byte = 'D' // a file's number, in 4 bytes, and its next bytes
	Hole    byte = 'O' // a file's number and how long the hole is that comes next
	Finish  byte = 'F' // a file's number, a Status, and words for people
	Beat    byte = 'B' // nothing: it is at work
	Reset   byte = 'A' // nothing: the listing that follows replaces all that was told
	Put     byte = 'P' // entries as they are now
	Gone    byte = 'G' // names that are gone
	Failure byte = 'X' // words for people: it cannot go on
)

// Status is what became of a file that was asked for.
type Status byte

// What Finish says about a file.
const (
	Whole   Status = iota // as it was asked for, before it was read and after
	Busy                  // a program has it open for writing
	Changed               // it is another one, or gone
	Refused               // it cannot be read
)

// Listings by number; those of Seal have the host's.
const (
	WholeOutbox uint32 = 1<<32 - 1 // the answer to List
	Watched     uint32 = 1<<32 - 2 // what follows Reset
)

var (
	errShort = errors.New("frame ends in the midst of a value")
	errFrame = errors.New("frame is not one of the protocol")
)

// AppendFrame appends a frame with this payload.
func AppendFrame(b []byte, kind byte, payload []byte) []byte {
	return append(AppendHeader(b, kind, len(payload)), payload...)
}

// AppendHeader appends the header of a frame with a payload of that many bytes.
func AppendHeader(b []byte, kind byte, size int) []byte {
	return binary.BigEndian.AppendUint32(append(b, kind), uint32(size))
}

// DataHeaderSize is how many bytes precede a Data frame's content.
const DataHeaderSize = HeaderSize + idSize

// MaxData is how many bytes of content one Data frame takes.
const MaxData = MaxPayload - idSize

// BeatEvery is how many bytes a helper reads between two Beats while it sends nothing else.
const BeatEvery = 32 << 20

// PutDataHeader writes what precedes a Data frame's content of that many bytes.
func PutDataHeader(b []byte, id uint32, size int) {
	b[0] = Data
	binary.BigEndian.PutUint32(b[1:], uint32(size+idSize))
	binary.BigEndian.PutUint32(b[HeaderSize:], id)
}

// Parser takes a stream of frames in pieces cut anywhere. The content of Data frames is handed on as it comes, the
// payload of others whole.
type Parser struct {
	Frame func(kind byte, payload []byte) error // the payload is the parser's own
	Data  func(id uint32, content []byte) error

	head    [DataHeaderSize]byte
	have    int // bytes of head
	kind    byte
	left    int // bytes of the payload still to come
	id      uint32
	payload []byte
}

// Write takes the next piece of the stream. An error is final.
func (p *Parser) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if need := p.headSize(); p.have < need {
			c := copy(p.head[p.have:need], b)
			p.have, b = p.have+c, b[c:]
			if err := p.begin(); err != nil {
				return 0, err
			}
			continue
		}
		c := min(p.left, len(b))
		piece := b[:c]
		b, p.left = b[c:], p.left-c
		if err := p.take(piece); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// headSize is how many bytes precede what is handed on of the frame that has begun.
func (p *Parser) headSize() int {
	if p.have >= HeaderSize && p.kind == Data {
		return DataHeaderSize
	}
	return HeaderSize
}

// begin looks at a header as soon as it is there.
func (p *Parser) begin() error {
	switch p.have {
	case HeaderSize:
		p.kind = p.head[0]
		size := binary.BigEndian.Uint32(p.head[1:])
		if size > MaxPayload || p.kind == Data && size < idSize {
			return fmt.Errorf("%w: kind %q with %d bytes", errFrame, p.kind, size)
		}
		p.left, p.payload = int(size), p.payload[:0]
		if p.left == 0 {
			return p.take(nil)
		}
	case DataHeaderSize:
		p.id = binary.BigEndian.Uint32(p.head[HeaderSize:])
		if p.left -= idSize; p.left == 0 {
			p.have = 0
		}
	}
	return nil
}

func (p *Parser) take(piece []byte) error {
	if p.left == 0 {
		p.have = 0
	}
	if p.kind == Data {
		return p.Data(p.id, piece)
	}
	if p.left == 0 && len(p.payload) == 0 {
		return p.Frame(p.kind, piece)
	}
	p.payload = append(p.payload, piece...)
	if p.left > 0 {
		return nil
	}
	return p.Frame(p.kind, p.payload)
}

// Partial tells whether the stream has ended in the midst of a frame.
func (p *Parser) Partial() bool { return p.have > 0 }
