package sync

import (
	"context"
	gosync "sync"
)

// Later is a transport that is opened when it is first needed: while a connection to the guest is being made, a pass reads
// what it remembers. An error of opening is the error of the call that needed it; the next call opens it anew.
func Later(open func(context.Context) (Transport, error)) Transport { return &postponed{make: open} }

type postponed struct {
	make func(context.Context) (Transport, error)

	mu gosync.Mutex // guards what follows
	t  Transport    // nil: not opened
}

func (l *postponed) open(ctx context.Context) (Transport, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		t, err := l.make(ctx)
		if err != nil {
			return nil, err
		}
		l.t = t
	}
	return l.t, nil
}

func (l *postponed) List(ctx context.Context) (Listing, error) {
	t, err := l.open(ctx)
	if err != nil {
		return Listing{}, err
	}
	return t.List(ctx)
}

func (l *postponed) Fetch(ctx context.Context, items []Item, into *Staging) error {
	t, err := l.open(ctx)
	if err != nil {
		return err
	}
	return t.Fetch(ctx, items, into)
}

func (l *postponed) Watch(ctx context.Context, news func(Change)) error {
	t, err := l.open(ctx)
	if err != nil {
		return err
	}
	return t.Watch(ctx, news)
}

// Close ends it until it is needed again.
func (l *postponed) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return nil
	}
	t := l.t
	l.t = nil
	return t.Close()
}
