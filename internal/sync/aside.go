package sync

import (
	"context"
	"errors"
)

// muchBytes is from how much content on a connection of its own is worth making.
const muchBytes = 32 << 20

// MuchAside is a transport over a connection that others use as well, which fetches much at once by another one: that is
// opened when it is first needed. If it cannot be, the first one fetches that, too.
func MuchAside(t Transport, open func(context.Context) (Transport, error)) Transport {
	return &aside{Transport: t, much: &postponed{make: open}}
}

type aside struct {
	Transport
	much *postponed
}

func (a *aside) Fetch(ctx context.Context, items []Item, into *Staging) error {
	var size int64
	for _, it := range items {
		if size += it.Size; size >= muchBytes {
			break
		}
	}
	if size >= muchBytes {
		if t, err := a.much.open(ctx); err == nil {
			return t.Fetch(ctx, items, into)
		}
	}
	return a.Transport.Fetch(ctx, items, into)
}

func (a *aside) Close() error { return errors.Join(a.Transport.Close(), a.much.Close()) }
