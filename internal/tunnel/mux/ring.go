package mux

import "sync"

// small is the buffer of a stream over which little comes at once, in bytes.
const small = 4 << 10

// windows are buffers as large as a stream's window.
type windows struct {
	size int
	pool sync.Pool
}

func (w *windows) get() []byte {
	if b, ok := w.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, w.size)
}

// ring holds what waits to be read, never more than a window.
type ring struct {
	windows    *windows
	buf        []byte
	head, size int
}

// space returns where the next n bytes go; they are counted by who fills them.
func (r *ring) space(n int) (first, second []byte) {
	if need := r.size + n; need > len(r.buf) {
		var larger []byte
		if need <= small {
			larger = make([]byte, small)
		} else {
			larger = r.windows.get()
		}
		size := r.size
		r.read(larger[:size])
		*r = ring{windows: r.windows, buf: larger, size: size}
	}
	at := (r.head + r.size) % len(r.buf)
	first = r.buf[at:min(at+n, len(r.buf))]
	return first, r.buf[:n-len(first)]
}

// next is what is to be read next, as far as it lies together.
func (r *ring) next() []byte { return r.buf[r.head:min(r.head+r.size, len(r.buf))] }

// skip forgets the next n bytes, which lie together.
func (r *ring) skip(n int) {
	r.head = (r.head + n) % len(r.buf)
	r.size -= n
}

func (r *ring) read(b []byte) (n int) {
	for n < len(b) && r.size > 0 {
		part := copy(b[n:], r.next())
		r.skip(part)
		n += part
	}
	return n
}

// release gives the memory of an empty ring back, unless it is little.
func (r *ring) release() {
	r.head = 0
	if buf := r.buf; len(buf) > small {
		r.windows.pool.Put(&buf)
		r.buf = nil
	}
}
