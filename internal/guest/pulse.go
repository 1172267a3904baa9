package guest

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

const (
	// askAfter is how long nothing may come from a guest before it is asked for a sign of life.
	askAfter = 300 * time.Millisecond
	// patienceMin and patienceMax bound how long its answer is waited for. A guest at rest answers in a few milliseconds, one
	// that is emulated and at work on all its processors in some hundreds.
	patienceMin = 600 * time.Millisecond
	patienceMax = 3 * time.Second
	// relook is how often a silent guest is looked at: what it says may be other than the answer.
	relook = 100 * time.Millisecond
)

// ear is a connection that remembers when something came, and acknowledges a burst's end at once where that can be done.
type ear struct {
	net.Conn
	ack func() // nil: it cannot
	// terminals are those that are shown over it. While there are any, the server sends all at once by itself.
	terminals *atomic.Int32
	born      time.Time
	last      atomic.Int64 // nanoseconds since born
}

func newEar(conn net.Conn, terminals *atomic.Int32) *ear {
	return &ear{Conn: conn, ack: quickAck(conn), terminals: terminals, born: time.Now()}
}

func (e *ear) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if n > 0 {
		e.last.Store(int64(time.Since(e.born)))
		if e.ack != nil && n < len(p) && e.terminals.Load() == 0 {
			e.ack()
		}
	}
	return n, err
}

// NetConn is what it writes to.
func (e *ear) NetConn() net.Conn {
	if below, ok := e.Conn.(interface{ NetConn() net.Conn }); ok {
		return below.NetConn()
	}
	return e.Conn
}

// heard is when the last bytes came.
func (e *ear) heard() time.Time { return e.born.Add(time.Duration(e.last.Load())) }

// pulse is what finds out whether a guest answers. It answers if anything comes from it: an answer waits its turn behind
// other data, and who sends data lives. One that does not is silent since it was last heard.
type pulse struct {
	heard func() time.Time
	ask   func(context.Context) error // returns when the answer is there
	done  <-chan struct{}             // closed when the connection has ended
}

// WatchSilence tells since when the guest does not answer, as soon as it does not, and the zero time when it answers again,
// until ctx or the connection ends; the connection stays, whatever it finds. A guest is silent if nothing comes from it for
// 0.3 s, and then no answer to a question for 0.6 s, or for up to three seconds if it took long to answer lately. A guest that
// says nothing is woken three times a second, so this is for as long as somebody looks on.
func (c *Client) WatchSilence(ctx context.Context, told func(since time.Time)) {
	p := pulse{heard: c.raw.heard, ask: c.Ping, done: c.done}
	p.watch(ctx, told)
}

func (p pulse) watch(ctx context.Context, told func(since time.Time)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		begun    = time.Now() // or the end of a time in which this process itself stood still
		asked    time.Time
		waiting  bool // for the answer
		answered = make(chan error, 1)
		slowest  time.Duration // to answer lately
		silent   bool
		stood    bool // the guest was silent while this answer was waited for
	)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now, heard := time.Now(), p.heard()
		var due time.Time // when there is something to do
		switch {
		case !waiting:
			if due = latest(heard, asked).Add(askAfter); !now.Before(due) {
				asked, waiting, stood = now, true, false
				go func() { answered <- p.ask(ctx) }()
				continue
			}
		case silent:
			due = now.Add(relook)
		default:
			patience := min(max(2*slowest, patienceMin), patienceMax)
			if due = latest(heard, asked, begun).Add(patience); !now.Before(due) {
				silent, stood = true, true
				told(latest(heard, begun))
				continue
			}
		}
		timer.Reset(due.Sub(now))
		select {
		case err := <-answered:
			took := time.Since(asked)
			// One that took longer than any would be waited for is of a guest that stood still: it says nothing of the next.
			if waiting = false; err == nil && (!stood || took <= patienceMax) {
				if stood {
					took = min(took, patienceMin)
				}
				slowest = max(took, slowest*9/10) // a peak is forgotten over some ten seconds
			}
		case <-timer.C:
			if time.Since(due) > patienceMin {
				begun = time.Now()
			}
		case <-ctx.Done():
			return
		case <-p.done:
			return
		}
		if silent && p.heard().After(heard) {
			silent = false
			told(time.Time{})
		}
	}
}

func latest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.After(first) {
			first = t
		}
	}
	return first
}
