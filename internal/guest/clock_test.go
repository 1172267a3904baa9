package guest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// slowClock is that of a guest which takes its time to obey, each time less.
type slowClock struct {
	ahead time.Duration // of the host's
	obeys time.Duration
	set   int
}

func (c *slowClock) ClockSkew(context.Context) (time.Duration, error) { return c.ahead, nil }

func (c *slowClock) SetClock(_ context.Context, t time.Time) error {
	c.set++
	time.Sleep(c.obeys)
	c.ahead = time.Until(t)
	c.obeys /= 4
	return nil
}

// TestCorrectClock steps clocks in a bubble's time. A guest that obeys late has set a time that was past, and is told again.
func TestCorrectClock(t *testing.T) {
	for _, tt := range []struct {
		name         string
		ahead, obeys time.Duration
		set          int
	}{
		{"right", time.Second, 0, 0},
		{"an hour behind", -time.Hour, 0, 1},
		{"a day ahead, and slow", 24 * time.Hour, 7 * time.Second, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &slowClock{ahead: tt.ahead, obeys: tt.obeys}
				if err := correctClock(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if c.ahead.Abs() >= ClockGood || c.set != tt.set {
					t.Errorf("off by %v after it was set %d times, want %d times", c.ahead, c.set, tt.set)
				}
			})
		})
	}
}
