package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	gosync "sync"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/sync/wire"
)

// call is a question that the helper answers by frames. Its methods are called from one goroutine.
type call interface {
	// frame takes a frame, and tells whether it was the last.
	frame(kind byte, d *wire.Decoder) (done bool, err error)
	// data takes the next bytes of a file.
	data(id uint32, b []byte) error
	// beat hears that the helper is at work.
	beat()
	// gained is the time that what has come since it was last asked has earned.
	gained() time.Duration
}

var errProtocol = errors.New("the helper says what nobody asked for")

// session is one run of the helper. What it says is taken by one goroutine, which is that of the command's output.
type session struct {
	o      Options
	out    *outgoing
	cancel context.CancelCauseFunc
	ready  chan struct{} // closed when it has said its first word
	done   chan struct{} // closed when it has ended
	err    error         // why; written before done is closed

	parser  wire.Parser
	greeted bool
	reset   *taker // the listing that Watch begins with

	mu      gosync.Mutex // guards what follows
	current call
	answer  chan error // of the current call
	asked   call       // the current one until it has returned
	stall   *time.Timer
	credit  credit
	news    func(Change)
}

func newSession(ctx context.Context, r Runner, o Options, argv []string) *session {
	// It outlives the call it was started for, but not for lack of what that call knows.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	s := &session{
		o: o, out: newOutgoing(), cancel: cancel, ready: make(chan struct{}), done: make(chan struct{}),
	}
	s.parser = wire.Parser{Frame: s.frame, Data: s.data}
	box := wire.Outbox{Dir: o.GuestDir, MaxEntries: o.Limits.MaxFiles, MaxDepth: o.Limits.MaxDepth}
	s.out.add(wire.AppendFrame(nil, wire.Hello, box.Append(nil)))
	context.AfterFunc(ctx, s.out.close) // a runner may wait for what it reads from
	go func() {
		var complaints complaint
		exit, err := r.Stream(ctx, guest.Cmd{Argv: argv, Stdin: s.out}, s, &complaints)
		switch cause := context.Cause(ctx); {
		case cause != nil:
			err = cause
		case err == nil:
			err = fmt.Errorf("the helper ended with %d: %s", exit, complaints.String())
		}
		s.out.close()
		cancel(err)
		s.err = err
		close(s.done)
	}()
	return s
}

func (s *session) alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// end ends the helper and waits until nothing of it is taken any more.
func (s *session) end(cause error) {
	s.cancel(cause)
	s.out.close()
	<-s.done
}

// Write takes what the helper says. An error ends it.
func (s *session) Write(b []byte) (int, error) {
	s.hush(false) // what the host takes its time for is not the guest's silence
	n, err := s.parser.Write(b)
	if err != nil {
		s.cancel(err) // the first error is the one that counts
	}
	s.hush(true)
	return n, err
}

// hush begins or ends the time that the helper may be silent.
func (s *session) hush(begin bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stall == nil:
	case begin:
		s.credit.earn(s.asked.gained())
		s.stall.Reset(s.credit.wait())
	default:
		s.stall.Stop()
		s.credit.heard()
	}
}

func (s *session) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel(s.credit.over())
}

// call asks, and waits until all of the answer has come. Nothing takes frames any more when it returns.
func (s *session) call(ctx context.Context, c call, ask func() error) error {
	answer := make(chan error, 1)
	s.mu.Lock()
	s.current, s.answer, s.asked, s.credit = c, answer, c, credit{left: patience}
	stall := time.AfterFunc(s.credit.wait(), s.giveUp)
	s.stall = stall
	s.mu.Unlock()
	err := ask()
	if err == nil {
		err = s.answered(ctx, answer)
	}
	s.mu.Lock()
	s.current, s.answer, s.asked, s.stall = nil, nil, nil, nil
	s.mu.Unlock()
	stall.Stop()
	return err
}

func (s *session) answered(ctx context.Context, answer <-chan error) (err error) {
	select {
	case err = <-answer:
	case <-ctx.Done():
		s.end(ctx.Err())
		err = ctx.Err()
	case <-s.done:
		select {
		case err = <-answer:
		default:
			err = s.err
		}
	}
	return err
}

func (s *session) askList() error {
	s.out.add(wire.AppendFrame(nil, wire.List, nil))
	return nil
}

// watch has news told, from now on or no more.
func (s *session) watch(news func(Change)) {
	s.mu.Lock()
	s.news = news
	s.mu.Unlock()
	if news != nil {
		s.out.add(wire.AppendFrame(nil, wire.Watch, nil))
	}
}

func (s *session) data(id uint32, b []byte) error {
	s.mu.Lock()
	c := s.current
	s.mu.Unlock()
	if c == nil {
		return errProtocol
	}
	return c.data(id, b)
}

func (s *session) frame(kind byte, payload []byte) error {
	d := wire.NewDecoder(payload)
	if !s.greeted {
		if kind != wire.Ready || d.Uint() != wire.Version || d.Err() != nil {
			return errProtocol
		}
		s.greeted = true
		close(s.ready)
		return nil
	}
	switch kind {
	case wire.Failure:
		return fmt.Errorf("the helper cannot go on: %s", display(d.Text()))
	case wire.Beat:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.current != nil {
			s.current.beat()
		}
		return nil
	case wire.Reset, wire.Put, wire.Gone:
		return s.watched(kind, d)
	case wire.Entries, wire.End:
		number := uint32(d.Uint())
		if number == wire.Watched {
			return s.watched(kind, d)
		}
		d = wire.NewDecoder(payload)
	}
	s.mu.Lock()
	c, answer := s.current, s.answer
	s.mu.Unlock()
	if c == nil {
		return errProtocol
	}
	done, err := c.frame(kind, d)
	if err == nil {
		err = d.Err()
	}
	if done || err != nil {
		s.mu.Lock()
		s.current = nil
		s.mu.Unlock()
		answer <- err
	}
	return err
}

// watched takes a frame of a watch.
func (s *session) watched(kind byte, d *wire.Decoder) error {
	var change Change
	switch {
	case kind == wire.Reset:
		s.reset = &taker{max: s.o.Limits.MaxFiles}
		return d.Err()
	case kind == wire.Put:
		err := d.EntriesOf(func(e Entry) error {
			change.Put = append(change.Put, e)
			return nil
		})
		if err != nil {
			return err
		}
	case kind == wire.Gone:
		for d.More() {
			change.Gone = append(change.Gone, d.Text())
		}
	case s.reset == nil:
		return errProtocol
	case kind == wire.Entries:
		return d.EntriesOf(s.reset.take)
	default:
		s.reset.listing.More = s.reset.listing.More || d.Uint() != 0
		change.All, s.reset = &s.reset.listing, nil
	}
	if err := d.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	news := s.news
	s.mu.Unlock()
	if news != nil {
		news(change)
	}
	return nil
}

// firstEntries is how many a listing has room for at first: as many as most have, since memory that is not written to costs
// nothing.
const firstEntries = 16 << 10

// taker makes a listing of entries as they come, no longer than it may be.
type taker struct {
	max     int
	listing Listing
	over    int
	counted int // entries that have earned time
}

var errEndless = errors.New("the helper lists without end")

func (t *taker) take(e Entry) error {
	switch {
	case e.Name == "" && t.listing.Root == nil:
		root := e // of thousands, none but this goes to the heap by itself
		t.listing.Root = &root
	case e.Name == "":
		return errProtocol
	case len(t.listing.Entries) < t.max:
		if n := len(t.listing.Entries); n == cap(t.listing.Entries) { // append alone would copy each five times
			more := make([]Entry, n, min(max(2*n, firstEntries), t.max))
			copy(more, t.listing.Entries)
			t.listing.Entries = more
		}
		t.listing.Entries = append(t.listing.Entries, e)
	default:
		t.listing.More = true
		if t.over++; t.over > t.max {
			return errEndless
		}
	}
	return nil
}

// fresh is how many entries have come since it was last asked.
func (t *taker) fresh() int {
	before := t.counted
	t.counted = len(t.listing.Entries) + t.over
	return t.counted - before
}

// listCall is the question for all there is.
type listCall struct{ taker }

func (c *listCall) data(uint32, []byte) error { return errProtocol }

func (c *listCall) beat() {}

func (c *listCall) gained() time.Duration { return earned(0, c.fresh()) }

func (c *listCall) frame(kind byte, d *wire.Decoder) (done bool, err error) {
	if number := uint32(d.Uint()); number != wire.WholeOutbox || kind != wire.Entries && kind != wire.End {
		return false, errProtocol
	}
	if kind == wire.Entries {
		return false, d.EntriesOf(c.take)
	}
	c.listing.More = c.listing.More || d.Uint() != 0
	return true, nil
}

// outgoing is what is to be said to the helper: whoever adds to it never waits for the helper to listen.
type outgoing struct {
	mu     gosync.Mutex
	some   *gosync.Cond
	b      []byte
	closed bool
}

func newOutgoing() *outgoing {
	o := &outgoing{}
	o.some = gosync.NewCond(&o.mu)
	return o
}

func (o *outgoing) add(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, b...)
	o.some.Signal()
}

func (o *outgoing) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.some.Broadcast()
}

// Read waits until there is something to say. It ends when it is closed.
func (o *outgoing) Read(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.b) == 0 && !o.closed {
		o.some.Wait()
	}
	if len(o.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, o.b)
	o.b = o.b[n:]
	if len(o.b) == 0 {
		o.b = nil
	}
	return n, nil
}
