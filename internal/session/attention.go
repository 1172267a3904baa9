package session

import (
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// trivialOutput is how much a program prints, in bytes, before its silence afterwards means something: an echo and a
	// moved cursor are less, an agent at work is more.
	trivialOutput = 256
	// waitingGap is how far apart two calls of OnWaiting are at least.
	waitingGap = 30 * time.Second
	// echoTime is how soon after a key a bell is the key's doing, such as a completion that found nothing.
	echoTime = time.Second
	// maxSaid caps what a program says in a notification, in bytes.
	maxSaid = 200
)

// front says whether the window is in front, as far as the terminal has told.
type front int

const (
	frontUnknown front = iota // many terminals never tell
	frontYes
	frontNo
)

// attention notices that a program waits for a person who does not look.
type attention struct {
	quietAfter time.Duration
	onWaiting  func(text string) // called in order with onActive, with no lock held by attention
	onActive   func()

	mu         sync.Mutex
	front      front
	printed    int       // bytes since the last key
	lastOutput time.Time // zero: none since the last key
	lastKey    time.Time
	lastCall   time.Time // of onWaiting
	waiting    bool      // onWaiting was called, onActive was not
	due        bool      // onWaiting will be called when waitingGap allows it
	text       string    // for it
	quiet, gap *time.Timer
}

func (a *attention) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.halt()
}

func (a *attention) halt() {
	for _, t := range []**time.Timer{&a.quiet, &a.gap} {
		if *t != nil {
			(*t).Stop()
			*t = nil
		}
	}
}

// output notes that the program printed n bytes.
func (a *attention) output(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.printed += n
	a.lastOutput = time.Now()
	a.arm(a.quietAfter)
}

// arm starts the wait for silence unless it runs: it is not started anew with every output, since there is much of that.
func (a *attention) arm(d time.Duration) {
	if a.quiet == nil && a.quietAfter > 0 && !a.waiting && a.printed > trivialOutput {
		a.quiet = time.AfterFunc(d, a.maybeQuiet)
	}
}

func (a *attention) maybeQuiet() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quiet = nil
	if a.lastOutput.IsZero() || a.waiting {
		return
	}
	if left := a.quietAfter - time.Since(a.lastOutput); left > 0 {
		a.arm(left)
		return
	}
	if a.front == frontNo {
		a.call("")
	}
}

// key notes that the person typed.
func (a *attention) key() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastKey = time.Now()
	a.back()
}

// focus notes that the window came to the front, or left it.
func (a *attention) focus(in bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if in {
		a.front = frontYes
		a.back()
		return
	}
	a.front = frontNo
	a.arm(a.quietAfter)
}

func (a *attention) back() {
	a.printed, a.lastOutput = 0, time.Time{}
	a.due = false
	a.halt()
	if a.waiting {
		a.waiting = false
		a.onActive()
	}
}

// said notes that the program rang the bell, or asked for a notification.
func (a *attention) said(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.front == frontYes || a.front == frontUnknown && text == "" && time.Since(a.lastKey) < echoTime {
		return
	}
	a.call(said(text))
}

// call calls onWaiting, later if the last call is too near.
func (a *attention) call(text string) {
	if a.waiting || a.due {
		return
	}
	if left := waitingGap - time.Since(a.lastCall); !a.lastCall.IsZero() && left > 0 {
		a.due, a.text = true, text
		a.gap = time.AfterFunc(left, a.overdue)
		return
	}
	a.waiting, a.lastCall = true, time.Now()
	a.onWaiting(text)
}

func (a *attention) overdue() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gap = nil
	if a.due {
		a.due = false
		a.call(a.text)
	}
}

// said makes a program's words fit for a notification: one line, stripped and capped.
func said(text string) string {
	text = flat(text)
	if len(text) <= maxSaid {
		return text
	}
	n := maxSaid - len("…")
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

// serial runs functions one after the other in a goroutine of its own, which exists while there are some.
type serial struct {
	mu      sync.Mutex
	queue   []func()
	running bool
	guard   func() // deferred in the goroutine; may be nil
}

func (s *serial) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, f)
	if !s.running {
		s.running = true
		go s.run()
	}
}

func (s *serial) run() {
	if s.guard != nil {
		defer s.guard()
	}
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.running = false
			s.mu.Unlock()
			return
		}
		f := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		f()
	}
}

func call(f func(string), text string) {
	if f != nil {
		f(text)
	}
}
