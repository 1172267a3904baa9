package tunnel

import (
	"io"
	"sync"
)

// Stream is a connection whose sides end one by one.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// relayBuffer is how much is passed on at once, in bytes: two packets of an SSH channel.
const relayBuffer = 64 << 10

var relayBuffers = sync.Pool{New: func() any { return new([relayBuffer]byte) }}

// pass copies until from ends, then ends that side of to.
func pass(to io.Writer, from io.Reader) (int64, error) {
	buf := relayBuffers.Get().(*[relayBuffer]byte)
	defer relayBuffers.Put(buf)
	// Hiding what else the two can do has the buffer used.
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf[:])
	if c, ok := to.(io.Closer); err == nil && !closeWrite(to) && ok {
		_ = c.Close()
	}
	return n, err
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
