package host

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// heard keeps what a listener is told.
type heard struct {
	mu     sync.Mutex // guards events
	events []Event
}

func (h *heard) tell(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

func (h *heard) all() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

func TestOrdersOfEvents(t *testing.T) {
	for _, tt := range []struct {
		name  string
		told  []Event
		news  []Event
		rests bool
	}{
		{"sleep and wake", []Event{WillSleep, DidWake}, []Event{WillSleep, DidWake}, false},
		{"asleep", []Event{WillSleep}, []Event{WillSleep}, true},
		{"sleep announced twice", []Event{WillSleep, WillSleep}, []Event{WillSleep}, true},
		{"one wake, told of by three", []Event{WillSleep, DidWake, DidWake, DidWake}, []Event{WillSleep, DidWake}, false},
		{"a wake without a sleep", []Event{DidWake}, []Event{DidWake}, false},
		{"asleep again at once", []Event{WillSleep, DidWake, WillSleep, DidWake}, []Event{WillSleep, DidWake, WillSleep, DidWake}, false},
		{"locked", []Event{ScreenLocked}, []Event{ScreenLocked}, false},
		{"locked on low power", []Event{LowPowerOn, ScreenLocked}, []Event{LowPowerOn, ScreenLocked}, true},
		{"low power while locked", []Event{ScreenLocked, LowPowerOn}, []Event{ScreenLocked, LowPowerOn}, true},
		{"unlocked on low power", []Event{LowPowerOn, ScreenLocked, ScreenUnlocked}, []Event{LowPowerOn, ScreenLocked, ScreenUnlocked}, false},
		{"low power ends while locked", []Event{LowPowerOn, ScreenLocked, LowPowerOff}, []Event{LowPowerOn, ScreenLocked, LowPowerOff}, false},
		{"another user on low power", []Event{LowPowerOn, UserSwitchedAway}, []Event{LowPowerOn, UserSwitchedAway}, true},
		{"back again", []Event{LowPowerOn, UserSwitchedAway, UserSwitchedTo}, []Event{LowPowerOn, UserSwitchedAway, UserSwitchedTo}, false},
		{"every change of network", []Event{NetworkChanged, NetworkChanged}, []Event{NetworkChanged, NetworkChanged}, false},
		{"woken into a locked screen on low power", []Event{LowPowerOn, WillSleep, ScreenLocked, DidWake}, []Event{LowPowerOn, WillSleep, ScreenLocked, DidWake}, true},
		{"nothing known", []Event{0, 99}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, h := NewRhythm(), &heard{}
				defer r.Tell(DidWake) // ends the timer of an announced sleep
				stop := r.Listen(h.tell)
				defer stop()
				for _, e := range tt.told {
					r.Tell(e)
				}
				if got := h.all(); !slices.Equal(got, tt.news) {
					t.Errorf("told of %v\nwant     %v", got, tt.news)
				}
				if rests, _ := r.Rests(); rests != tt.rests {
					t.Errorf("rests: %v", rests)
				}
			})
		})
	}
}

func TestSecondWakeLaterIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := NewRhythm(), &heard{}
		r.Listen(h.tell)
		r.Tell(DidWake)
		time.Sleep(echo)
		r.Tell(DidWake)
		if got := h.all(); len(got) != 2 {
			t.Errorf("told of %v", got)
		}
	})
}

// A sleep that was called off is told of by nobody.
func TestSleepThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRhythm()
		r.Tell(WillSleep)
		active, cancel, err := r.Active(t.Context()) // waits
		if err != nil {
			t.Fatal(err)
		}
		defer cancel()
		if active.Err() != nil {
			t.Error("not active")
		}
		r.Tell(WillSleep)
		time.Sleep(sleepComes - time.Second)
		r.Tell(WillSleep) // it is announced again: the time begins anew
		time.Sleep(sleepComes - time.Second)
		if rests, _ := r.Rests(); !rests {
			t.Error("the first announcement's end ended the second's rest")
		}
		r.Tell(DidWake)
	})
}

func TestActiveEndsWhenRestBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRhythm()
		began, ended := 0, 0
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				active, cancel, err := r.Active(ctx)
				if err != nil {
					return
				}
				began++
				<-active.Done()
				cancel()
				if ctx.Err() == nil {
					ended++
					if !errors.Is(context.Cause(active), ErrResting) {
						t.Errorf("it ended by %v", context.Cause(active))
					}
				}
			}
		}()
		for range 3 {
			synctest.Wait()
			r.Tell(WillSleep)
			synctest.Wait()
			r.Tell(DidWake)
		}
		synctest.Wait()
		r.Tell(LowPowerOn) // nothing rests by that alone
		synctest.Wait()
		stop()
		<-done
		if began != 4 || ended != 3 {
			t.Errorf("began %d times, rested %d times", began, ended)
		}
		r.Tell(WillSleep)
		ctx, stop = context.WithCancel(t.Context())
		stop()
		if _, _, err := r.Active(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting while it rests, without time: %v", err)
		}
		r.Tell(DidWake)
	})
}

func TestNoRhythmNeverRests(t *testing.T) {
	var r *Rhythm
	defer r.Listen(func(Event) {})()
	active, cancel, err := r.Active(t.Context())
	if err != nil || active.Err() != nil {
		t.Fatalf("Active = %v", err)
	}
	cancel()
	if active.Err() == nil {
		t.Error("cancelled, and goes on")
	}
}

func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var slept time.Duration
		sleep := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			slept += d
		}
		began := time.Now()
		h := &heard{}
		ctx, stop := context.WithCancel(t.Context())
		go watchClocks(ctx, func() (time.Time, time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			awake := time.Since(began)
			return began.Add(awake + slept), awake
		}, h.tell)
		for i, step := range []struct {
			slept time.Duration
			wakes int
		}{{0, 0}, {2 * time.Second, 0}, {time.Minute, 1}, {0, 1}, {-time.Hour, 1}, {8 * time.Hour, 2}} {
			sleep(step.slept)
			time.Sleep(2 * clockCheck)
			synctest.Wait()
			if got := len(h.all()); got != step.wakes {
				t.Errorf("step %d: %d wakes, want %d", i, got, step.wakes)
			}
		}
		stop()
		synctest.Wait()
	})
}

// A network that comes up is told of once; one that never settles, now and then.
func TestNetworkSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		h := &heard{}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- follow(ctx, in, func(b []byte) bool { return b[0] == 'y' }, h.tell) }()
		say := func(s string) {
			if _, err := out.Write([]byte(s)); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		say("n")
		time.Sleep(2 * settle)
		if got := h.all(); got != nil {
			t.Errorf("what does not count was told of: %v", got)
		}
		for range 4 {
			say("y")
			time.Sleep(settle / 2)
		}
		time.Sleep(settle)
		synctest.Wait()
		if got := len(h.all()); got != 1 {
			t.Errorf("told of %d times, want once", got)
		}
		for range 4 * int(restless/settle) {
			say("y")
			time.Sleep(settle / 2)
		}
		time.Sleep(settle)
		synctest.Wait()
		if got := len(h.all()); got < 2 || got > 4 {
			t.Errorf("a restless network was told of %d times", got-1)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
