package session

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/session/topline"
)

const (
	// maxHeld is how much of the program's output is held back while a dialog is open, in bytes; beyond it the program
	// waits.
	maxHeld = 4 << 20
	// groundTime is how long a dialog waits for the end of a sequence the program has begun.
	groundTime = 250 * time.Millisecond
	// restoreTime is how long a terminal that takes no output is waited for before it is given back as it is.
	restoreTime = time.Second
)

// screen is the way to the terminal. Two locks, so that input passes while the terminal takes no output: gate is held by
// whoever writes to the terminal, mu by whoever uses the filter; mu is taken last and not held while writing.
type screen struct {
	out  io.Writer
	gate chan struct{} // holds one token while nobody writes

	mu     sync.Mutex
	filter *topline.Filter

	// Guarded by gate.
	closed   bool
	holding  bool
	wanted   chan struct{} // not nil: a dialog waits for the end of a sequence; closed when it is there
	held     []byte
	released chan struct{} // closed when output is not held any more
	buf      []byte
	last     byte // of the program's output
}

func newScreen(out io.Writer, o topline.Options) *screen {
	s := &screen{out: out, gate: make(chan struct{}, 1), filter: topline.New(o), last: '\n'}
	s.gate <- struct{}{}
	return s
}

// lock takes the gate; false: ctx ended first.
func (s *screen) lock(ctx context.Context) bool {
	select {
	case <-s.gate:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *screen) unlock() { s.gate <- struct{}{} }

// emit writes to the terminal. The caller holds the gate.
func (s *screen) emit(b []byte) error {
	if s.closed || len(b) == 0 {
		return nil
	}
	_, err := s.out.Write(b)
	return err
}

// with lets f use the filter, and writes what it returns.
func (s *screen) with(ctx context.Context, f func(*topline.Filter) []byte) {
	if !s.lock(ctx) {
		return
	}
	defer s.unlock()
	s.mu.Lock()
	b := f(s.filter)
	s.mu.Unlock()
	_ = s.emit(b) // a terminal that is gone is noticed by the reader
}

// write takes the program's output: to the terminal, or into what is held. It waits while too much is held.
func (s *screen) write(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		if !s.lock(ctx) {
			return context.Cause(ctx)
		}
		if s.holding {
			n := min(len(b), maxHeld-len(s.held))
			s.held = append(s.held, b[:n]...)
			b = b[n:]
			released := s.released
			s.unlock()
			if n == 0 {
				select {
				case <-released:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			continue
		}
		n, err := s.pass(b)
		s.unlock()
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// pass sends output through the filter to the terminal: all of it, or up to the end of a sequence a dialog waits for.
func (s *screen) pass(b []byte) (int, error) {
	s.mu.Lock()
	n := len(b)
	s.last = b[n-1]
	if s.wanted == nil {
		s.buf = s.filter.Output(s.buf[:0], b)
	} else {
		s.buf, n = s.buf[:0], 0
		for n < len(b) && !s.filter.Ground() {
			s.buf = s.filter.Output(s.buf, b[n:n+1])
			n++
		}
		if s.filter.Ground() {
			s.hold()
		}
	}
	s.mu.Unlock()
	return n, s.emit(s.buf)
}

// hold begins to hold output back. The caller holds the gate.
func (s *screen) hold() {
	s.holding, s.released = true, make(chan struct{})
	if s.wanted != nil {
		close(s.wanted)
		s.wanted = nil
	}
}

// cancelByte (CAN) ends whatever sequence a terminal is in.
const cancelByte = 0x18

// capture holds output back from the next end of a sequence on, and returns when that has come. A program that is stuck
// within a sequence is cut off after groundTime.
func (s *screen) capture(ctx context.Context) bool {
	if !s.lock(ctx) {
		return false
	}
	if s.ground() {
		s.hold()
		s.unlock()
		return true
	}
	ready := make(chan struct{})
	s.wanted = ready
	s.unlock()
	timer := time.NewTimer(groundTime)
	defer timer.Stop()
	select {
	case <-ready:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	if !s.lock(ctx) {
		return false
	}
	defer s.unlock()
	if !s.holding {
		s.cut()
		s.hold()
	}
	return true
}

func (s *screen) ground() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.filter.Ground()
}

// cut ends a sequence the program left unfinished. The caller holds the gate.
func (s *screen) cut() {
	s.mu.Lock()
	b := s.filter.Output(nil, []byte{cancelByte})
	s.mu.Unlock()
	_ = s.emit(b)
}

// release shows again what the program shows: erase removes what dialogs drew, then comes what was held.
func (s *screen) release(ctx context.Context, erase []byte) {
	if !s.lock(ctx) {
		return
	}
	defer s.unlock()
	if !s.holding {
		return
	}
	s.mu.Lock()
	var b []byte
	if len(erase) > 0 {
		b = append(b, s.filter.Overlay(erase)...)
	}
	b = append(b, s.filter.Redraw()...)
	b = s.filter.Output(b, s.held)
	s.mu.Unlock()
	s.holding, s.held = false, nil
	close(s.released)
	_ = s.emit(b)
}

// settle brings the screen into order after a program has ended in the middle of something.
func (s *screen) settle(ctx context.Context) {
	if !s.lock(ctx) {
		return
	}
	defer s.unlock()
	s.cut()
	s.mu.Lock()
	b := s.filter.Redraw()
	s.mu.Unlock()
	_ = s.emit(b)
}

// end gives the terminal's state back, and writes nothing from then on. A terminal that takes no output is given up. The
// cursor is left at the beginning of a line.
func (s *screen) end(sequences bool) {
	timer := time.NewTimer(restoreTime)
	defer timer.Stop()
	select {
	case <-s.gate:
		defer s.unlock()
	case <-timer.C:
		return
	}
	if s.closed {
		return
	}
	s.mu.Lock()
	b := s.filter.End()
	s.mu.Unlock()
	if sequences {
		b = append(b, "\x1b[?25h"...)
	}
	if s.last != '\n' {
		b = append(b, "\r\n"...)
	}
	_ = s.emit(b)
	s.closed = true
}
