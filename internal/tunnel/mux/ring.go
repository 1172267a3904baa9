package mux

import "sync"

// small is the buffer of a stream over which little comes at once, in bytes.
const small = 4 << 10

var windows = sync.Pool{New: func() any { return new([window]byte) }}

// ring holds what waits to be read, never more than a window.
type ring struct {
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
			larger = windows.Get().(*[window]byte)[:]
		}
		size := r.size
		r.read(larger[:size])
		*r = ring{buf: larger, size: size}
	}
	at := (r.head + r.size) % len(r.buf)
	first = r.buf[at:min(at+n, len(r.buf))]
	return first, r.buf[:n-len(first)]
}

func (r *ring) read(b []byte) (n int) {
	for n < len(b) && r.size > 0 {
		part := copy(b[n:], r.buf[r.head:min(r.head+r.size, len(r.buf))])
		r.head = (r.head + part) % len(r.buf)
		r.size -= part
		n += part
	}
	return n
}

// release gives the memory of an empty ring back, unless it is little.
func (r *ring) release() {
	r.head = 0
	if len(r.buf) == window {
		windows.Put((*[window]byte)(r.buf))
		r.buf = nil
	}
}
