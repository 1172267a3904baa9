package sync

import (
	"context"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
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
	const much = 1 << 20
	few := []Item{{Size: much / 2}, {Size: much/2 - 1}}
	enough := []Item{{Size: much / 2}, {Size: much / 2}}
	for _, brief := range []bool{false, true} {
		one, other := &told{}, &told{}
		opened, fails := 0, error(nil)
		a := WithAside(one, Aside{From: much, Brief: brief, Open: func(context.Context) (Transport, error) {
			if opened++; fails != nil {
				return nil, fails
			}
			return other, nil
		}}).(*aside)
		for _, step := range []struct {
			what                         string
			items                        []Item
			fails                        error
			opened, one, another, closed int // then; opened and closed as by one that is not kept
		}{
			{"few bytes", few, nil, 0, 1, 0, 0},
			{"much, and it is in use", enough, vm.ErrBusy, 1, 2, 0, 0},
			{"much", enough, nil, 2, 2, 1, 1},
			{"much again", enough, nil, 3, 2, 2, 2},
			{"few bytes again", few, nil, 3, 3, 2, 2},
		} {
			fails = step.fails
			if !brief {
				step.opened, step.closed = min(step.opened, 2), 0
			}
			if err := a.Fetch(ctx, step.items, nil); err != nil {
				t.Errorf("%s: %v", step.what, err)
			}
			if opened != step.opened || one.fetched != step.one || other.fetched != step.another || other.closed != step.closed {
				t.Errorf("brief %v, %s: opened %d times, fetched %d and %d times, closed %d times",
					brief, step.what, opened, one.fetched, other.fetched, other.closed)
			}
		}
		closed := other.closed
		if err := a.Close(); err != nil || one.closed != 1 || brief != (other.closed == closed) {
			t.Errorf("brief %v: closed %d and %d times, %v", brief, one.closed, other.closed, err)
		}
	}
}

// TestNoWayAside: a way that there is none of is not looked for every time.
func TestNoWayAside(t *testing.T) {
	one, opened := &told{}, 0
	a := WithAside(one, Aside{Open: func(context.Context) (Transport, error) {
		opened++
		return nil, vm.ErrUnsupported
	}}).(*aside)
	for range 3 {
		if err := a.Fetch(t.Context(), nil, nil); err != nil {
			t.Error(err)
		}
	}
	a.failed = a.failed.Add(-asideRest)
	if err := a.Fetch(t.Context(), nil, nil); err != nil || opened != 2 || one.fetched != 4 {
		t.Errorf("%v, tried %d times, fetched %d times", err, opened, one.fetched)
	}
}
