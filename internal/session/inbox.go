package session

import (
	"context"
	"io"
	"sync"
)

// inboxLimit is how much typed input waits for a program that takes none, in bytes, before the terminal is not read any
// more. Below it the prefix key works however stuck the program is.
const inboxLimit = 4 << 20

// inbox is a program's input: a pipe with a buffer.
type inbox struct {
	mu     sync.Mutex
	buf    []byte
	closed bool
	data   chan struct{} // receives when there is something to read; capacity 1
	space  chan struct{} // receives when there is room again; capacity 1
}

func newInbox() *inbox {
	return &inbox{data: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

func signalTo(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Read is for one reader at a time; it returns io.EOF after shut.
func (p *inbox) Read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return 0, io.EOF
		}
		if n := copy(b, p.buf); n > 0 || len(b) == 0 {
			p.buf = p.buf[n:]
			if len(p.buf) == 0 {
				p.buf = nil
			}
			p.mu.Unlock()
			signalTo(p.space)
			return n, nil
		}
		p.mu.Unlock()
		<-p.data
	}
}

// put appends input; it waits for room while there is too much, unless ctx ends or the inbox is shut: then it is dropped.
func (p *inbox) put(ctx context.Context, b []byte) {
	for len(b) > 0 {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return
		}
		n := min(len(b), inboxLimit-len(p.buf))
		if n > 0 {
			p.buf = append(p.buf, b[:n]...)
			b = b[n:]
		}
		p.mu.Unlock()
		if n > 0 {
			signalTo(p.data)
			continue
		}
		select {
		case <-p.space:
		case <-ctx.Done():
			return
		}
	}
}

// shut ends a pending Read and put.
func (p *inbox) shut() {
	p.mu.Lock()
	p.closed, p.buf = true, nil
	p.mu.Unlock()
	signalTo(p.data)
	signalTo(p.space)
}
