// Package wire is what CALMenu on the host and its program in the guest say to each other about the guest's connections:
// frames over that program's standard input and output. The bytes of the connections themselves do not pass here; a serial
// port, a direct connection or the guest's SSH server carries those.
//
// What must hold: a frame is never longer than MaxPayload, and whatever is no frame ends the conversation.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Kind is what a frame is about.
type Kind byte

// The kinds of frames.
const (
	Question Kind = 'q' // guest: a question for a name, as a DNS message
	Answer   Kind = 'a' // host: the answer, with the question's ID
	Origin   Kind = 'o' // host: where is the connection to the SSH server's port from this address ("127.0.0.1:40000") to lead?
	Direct   Kind = 'd' // host: listen for a direct connection (an Offer, as JSON)
	Reply    Kind = 'r' // guest: to an Origin there ("192.0.2.7:443"), to a Direct a Place as JSON, or nowhere (empty); with its ID
	State    Kind = 's' // guest: what holds now, as JSON
	Alive    Kind = 'l' // host: a sign of life, every few seconds; the guest sends it back
	Method   Kind = 'c' // host: catch connections by this method from now on, or not at all ("off")
	Port     Kind = 'p' // host: the serial port is there; this is to be said first on it. The guest answers with a State
)

// MaxPayload is the longest payload, in bytes.
const MaxPayload = 8 << 10

const headerLength = 7 // kind, ID, length

// Frame is one message.
type Frame struct {
	Kind    Kind
	ID      uint32
	Payload []byte
}

// ErrFrame is returned for what is no frame.
var ErrFrame = errors.New("not a frame of the tunnel")

// Reader reads frames.
type Reader struct {
	r      *bufio.Reader
	header [headerLength]byte
}

// NewReader reads frames from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, MaxPayload+headerLength)}
}

// Next returns the next frame, whose payload is the caller's.
func (r *Reader) Next() (Frame, error) {
	if _, err := io.ReadFull(r.r, r.header[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: Kind(r.header[0]), ID: binary.BigEndian.Uint32(r.header[1:])}
	switch f.Kind {
	case Question, Answer, Origin, Direct, Reply, State, Alive, Method, Port:
	default:
		return Frame{}, fmt.Errorf("%w: of kind %q", ErrFrame, byte(f.Kind))
	}
	n := int(binary.BigEndian.Uint16(r.header[5:]))
	if n > MaxPayload {
		return Frame{}, fmt.Errorf("%w: %d bytes long", ErrFrame, n)
	}
	f.Payload = make([]byte, n)
	if _, err := io.ReadFull(r.r, f.Payload); err != nil {
		return Frame{}, io.ErrUnexpectedEOF
	}
	return f, nil
}

// Writer writes frames, from several goroutines at once.
type Writer struct {
	mu sync.Mutex // held while writing
	w  io.Writer
}

// NewWriter writes frames to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Send writes one frame with one write.
func (w *Writer) Send(f Frame) error {
	if len(f.Payload) > MaxPayload {
		return fmt.Errorf("%w: %d bytes long", ErrFrame, len(f.Payload))
	}
	b := make([]byte, headerLength, headerLength+len(f.Payload))
	b[0] = byte(f.Kind)
	binary.BigEndian.PutUint32(b[1:], f.ID)
	binary.BigEndian.PutUint16(b[5:], uint16(len(f.Payload)))
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.w.Write(append(b, f.Payload...))
	return err
}

// Report is what the payload of a State frame says.
type Report struct {
	// Method is what was asked for; "" if there is no program.
	Method string `json:"method"`
	// Way is what catches the guest's connections: "redirect", "sshuttle", or "" for nothing.
	Way string `json:"way"`
	// Stopped: somebody in the guest asked for nothing to be caught.
	Stopped bool `json:"stopped,omitempty"`
	// Line is what carries the bytes of what is redirected, or is said to the proxy; "" is the guest's SSH server.
	Line Line `json:"line,omitempty"`
	// LineProblem is why it is not what the host has asked for.
	LineProblem string `json:"line_problem,omitempty"`
	// Proxy: the guest's program serves the proxy's ports itself, over the line, as soon as the SSH server lets go of them.
	Proxy bool `json:"proxy,omitempty"`
	// Problem is why it is not the way that was asked for, in one line.
	Problem string `json:"problem,omitempty"`
}

// Line is what carries many connections' bytes between the guest's program and the host, past the guest's SSH server.
type Line string

// The lines there are.
const (
	OverSerial Line = "serial port"
	OverDirect Line = "direct connection"
)

// Offer is what the host says of its end of a direct connection.
type Offer struct {
	Pin []byte `json:"pin"` // as direct.Pin
}

// Place is where the guest's program waits for one, and as whom.
type Place struct {
	Port uint16 `json:"port"`
	Pin  []byte `json:"pin"`
}
