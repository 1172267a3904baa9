package sync

import (
	"context"
	"errors"
	"testing"
)

// told is a transport that counts what it is asked for.
type told struct {
	Transport
	fetched, closed int
}

func (c *told) Fetch(context.Context, []Item, *Staging) error { c.fetched++; return nil }

func (c *told) Close() error { c.closed++; return nil }

func TestMuchIsFetchedAside(t *testing.T) {
	ctx := t.Context()
	one, other := &told{}, &told{}
	opened, fails := 0, errors.New("there is none")
	a := MuchAside(one, func(context.Context) (Transport, error) {
		if opened++; opened == 1 {
			return nil, fails
		}
		return other, nil
	})
	few := []Item{{Size: muchBytes / 2}, {Size: muchBytes/2 - 1}}
	much := []Item{{Size: muchBytes / 2}, {Size: muchBytes / 2}}
	for _, step := range []struct {
		what                 string
		items                []Item
		opened, one, another int
	}{
		{"few bytes", few, 0, 1, 0},
		{"much, and there is no other way", much, 1, 2, 0},
		{"much", much, 2, 2, 1},
		{"much again", much, 2, 2, 2},
		{"few bytes again", few, 2, 3, 2},
	} {
		if err := a.Fetch(ctx, step.items, nil); err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
		if opened != step.opened || one.fetched != step.one || other.fetched != step.another {
			t.Errorf("%s: opened %d times, fetched %d and %d times", step.what, opened, one.fetched, other.fetched)
		}
	}
	if err := a.Close(); err != nil || one.closed != 1 || other.closed != 1 {
		t.Errorf("closed %d and %d times, %v", one.closed, other.closed, err)
	}
}
