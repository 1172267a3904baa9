package mux

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Stream is one connection. Its methods may be called from several goroutines, but Read and Write from one each.
type Stream struct {
	s      *Session
	id     uint32
	target string

	heard, told bool // that it is closed at the other end, and here; guarded by the session's mu

	mu       sync.Mutex // guards what follows
	readable sync.Cond
	writable sync.Cond
	wait     ring
	filling  bool  // the ring, by take
	room     int   // what the other end may still send, in bytes
	taken    int   // by Read, which the other end was not told of
	credit   int   // what may be sent, in bytes
	finished bool  // all data has come
	cut      error // why there is no more, without an end
	mute     bool  // nothing is written any more
	shut     bool  // here
	onCut    func()
}

func newStream(s *Session, id uint32, target string) *Stream {
	st := &Stream{s: s, id: id, target: target, room: s.sizes.Window, credit: s.sizes.Window}
	st.wait.windows = s.windows
	st.readable.L, st.writable.L = &st.mu, &st.mu
	return st
}

// Target is where the stream leads, in the words of who opened it.
func (st *Stream) Target() string { return st.target }

// OnCut has f called, unless it is nil, when the other end has closed the stream or the session is over; at once if that
// is so. f must not wait for anything.
func (st *Stream) OnCut(f func()) {
	st.mu.Lock()
	st.onCut = f
	now := st.cut != nil
	st.mu.Unlock()
	if now && f != nil {
		f()
	}
}

func (st *Stream) over() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.shut
}

// take reads n bytes of data.
func (st *Stream) take(in *bufio.Reader, n int) error {
	st.mu.Lock()
	if n < 1 || n > st.s.sizes.Frame || n > st.room || st.finished || st.cut != nil {
		st.mu.Unlock()
		return fmt.Errorf("%w: %d bytes of data nobody asked for", ErrFrame, n)
	}
	st.room -= n
	if st.shut {
		st.mu.Unlock()
		_, err := in.Discard(n)
		return err
	}
	first, second := st.wait.space(n)
	st.filling = true
	st.mu.Unlock()
	// Not with the lock: a frame whose rest does not come holds up nobody who wants to close the stream.
	_, err := io.ReadFull(in, first)
	if err == nil {
		_, err = io.ReadFull(in, second)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.filling = false; st.shut {
		st.wait = ring{windows: st.wait.windows}
		return err
	}
	if err == nil {
		st.wait.size += n
		st.readable.Signal()
	}
	return err
}

func (st *Stream) granted(n int) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.credit += n; st.credit > st.s.sizes.Window {
		return fmt.Errorf("%w: credit for %d bytes", ErrFrame, st.credit)
	}
	st.writable.Signal()
	return nil
}

func (st *Stream) ended() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.finished = true
	st.readable.Broadcast()
}

func (st *Stream) gone() { st.fail(io.ErrUnexpectedEOF) }

// fail has what has come read, and then err.
func (st *Stream) fail(err error) {
	st.mu.Lock()
	if st.cut != nil {
		st.mu.Unlock()
		return
	}
	st.cut = err
	st.readable.Broadcast()
	st.writable.Broadcast()
	f := st.onCut
	st.mu.Unlock()
	if f != nil {
		f()
	}
}

// Read returns io.EOF after the other end's CloseWrite, and io.ErrUnexpectedEOF if it closed without one.
func (st *Stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	st.mu.Lock()
	if err := st.await(); err != nil {
		st.mu.Unlock()
		return 0, err
	}
	n := st.wait.read(b)
	st.took(n)
	return n, nil
}

// WriteTo implements io.WriterTo, without a buffer of its own: instead of Read, not beside it.
func (st *Stream) WriteTo(w io.Writer) (n int64, err error) {
	for {
		st.mu.Lock()
		if err := st.await(); err != nil {
			st.mu.Unlock()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		// What comes meanwhile is put behind these bytes, or they are left as they are and a larger ring has them too.
		next := st.wait.next()
		st.mu.Unlock()
		wrote, err := w.Write(next)
		n += int64(wrote)
		if err != nil {
			return n, err
		}
		st.mu.Lock()
		if st.shut {
			st.mu.Unlock()
			return n, net.ErrClosed
		}
		st.wait.skip(wrote)
		st.took(wrote)
	}
}

// await waits for something to read; the error is why there is nothing. Its caller holds mu.
func (st *Stream) await() error {
	for st.wait.size == 0 && !st.finished && st.cut == nil && !st.shut {
		st.readable.Wait()
	}
	switch {
	case st.shut:
		return net.ErrClosed
	case st.wait.size > 0:
		return nil
	case st.finished:
		return io.EOF
	}
	return st.cut
}

// took counts what was read and tells the other end, if that is much. It unlocks mu, which its caller holds.
func (st *Stream) took(n int) {
	if st.wait.size == 0 && !st.filling {
		st.wait.release()
	}
	st.taken += n
	more := 0
	if st.taken >= st.s.sizes.tellAfter() && !st.finished && st.cut == nil {
		more, st.taken = st.taken, 0
		st.room += more
	}
	st.mu.Unlock()
	if more > 0 {
		_ = st.s.send(st, credit, more, nil) // the reader has its bytes; that the session is over is told next
	}
}

// Write waits for the other end to have room.
func (st *Stream) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		st.mu.Lock()
		for st.credit == 0 && st.cut == nil && !st.mute && !st.shut {
			st.writable.Wait()
		}
		switch {
		case st.shut, st.mute:
			err = net.ErrClosed
		case st.cut != nil:
			err = st.cut
		}
		part := min(len(b), st.credit, st.s.sizes.Frame)
		if err == nil {
			st.credit -= part
		}
		st.mu.Unlock()
		if err == nil {
			err = st.s.send(st, data, part, b[:part])
		}
		if err != nil {
			return n, err
		}
		n += part
		b = b[part:]
	}
	return n, nil
}

// ReadFrom implements io.ReaderFrom. It does not tell the other end that all has been written.
func (st *Stream) ReadFrom(r io.Reader) (int64, error) { return st.s.pieces.Copy(st, r) }

// CloseWrite tells the other end that all has been written. What that writes can still be read.
func (st *Stream) CloseWrite() error {
	st.mu.Lock()
	first := !st.mute
	st.mute = true
	st.writable.Broadcast()
	st.mu.Unlock()
	if !first {
		return nil
	}
	return st.s.send(st, end, 0, nil)
}

// Close ends both sides. What has come and was not read is lost.
func (st *Stream) Close() error {
	st.mu.Lock()
	if st.shut {
		st.mu.Unlock()
		return nil
	}
	st.shut = true
	if !st.filling {
		st.wait = ring{windows: st.wait.windows}
	}
	st.readable.Broadcast()
	st.writable.Broadcast()
	st.mu.Unlock()
	st.s.retire(st, func() { st.told = true })
	return st.s.send(st, closed, 0, nil)
}
