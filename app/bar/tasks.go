package bar

import (
	"sync"
	"time"

	"github.com/calmenu/calmenu/app/menu"
)

// doubleClick is how long after an action that opens a window the same click is the second half of a double click.
const doubleClick = 2 * time.Second

// tasks are what the agent has begun and must wait for.
type tasks struct {
	all sync.WaitGroup

	mu    sync.Mutex // guards what follows
	ended bool       // nothing more begins
	doing map[menu.Action]bool
	done  map[menu.Action]time.Time // actions that opened a window
}

// start runs f on a goroutine of its own and says so, unless the agent has ended.
func (t *tasks) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.all.Go(f)
	return true
}

// once runs what an action does, unless the same is under way or has just opened its window.
func (t *tasks) once(a menu.Action, f func()) {
	t.mu.Lock()
	if t.doing == nil {
		t.doing, t.done = map[menu.Action]bool{}, map[menu.Action]time.Time{}
	}
	if t.ended || t.doing[a] || time.Since(t.done[a]) < doubleClick {
		t.mu.Unlock()
		return
	}
	t.doing[a] = true
	t.mu.Unlock()
	begun := t.start(func() {
		f()
		t.finish(a)
	})
	if !begun {
		t.finish(a)
	}
}

func (t *tasks) finish(a menu.Action) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.doing, a)
	switch a.Verb {
	case menu.Launch, menu.GoTo, menu.Shell, menu.Isolation, menu.Doctor, menu.NetLog:
		t.done[a] = time.Now()
	}
}

// end lets nothing more begin, and waits for what has.
func (t *tasks) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.all.Wait()
}
