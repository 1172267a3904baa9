package sync

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// Aside is another way to fetch much at once.
type Aside struct {
	// From is from how much content on it is worth taking, in bytes.
	From int64
	// Open makes it, when it is first needed. If it cannot be, it is not tried again for some time, unless it is vm.ErrBusy.
	Open func(context.Context) (Transport, error)
	// Brief says that it is not kept: others want it.
	Brief bool
}

// OwnConnection is a way for who shares its connection with others, which it would hold up.
func OwnConnection(open func(context.Context) (Transport, error)) Aside {
	return Aside{From: 32 << 20, Open: open}
}

// SerialPort is the way over a serial port of the guest's machine, where its driver has some; see OverPort. Starting another
// helper for it takes as long as SSH takes to an emulated guest for some MiB.
func SerialPort(c Client, o Options, dial func(context.Context) (net.Conn, error)) Aside {
	return Aside{From: 4 << 20, Brief: true, Open: func(ctx context.Context) (Transport, error) { return OverPort(ctx, c, o, dial) }}
}

// asideRest is how long a way aside that failed is left alone.
const asideRest = time.Minute

// WithAside is a transport that fetches much at once by another way, and all else, and whatever that cannot, by t.
func WithAside(t Transport, other Aside) Transport {
	return &aside{Transport: t, Aside: other, much: &postponed{make: other.Open}}
}

type aside struct {
	Transport
	Aside
	much   *postponed
	failed time.Time // when it could not be opened
}

func (a *aside) Fetch(ctx context.Context, items []Item, into *Staging) error {
	var size int64
	for _, it := range items {
		if size += it.Size; size >= a.From {
			break
		}
	}
	if size < a.From || time.Since(a.failed) < asideRest {
		return a.Transport.Fetch(ctx, items, into)
	}
	t, err := a.much.open(ctx)
	if err != nil {
		if !errors.Is(err, vm.ErrBusy) && ctx.Err() == nil {
			a.failed = time.Now()
		}
		return a.Transport.Fetch(ctx, items, into)
	}
	err = t.Fetch(ctx, items, into)
	if a.Brief {
		err = errors.Join(err, a.much.Close())
	}
	return err
}

func (a *aside) Close() error { return errors.Join(a.Transport.Close(), a.much.Close()) }
