package heap

import (
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// now is the percentage in force.
func now() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

// TestCarried: the collector has room while much is carried, and no longer.
func TestCarried(t *testing.T) {
	usual := debug.SetGCPercent(100)
	defer debug.SetGCPercent(usual)
	synctest.Test(t, func(t *testing.T) {
		c := carrier{governor: &governor{}}
		c.carried(roomAfter - 1)
		if p := now(); p != 100 {
			t.Errorf("little was carried: %d %%", p)
		}
		c.carried(1)
		raised := now()
		if raised <= 100 || raised > roomBytes*100/leastHeap {
			t.Errorf("much is carried: %d %%", raised)
		}
		done := c.governor.beFrugal()
		if p := now(); p != early {
			t.Errorf("much is carried, and garbage is to be collected early: %d %%", p)
		}
		done()
		if p := now(); p != raised {
			t.Errorf("much is carried, and nobody is frugal any more: %d %%", p)
		}
		c.carried(roomAfter)
		time.Sleep(roomFor + time.Millisecond)
		if p := now(); p != raised {
			t.Errorf("much is still carried: %d %%", p)
		}
		done = c.governor.beFrugal()
		time.Sleep(roomFor)
		if p := now(); p != early {
			t.Errorf("nothing is carried any more, but somebody is frugal: %d %%", p)
		}
		done()
		if p := now(); p != 100 {
			t.Errorf("nobody wants anything any more: %d %%", p)
		}
		debug.SetGCPercent(-1)
		c.carried(roomAfter)
		if p := now(); p != -1 {
			t.Errorf("the collector was off: %d %%", p)
		}
		time.Sleep(2 * roomFor)
		if p := now(); p != -1 {
			t.Errorf("the collector was off before: %d %%", p)
		}
	})
}

// TestFrugal: garbage is collected early until the last of two has done.
func TestFrugal(t *testing.T) {
	usual := debug.SetGCPercent(100)
	defer debug.SetGCPercent(usual)
	var g governor
	one, two := g.beFrugal(), g.beFrugal()
	one()
	if p := now(); p != early {
		t.Errorf("one of two has done: %d %%", p)
	}
	two()
	if p := now(); p != 100 {
		t.Errorf("both have done: %d %%", p)
	}
}
