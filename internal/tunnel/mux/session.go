// Package mux carries many connections over one byte stream between a guest and the host. The guest's end
// opens them and says where each wants to go; their sides end one by one.
//
// What must hold: the other end costs a bounded number of streams, and of bytes for each, whatever it says. Who does not
// read its stream holds up no other. What makes no sense ends the session. CALMenu's program in the guest is built from
// it, so it stands on the standard library alone.
package mux

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/calmenu/calmenu/internal/tunnel/pieces"
)

// kind is what a frame is about. A frame is a stream's number, its kind, a number (three bytes) and, for open and data, as
// many bytes of payload.
type kind byte

const (
	open   kind = 'o' // the payload is where the stream leads
	data   kind = 'd'
	credit kind = 'c' // so many more bytes may be sent
	end    kind = 'e' // of the sender's data
	closed kind = 'x' // the sender neither reads nor writes any more
)

const (
	headerLength = 8
	maxTarget    = 64
	// grace is how many streams more than agreed on may be open: those whose end is on its way.
	grace = 16
)

// Sizes are what both ends of a session have to agree on, in bytes.
type Sizes struct {
	// Frame is the most data in a frame.
	Frame int
	// Window is how much of a stream may be on its way, or wait to be read.
	Window int
	// Piece is how many bytes the guest's end best writes at once.
	Piece int
}

var (
	// Serial is for a serial port. Linux passes 32 KiB at a time to one, and a piece is two of them with the header.
	Serial = Sizes{Frame: 64 << 10, Window: 256 << 10, Piece: 64<<10 - headerLength}
	// Network is for a connection over a network: large frames wake both ends less often. A window is as large as one of
	// OpenSSH's channels.
	Network = Sizes{Frame: 1 << 20, Window: 2 << 20, Piece: 1 << 20}
)

// hostPiece is how many bytes the host's end passes on at once at least: it reads what comes from afar less often then than it
// writes frames, which took a fifth less of its processor's time with those for a serial port.
const hostPiece = 512 << 10

// tellAfter is how much of a window has been read when the other end is told. What is left, a frame, keeps that busy until
// then: told more often, both would be woken more often for nothing.
func (s Sizes) tellAfter() int { return s.Window - s.Frame }

// ErrFrame is returned for what makes no sense.
var ErrFrame = errors.New("not a frame of the tunnel's line to the host")

// ErrFull is returned when as many streams are open as may be.
var ErrFull = errors.New("too many connections at once")

// Session is one end.
type Session struct {
	conn     io.ReadWriteCloser
	in       *bufio.Reader
	sizes    Sizes
	most     int
	accepted chan *Stream // nil at the end that opens
	done     chan struct{}
	windows  *pieces.Buffers
	pieces   *pieces.Buffers // what is passed on at once

	writing sync.Mutex // held while writing; guards out
	out     []byte     // a frame; its header alone, if conn takes the payload by itself

	mu      sync.Mutex // guards what follows
	streams map[uint32]*Stream
	next    uint32
	err     error // why it is over
}

// partWriter is a connection that writes two parts as one, so that neither has to be copied behind the other.
type partWriter interface {
	WriteParts(first, second []byte) error
}

// Client is the end that opens streams, at most most at once. in reads from conn.
func Client(conn io.ReadWriteCloser, in *bufio.Reader, sizes Sizes, most int) *Session {
	return begin(&Session{conn: conn, in: in, sizes: sizes, most: most})
}

// Server is the end that accepts them.
func Server(conn io.ReadWriteCloser, in *bufio.Reader, sizes Sizes, most int) *Session {
	most += grace
	return begin(&Session{conn: conn, in: in, sizes: sizes, most: most, accepted: make(chan *Stream, most)})
}

func begin(s *Session) *Session {
	s.windows, s.pieces = pieces.Of(s.sizes.Window), pieces.Of(max(s.sizes.Frame, hostPiece))
	if s.accepted == nil {
		s.pieces = pieces.Of(s.sizes.Piece)
	}
	length := headerLength + s.sizes.Frame
	if _, ok := s.conn.(partWriter); ok {
		length = headerLength
	}
	s.out = make([]byte, headerLength, length)
	s.done = make(chan struct{})
	s.streams = map[uint32]*Stream{}
	go func() {
		defer close(s.done)
		s.fail(s.read())
	}()
	return s
}

// Open opens a stream that leads to a target of at most 64 bytes.
func (s *Session) Open(target string) (*Stream, error) {
	s.mu.Lock()
	st := newStream(s, s.next, target)
	err := s.err
	if err == nil && len(s.streams) >= s.most {
		err = ErrFull
	}
	if err == nil {
		s.streams[s.next] = st
		s.next++
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return st, s.send(st, open, len(target), []byte(target))
}

// Accept returns the next stream the other end opens. The error is why the session is over.
func (s *Session) Accept() (*Stream, error) {
	select {
	case st := <-s.accepted:
		return st, nil
	case <-s.done:
		return nil, s.Err()
	}
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is why the session is over; nil as long as it is not.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session and all its streams.
func (s *Session) Close() error {
	s.fail(net.ErrClosed)
	<-s.done
	return nil
}

func (s *Session) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	err = s.err
	left := s.streams
	s.streams = map[uint32]*Stream{}
	s.mu.Unlock()
	_ = s.conn.Close()
	for _, st := range left {
		st.fail(err)
	}
}

// send writes one frame with one write. A stream that is closed here has nothing more to say.
func (s *Session) send(st *Stream, k kind, n int, payload []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if k != closed && st.over() {
		return net.ErrClosed
	}
	binary.BigEndian.PutUint32(s.out, st.id)
	binary.BigEndian.PutUint32(s.out[4:], uint32(n))
	s.out[4] = byte(k)
	var err error
	if w, ok := s.conn.(partWriter); ok {
		err = w.WriteParts(s.out, payload)
	} else {
		_, err = s.conn.Write(append(s.out, payload...))
	}
	if err != nil {
		s.fail(err) // half a frame may have been written
	}
	return err
}

// read does what the other end says, until that makes no sense or ends. It never writes: the other end might be waiting to
// be read itself.
func (s *Session) read() error {
	var h [headerLength]byte
	for {
		if _, err := io.ReadFull(s.in, h[:]); err != nil {
			return err
		}
		id, k := binary.BigEndian.Uint32(h[:]), kind(h[4])
		n := int(binary.BigEndian.Uint32(h[4:]) & (1<<24 - 1))
		if k == open {
			if err := s.opened(id, n); err != nil {
				return err
			}
			continue
		}
		s.mu.Lock()
		st := s.streams[id]
		s.mu.Unlock()
		if st == nil {
			return fmt.Errorf("%w: %q for no stream", ErrFrame, byte(k))
		}
		var err error
		switch k {
		case data:
			err = st.take(s.in, n)
		case credit:
			err = st.granted(n)
		case end:
			st.ended()
		case closed:
			st.gone()
			s.retire(st, func() { st.heard = true })
		default:
			err = fmt.Errorf("%w: of kind %q", ErrFrame, byte(k))
		}
		if err != nil {
			return err
		}
	}
}

func (s *Session) opened(id uint32, n int) error {
	if s.accepted == nil || n > maxTarget {
		return fmt.Errorf("%w: a stream to %d bytes", ErrFrame, n)
	}
	target := make([]byte, n)
	if _, err := io.ReadFull(s.in, target); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case s.streams[id] != nil:
		return fmt.Errorf("%w: a stream opened twice", ErrFrame)
	case len(s.streams) >= s.most:
		return fmt.Errorf("%w: %w", ErrFrame, ErrFull)
	}
	st := newStream(s, id, string(target))
	s.streams[id] = st
	s.accepted <- st // has room: what was not accepted yet is among the streams
	return nil
}

// retire forgets a stream once both ends have closed it: nothing comes for it any more.
func (s *Session) retire(st *Stream, note func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	note()
	if st.heard && st.told {
		delete(s.streams, st.id)
	}
}
