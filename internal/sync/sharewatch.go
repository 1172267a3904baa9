package sync

import (
	"context"
	"hash/maphash"
	"time"
)

// lookEvery is how often the folder is looked at where the host does not tell of changes.
const lookEvery = time.Second

// poll tells that something has changed by looking.
func (t *shareTransport) poll(ctx context.Context, news func(Change)) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	seed := maphash.MakeSeed()
	var last uint64
	for first := true; ; first = false {
		l, err := t.List(ctx)
		if err != nil {
			return err
		}
		var sum uint64 // in no order: a directory has none
		for i := range l.Entries {
			e := &l.Entries[i]
			sum += maphash.String(seed, e.Name+"\x00"+string(e.Kind)+e.Source())
		}
		if first || sum != last {
			news(Change{Look: true})
		}
		last = sum
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
