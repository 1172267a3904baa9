package tunnel

import (
	"errors"
	"io"
	"sync"

	"github.com/calmenu/calmenu/internal/heap"
)

// Stream is a connection whose sides end one by one.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

const (
	// relayBuffer is how much is passed on at once, in bytes: the largest frame of a line. A connection has one while
	// much comes over it, and idleBuffer otherwise.
	relayBuffer = 512 << 10
	idleBuffer  = 4 << 10
)

var relayBuffers = sync.Pool{New: func() any { return new([relayBuffer]byte) }}

// pass copies until from ends, then ends that side of to.
func pass(to io.Writer, from io.Reader) (n int64, err error) {
	var large *[relayBuffer]byte
	defer func() {
		if large != nil {
			relayBuffers.Put(large)
		}
	}()
	small := make([]byte, idleBuffer)
	for {
		buf := small
		if large != nil {
			buf = large[:]
		}
		read, err := from.Read(buf)
		if read > 0 {
			if large != nil {
				heap.Carried(read)
			}
			wrote, werr := to.Write(buf[:read])
			n += int64(wrote)
			if werr != nil {
				return n, werr
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
		switch {
		case large == nil && read == idleBuffer:
			large = relayBuffers.Get().(*[relayBuffer]byte)
		case large != nil && read < idleBuffer:
			relayBuffers.Put(large)
			large = nil
		}
	}
	if c, ok := to.(io.Closer); !closeWrite(to) && ok {
		_ = c.Close()
	}
	return n, nil
}

// relay copies both ways until both have ended, passing on the end of each by itself. An error ends both.
func relay(near, far io.ReadWriteCloser) (up, down int64, err error) {
	type end struct {
		up  bool
		n   int64
		err error
	}
	ends := make(chan end, 2)
	go func() {
		n, err := pass(far, near)
		ends <- end{true, n, err}
	}()
	go func() {
		n, err := pass(near, far)
		ends <- end{false, n, err}
	}()
	for range 2 {
		e := <-ends
		if e.up {
			up = e.n
		} else {
			down = e.n
		}
		if e.err != nil {
			if err == nil {
				err = e.err
			}
			_ = near.Close()
			_ = far.Close()
		}
	}
	return up, down, err
}

// closeWrite ends one direction of a connection, if it can.
func closeWrite(c io.Writer) bool {
	half, ok := c.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
