package tunnel

import (
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// TestRoom: the collector has room while much is carried, and no longer.
func TestRoom(t *testing.T) {
	usual := debug.SetGCPercent(100)
	defer debug.SetGCPercent(usual)
	now := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	synctest.Test(t, func(t *testing.T) {
		var r room
		r.carried(roomAfter - 1)
		if p := now(); p != 100 {
			t.Errorf("little was carried: %d %%", p)
		}
		r.carried(1)
		raised := now()
		if raised <= 100 || raised > roomMost {
			t.Errorf("much is carried: %d %%", raised)
		}
		r.carried(roomAfter)
		time.Sleep(roomFor + time.Millisecond)
		if p := now(); p != raised {
			t.Errorf("much is still carried: %d %%", p)
		}
		time.Sleep(roomFor)
		if p := now(); p != 100 {
			t.Errorf("nothing is carried any more: %d %%", p)
		}
		debug.SetGCPercent(-1)
		r.carried(roomAfter)
		if p := now(); p != -1 {
			t.Errorf("the collector was off: %d %%", p)
		}
		time.Sleep(2 * roomFor)
		if p := now(); p != -1 {
			t.Errorf("the collector was off before: %d %%", p)
		}
	})
}
