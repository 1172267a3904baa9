package mux

import "github.com/calmenu/calmenu/internal/tunnel/pieces"

// ring holds what waits to be read, never more than a window.
type ring struct {
	windows    *pieces.Buffers // as large as a window
	buf        []byte
	head, size int
}

// space returns where the next n bytes go; they are counted by who fills them.
func (r *ring) space(n int) (first, second []byte) {
	if need := r.size + n; need > len(r.buf) {
		var larger []byte
		if need <= pieces.Little {
			larger = make([]byte, pieces.Little)
		} else {
			larger = r.windows.Get()
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
	if buf := r.buf; len(buf) > pieces.Little {
		r.windows.Put(buf)
		r.buf = nil
	}
}
