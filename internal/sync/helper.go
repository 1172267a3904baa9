package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/helper"
)

// HelperVerb is what the helper program is told to do for an outbox.
const HelperVerb = "outbox"

// OverHelper is the transport by a helper program in the guest, which argv starts: cmd/calhelper with HelperVerb. It is
// started when it is first needed, and again when it has ended.
func OverHelper(r Runner, o Options, argv ...string) (Transport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &helperTransport{r: r, o: o, argv: argv}, nil
}

// HelperCommand is what OverSSH starts in a guest of an operating system. It does nothing before it is told on its standard
// input what to look at, so that it can be started before anybody asks for it. helper.ErrNone if there is none.
func HelperCommand(guestOS string) (guest.Cmd, error) {
	name, err := helper.Name(guestOS)
	return guest.Cmd{Argv: []string{name, HelperVerb}}, err
}

// Client is a connection to a guest that programs can be put into. *guest.Client is one.
type Client interface {
	Runner
	helper.Client
}

// OverSSH is the best transport there is over a connection: by the helper where it runs, otherwise by what the guest has.
// An error is one of the connection or of ctx.
func OverSSH(ctx context.Context, c Client, o Options) (Transport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	fallback := &tarTransport{r: c, o: o}
	cmd, err := HelperCommand(c.GuestOS())
	if err != nil {
		return fallback, nil //nolint:nilerr // there is none for this guest
	}
	t := &helperTransport{r: c, o: o, argv: cmd.Argv}
	// It is there but for the first time, and it is no safer for having been looked at.
	if _, err := t.start(ctx); err == nil {
		return t, nil
	}
	if _, err = helper.Ensure(ctx, c); err == nil {
		_, err = t.start(ctx)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return fallback, nil //nolint:nilerr // whether the connection lives, the fallback's first word tells
	}
	return t, nil
}

// helperTransport talks to one helper at a time.
type helperTransport struct {
	r    Runner
	o    Options
	argv []string

	session *session // nil: not started
}

// readyWithin is how long a helper may take to say its first word: an emulated guest reads it off its disk.
const readyWithin = 20 * time.Second

// start returns the helper's session, a new one if there is none or it has ended.
func (t *helperTransport) start(ctx context.Context) (*session, error) {
	if t.session != nil && t.session.alive() {
		return t.session, nil
	}
	s := newSession(ctx, t.r, t.o, t.argv)
	timer := time.NewTimer(readyWithin)
	defer timer.Stop()
	var err error
	select {
	case <-s.ready:
		t.session = s
		return s, nil
	case <-s.done:
		err = s.err
	case <-timer.C:
		err = ErrStalled
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.end(err)
	return nil, fmt.Errorf("starting the helper in the guest: %w", err)
}

func (t *helperTransport) Close() error {
	if t.session != nil {
		t.session.end(errOver)
		t.session = nil
	}
	return nil
}

// List asks the helper for a listing.
func (t *helperTransport) List(ctx context.Context) (Listing, error) {
	s, err := t.start(ctx)
	if err != nil {
		return Listing{}, err
	}
	c := &listCall{taker: taker{max: t.o.Limits.MaxFiles}}
	if err := s.call(ctx, c, s.askList); err != nil {
		return Listing{}, fmt.Errorf("listing the outbox in the guest: %w", err)
	}
	return c.listing, nil
}

// Fetch asks the helper for files, some ahead of what has come.
func (t *helperTransport) Fetch(ctx context.Context, items []Item, into *Staging) error {
	s, err := t.start(ctx)
	if err != nil {
		return err
	}
	c := newFetchCall(s, items, into)
	err = s.call(ctx, c, c.begin)
	if err != nil {
		s.end(err) // so that nothing of it is taken any more
		err = errors.Join(err, c.suspend())
	}
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, errHost):
		return err
	}
	return fmt.Errorf("receiving from the outbox: %w", err)
}

// Watch has the helper tell what changes.
func (t *helperTransport) Watch(ctx context.Context, news func(Change)) error {
	s, err := t.start(ctx)
	if err != nil {
		return err
	}
	s.watch(news)
	defer s.watch(nil)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
