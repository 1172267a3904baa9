package sshuttle

import (
	"io"
	"sync"
	"syscall"
)

// channel is one connection of the client's. It is a tunnel.Stream.
type channel struct {
	s  *session
	id uint16

	mu      sync.Mutex // guards all below; never held while sending
	arrived sync.Cond  // data, or the end
	in      queue      // from the client

	inEnded  bool // the client sends nothing more, or was told to
	outEnded bool // the client takes nothing more, or was told that nothing comes
	closed   bool
}

func newChannel(s *session, id uint16) *channel {
	c := &channel{s: s, id: id}
	c.arrived.L = &c.mu
	return c
}

// push takes data from the client and returns how much waits to be read. A reader that waits hears of it from tell.
func (c *channel) push(data []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inEnded || c.closed {
		return 0
	}
	c.in.push(data)
	c.s.waiting.Add(int64(len(data)))
	return c.in.size
}

func (c *channel) tell() {
	c.mu.Lock()
	c.arrived.Signal()
	c.mu.Unlock()
}

// waits is how much waits to be read.
func (c *channel) waits() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in.size
}

func (c *channel) Read(p []byte) (int, error) {
	c.mu.Lock()
	for c.in.size == 0 && !c.inEnded && !c.closed {
		c.arrived.Wait()
	}
	if c.closed {
		c.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	n := c.in.read(p)
	ended := n == 0 && c.inEnded
	c.mu.Unlock()
	c.s.drained(n)
	if ended && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *channel) Write(p []byte) (int, error) {
	if err := c.s.out.sendData(c.id, p, c.unwanted); err != nil {
		return 0, err
	}
	return len(p), nil
}

// unwanted is why the client takes nothing more.
func (c *channel) unwanted() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outEnded || c.closed {
		return syscall.EPIPE
	}
	return nil
}

// CloseWrite tells the client that nothing more comes.
func (c *channel) CloseWrite() error {
	c.mu.Lock()
	tell := !c.outEnded
	c.outEnded = true
	over := c.inEnded
	c.mu.Unlock()
	if tell {
		if over {
			c.s.forget(c) // before the client can hear of it and use the number again
		}
		c.s.out.send(c.id, cmdTCPEOF, nil, true)
	}
	return nil
}

// Close ends both sides.
func (c *channel) Close() error {
	c.mu.Lock()
	first := !c.closed
	stop, eof := first && !c.inEnded, first && !c.outEnded
	left := 0
	if first {
		c.closed, c.inEnded, c.outEnded = true, true, true
		left = c.in.clear()
		c.arrived.Broadcast()
	}
	c.mu.Unlock()
	if !first {
		return nil
	}
	c.s.drained(left)
	c.s.forget(c)
	if stop {
		c.s.out.send(c.id, cmdTCPStopSending, nil, true)
	}
	if eof {
		c.s.out.send(c.id, cmdTCPEOF, nil, true)
	}
	c.s.out.wake()
	return nil
}

// heardEOF: the client sends nothing more.
func (c *channel) heardEOF() {
	c.mu.Lock()
	c.inEnded = true
	over := c.outEnded
	c.arrived.Broadcast()
	c.mu.Unlock()
	if over {
		c.s.forget(c)
	}
}

// heardStop: the client takes nothing more.
func (c *channel) heardStop() {
	c.mu.Lock()
	c.outEnded = true
	over := c.inEnded
	c.mu.Unlock()
	if over {
		c.s.forget(c)
	}
	c.s.out.wake()
}
