package tunnel

import (
	"io"

	"github.com/calmenu/calmenu/internal/heap"
	"github.com/calmenu/calmenu/internal/tunnel/pieces"
)

// Stream is a connection whose sides end one by one.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// replayed is a stream with what was read of it already.
type replayed struct {
	Stream
	seen []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.seen) > 0 {
		n := copy(p, r.seen)
		r.seen = r.seen[n:]
		return n, nil
	}
	return r.Stream.Read(p)
}

// bare is the connection itself, which may have better ways to be read and written, and what was read of it already.
func bare(c io.ReadWriteCloser) (io.ReadWriteCloser, []byte) {
	var seen []byte
	for {
		r, ok := c.(*replayed)
		if !ok {
			return c, seen
		}
		seen = append(seen, r.seen...)
		c = r.Stream
	}
}

// relayed are the buffers of connections that have none of their own: those over SSH.
var relayed = pieces.Of(512 << 10)

// carrying has garbage gather while much is carried.
type carrying struct{ to io.Writer }

func (c carrying) Write(b []byte) (int, error) {
	if len(b) > pieces.Little {
		heap.Carried(len(b))
	}
	return c.to.Write(b)
}

// pass copies what was seen of from and what comes until it ends, then ends that side of to.
func pass(to io.Writer, seen []byte, from io.Reader) (n int64, err error) {
	if len(seen) > 0 {
		wrote, err := to.Write(seen)
		if n = int64(wrote); err != nil {
			return n, err
		}
	}
	copied, err := copyAll(to, from)
	if n += copied; err != nil {
		return n, err
	}
	if c, ok := to.(io.Closer); !closeWrite(to) && ok {
		_ = c.Close()
	}
	return n, nil
}

// copyAll copies until from ends. A line's streams have buffers of their own.
func copyAll(to io.Writer, from io.Reader) (int64, error) {
	if line, ok := from.(io.WriterTo); ok {
		return line.WriteTo(to)
	}
	if line, ok := to.(io.ReaderFrom); ok {
		return line.ReadFrom(from)
	}
	return relayed.Copy(carrying{to}, from)
}

// relay copies both ways until both have ended, passing on the end of each by itself. An error ends both.
func relay(near, far io.ReadWriteCloser) (up, down int64, err error) {
	type end struct {
		up  bool
		n   int64
		err error
	}
	ends := make(chan end, 2)
	near, seen := bare(near)
	go func() {
		n, err := pass(far, seen, near)
		ends <- end{true, n, err}
	}()
	go func() {
		n, err := pass(near, nil, far)
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
