// Package pieces has large buffers for connections over which much comes, as long as that is so, and little ones otherwise.
// CALMenu's program in the guest is built from it, so it stands on the standard library alone.
package pieces

import (
	"errors"
	"io"
	"sync"
)

// Little is how large the buffer of a connection is over which little comes at once, in bytes.
const Little = 4 << 10

// Buffers are the large ones, all of one size.
type Buffers struct {
	size int
	pool sync.Pool
}

// Of are buffers of size bytes, more than Little.
func Of(size int) *Buffers { return &Buffers{size: size} }

// Get returns one, with anything in it.
func (b *Buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, b.size)
}

// Put takes one back.
func (b *Buffers) Put(p []byte) { b.pool.Put(&p) }

// Copy copies until from ends, with one of the buffers while much comes. It returns how many bytes to has taken.
func (b *Buffers) Copy(to io.Writer, from io.Reader) (n int64, err error) {
	little := make([]byte, Little)
	buf := little
	defer func() {
		if len(buf) > Little {
			b.Put(buf)
		}
	}()
	for {
		read, err := from.Read(buf)
		if read > 0 {
			wrote, err := to.Write(buf[:read])
			n += int64(wrote)
			if err != nil {
				return n, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		case len(buf) == Little && read == Little:
			buf = b.Get()
		case len(buf) > Little && read < Little:
			b.Put(buf)
			buf = little
		}
	}
}
