package sync

import (
	"errors"
	"time"
)

// A guest that is silent is given up soon. One that drips a byte now and then would hold a pass, for whose end others wait,
// for as long as it likes. So it has a credit of time, which waiting for it spends and what it delivers earns: over minutes
// it has to keep up the least pace. An emulated guest on a busy host is a hundred times as fast.
const (
	// stallTimeout is how long a guest may be silent in the midst of an answer.
	stallTimeout = time.Minute
	// patience is the credit that a guest begins with, and the most it can have.
	patience   = 2 * time.Minute
	leastRate  = 32 << 10 // bytes of content a second
	leastNames = 20       // entries listed, or files ended, a second
)

// ErrStalled is returned if the guest stopped answering in the midst of a listing or a transfer.
var ErrStalled = errors.New("the guest has stopped answering")

// ErrTooSlow is returned if the guest has answered for minutes, but hardly.
var ErrTooSlow = errors.New("the guest answers too slowly to be waited for")

// earned is the time that a guest has earned by what it has delivered.
func earned(bytes int64, names int) time.Duration {
	return time.Duration(bytes)*time.Second/leastRate + time.Duration(names)*time.Second/leastNames
}

// credit is how long a guest is still waited for.
type credit struct {
	left  time.Duration
	since time.Time // when waiting began
}

// wait begins to wait, and returns for how long at most.
func (c *credit) wait() time.Duration {
	c.since = time.Now()
	return max(0, min(stallTimeout, c.left))
}

// heard ends to wait.
func (c *credit) heard() { c.left -= time.Since(c.since) }

// earn adds to what is left.
func (c *credit) earn(d time.Duration) { c.left = min(patience, c.left+d) }

// over is why nobody waits any longer, after what wait has returned.
func (c *credit) over() error {
	if c.left < stallTimeout {
		return ErrTooSlow
	}
	return ErrStalled
}
