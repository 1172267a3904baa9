package guest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	jumpCheck = 3 * time.Second // how often the clocks are compared; each time wakes an idle process
	jumpLimit = 5 * time.Second // difference from which on the host is taken to have slept
	// answerWithin is how soon a guest on this host answers a connection that lives. Waiting longer would cost more than
	// another connection does.
	answerWithin = 2 * time.Second
)

var errResumed = errors.New("the host slept or its clock was set")

// Link keeps a connection to a running guest alive: it connects, connects again when the connection ends, and after the
// host slept renews it and corrects the guest's clock. It gives up for good only when the guest's identity is wrong or it
// refuses the workspace's key several times in a row.
type Link struct {
	options  Options
	onChange func(up bool, err error)
	every    time.Duration
	now      func() clocks

	cancel  context.CancelFunc
	stopped chan struct{}
	check   chan struct{} // holds one: the connection is to be proven now
	slept   atomic.Bool   // the host slept, and the guest's clock has not been corrected since

	mu      sync.Mutex
	client  *Client       // nil while there is none
	err     error         // why the link has ended
	changed chan struct{} // closed and replaced whenever client or err change
}

// clocks is one reading of both clocks: the wall clock goes on while the host sleeps, the other does not.
type clocks struct {
	wall time.Time
	mono time.Duration
}

// NewLink starts connecting in the background. onChange, unless nil, is told from one goroutine when the connection
// comes up (err: what went wrong in setting the guest's clock after a sleep, else nil) and when it went down or could
// not be renewed (err: why; the same reason is told once).
func NewLink(o Options, onChange func(up bool, err error)) *Link {
	started := time.Now()
	return newLink(o, onChange, jumpCheck, func() clocks {
		now := time.Now()
		return clocks{wall: now.Round(0), mono: now.Sub(started)}
	})
}

func newLink(o Options, onChange func(up bool, err error), every time.Duration, now func() clocks) *Link {
	if onChange == nil {
		onChange = func(bool, error) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Link{
		options: o, onChange: onChange, every: every, now: now,
		cancel: cancel, stopped: make(chan struct{}), check: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	go l.keep(ctx)
	return l
}

// Client returns the present connection, waiting for one if there is none.
func (l *Link) Client(ctx context.Context) (*Client, error) {
	for {
		l.mu.Lock()
		client, err, changed := l.client, l.err, l.changed
		l.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case client != nil && client.Err() == nil:
			return client, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for connection to guest: %w", context.Cause(ctx))
		}
	}
}

// Check has the connection proven at once: one that does not answer within two seconds is renewed, an attempt that waits is
// made now. After the host slept the guest's clock is corrected as well. It never blocks.
func (l *Link) Check(slept bool) {
	if slept {
		l.slept.Store(true)
	}
	select {
	case l.check <- struct{}{}:
	default:
	}
}

// Close ends the connection and the attempts to renew it, and returns when onChange is called no more.
func (l *Link) Close() error {
	l.cancel()
	<-l.stopped
	return nil
}

func (l *Link) set(client *Client, err error) {
	l.mu.Lock()
	l.client, l.err = client, err
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
}

func (l *Link) keep(ctx context.Context) {
	defer close(l.stopped)
	for {
		client, err := l.connect(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = ErrClosed
			}
			l.set(nil, err)
			l.onChange(false, err)
			return
		}
		since := l.now() // a sleep while all the rest is told of it is one, too
		var clockErr error
		if l.slept.Swap(false) {
			clockErr = correctSoon(ctx, client)
		}
		l.set(client, nil)
		l.onChange(true, clockErr)
		err = l.watch(ctx, client, since)
		if errors.Is(err, errResumed) {
			l.slept.Store(true)
		}
		if ctx.Err() != nil {
			l.set(nil, ErrClosed)
			l.onChange(false, ErrClosed)
			return
		}
		l.set(nil, nil)
		l.onChange(false, err)
	}
}

// connect tries until there is a connection, ctx ends, or the guest's refusal is final.
func (l *Link) connect(ctx context.Context) (*Client, error) {
	told := ""
	pause := 100 * time.Millisecond
	for {
		// WaitConnect is quick, as a guest that boots or wakes deserves; one that stays away for long is asked less often.
		tryCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
		client, err := WaitConnect(tryCtx, l.options, func(_ int, err error) {
			if text := err.Error(); text != told && ctx.Err() == nil {
				told = text
				l.onChange(false, err)
			}
		})
		cancel()
		if err == nil || final(err) || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return client, err
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
			pause = min(2*pause, 5*time.Second)
		case <-l.check:
			again.Stop()
		case <-ctx.Done():
			again.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// watch returns when the connection has ended, and ends it when ctx does or the host slept after last.
func (l *Link) watch(ctx context.Context, client *Client, last clocks) error {
	ticker := time.NewTicker(l.every)
	defer ticker.Stop()
	for {
		select {
		case <-client.Done():
			return client.Err()
		case <-ctx.Done():
			return client.Close()
		case <-l.check:
			if err := l.prove(ctx, client); err != nil {
				client.fail(fmt.Errorf("%w: %w", ErrLost, err))
				return client.Err()
			}
			last = l.now() // what the clocks say of a sleep until now has been seen to
			continue
		case <-ticker.C:
		}
		now := l.now()
		jump := now.wall.Sub(last.wall) - (now.mono - last.mono)
		if jump.Abs() > jumpLimit {
			// The other end may have forgotten this connection; finding out by keepalive takes longer than a new one.
			client.fail(fmt.Errorf("%w: %w", ErrLost, errResumed))
			return client.Err()
		}
		last = now
	}
}

// prove asks the guest for a sign of life, and corrects its clock if the host slept.
func (l *Link) prove(ctx context.Context, client *Client) error {
	soon, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := client.Ping(soon); err != nil {
		return err
	}
	if !l.slept.Swap(false) {
		return nil
	}
	err := correctSoon(ctx, client)
	if err == nil {
		return nil
	}
	l.slept.Store(true)
	if perr := client.Ping(ctx); perr != nil {
		return perr // it went with the connection, and is done over the next one
	}
	l.onChange(true, err)
	return nil
}

// clockTime is how long a guest may take to have its clock corrected.
const clockTime = 20 * time.Second

func correctSoon(ctx context.Context, client *Client) error {
	ctx, cancel := context.WithTimeout(ctx, clockTime)
	defer cancel()
	return client.CorrectClock(ctx)
}
