package host

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// echo is how long after a wake another word of it is the same wake's: the desktop tells of it at once, the clocks
	// within seconds, and macOS again when the screen comes on.
	echo = 15 * time.Second
	// sleepComes is within which time of being awake an announced sleep comes, or does not: nobody tells of one that was
	// called off.
	sleepComes = time.Minute
)

// ErrResting is the cause with which a context of Active ends when probes are to rest.
var ErrResting = errors.New("the computer sleeps or saves energy")

// Rhythm adds events up: whether probes rest, and who is to be told what. A nil Rhythm never rests and tells nothing.
type Rhythm struct {
	mu        sync.Mutex // guards what follows; not held while listeners are called
	is        condition
	woke      time.Time // the last wake
	announced *time.Timer
	sleeps    int           // announced sleeps, to know one's own timer
	changed   chan struct{} // closed and replaced when rest begins or ends
	listeners map[int]func(Event)
	last      int // listener
}

// condition is what has been told so far.
type condition struct{ asleep, locked, away, lowPower bool }

// rests says whether nobody would see what probes find, or the computer could not pay for it.
func (c condition) rests() bool { return c.asleep || c.lowPower && (c.locked || c.away) }

// NewRhythm returns the rhythm of a computer that is awake.
func NewRhythm() *Rhythm {
	return &Rhythm{changed: make(chan struct{}), listeners: map[int]func(Event){}}
}

// Tell takes note of an event and hands it to the listeners. It never waits for anything but them.
func (r *Rhythm) Tell(e Event) {
	r.mu.Lock()
	rested := r.is.rests()
	news := r.note(e)
	if rested != r.is.rests() {
		close(r.changed)
		r.changed = make(chan struct{})
	}
	var tell []func(Event)
	if news {
		for _, f := range r.listeners {
			tell = append(tell, f)
		}
	}
	r.mu.Unlock()
	for _, f := range tell {
		f(e)
	}
}

// note adds e up and says whether it is news.
func (r *Rhythm) note(e Event) bool {
	before := r.is
	switch e {
	case WillSleep:
		r.is.asleep = true
		r.expectSleep()
		return !before.asleep
	case DidWake:
		again := !before.asleep && !r.woke.IsZero() && time.Since(r.woke) < echo
		r.is.asleep, r.woke = false, time.Now()
		if r.announced != nil {
			r.announced.Stop()
		}
		return !again
	case UserSwitchedTo:
		r.is.away = false
	case UserSwitchedAway:
		r.is.away = true
	case ScreenLocked:
		r.is.locked = true
	case ScreenUnlocked:
		r.is.locked = false
	case LowPowerOn:
		r.is.lowPower = true
	case LowPowerOff:
		r.is.lowPower = false
	case NetworkChanged:
		return true
	}
	return r.is != before
}

// expectSleep ends the rest of a sleep that does not come. Timers stand still while the computer sleeps.
func (r *Rhythm) expectSleep() {
	if r.announced != nil {
		r.announced.Stop()
	}
	r.sleeps++
	mine := r.sleeps
	r.announced = time.AfterFunc(sleepComes, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if mine != r.sleeps || !r.is.asleep {
			return
		}
		r.is.asleep = false
		if !r.is.rests() {
			close(r.changed)
			r.changed = make(chan struct{})
		}
	})
}

// Listen has f called for each event that is news, on the goroutine that tells it: f must not wait for anything. stop ends
// that; a call that is under way may still be.
func (r *Rhythm) Listen(f func(Event)) (stop func()) {
	if r == nil {
		return func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	id := r.last
	r.listeners[id] = f
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.listeners, id)
	}
}

// Rests says whether probes are to rest now. changed is closed when that changes.
func (r *Rhythm) Rests() (now bool, changed <-chan struct{}) {
	if r == nil {
		return false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.is.rests(), r.changed
}

// Active waits until probes need not rest, and returns a context that ends with ctx, with cancel, or, by ErrResting, when
// they are to rest. It fails only if ctx ends first.
func (r *Rhythm) Active(ctx context.Context) (active context.Context, cancel context.CancelFunc, err error) {
	for {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		rests, changed := r.Rests()
		if !rests {
			return r.until(ctx, changed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

func (r *Rhythm) until(ctx context.Context, changed <-chan struct{}) (context.Context, context.CancelFunc, error) {
	active, end := context.WithCancelCause(ctx)
	if changed != nil {
		go func() {
			select {
			case <-changed: // from active to resting: there is nothing else it can change to
				end(ErrResting)
			case <-active.Done():
			}
		}()
	}
	return active, func() { end(nil) }, nil
}
