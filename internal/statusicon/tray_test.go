package statusicon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
)

// recorder is a tray that shows its menu to the test.
type recorder struct {
	why  string // not available because
	slow time.Duration
	over chan struct{}
	once sync.Once

	mu     sync.Mutex // guards everything below
	model  model
	clicks map[handle]func()
	log    []string
}

func newRecorder() *recorder {
	return &recorder{over: make(chan struct{}), model: model{used: map[handle]bool{}}, clicks: map[handle]func(){}}
}

func (r *recorder) available() (bool, string) { return r.why == "", r.why }
func (r *recorder) run(ready func()) {
	go ready()
	<-r.over
}
func (r *recorder) quit() { r.once.Do(func() { close(r.over) }) }

func (r *recorder) apply(o op, click func(), _ <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.model.apply(o); err != nil {
		panic(err)
	}
	if click != nil {
		r.clicks[o.handle] = click
	}
	r.log = append(r.log, fmt.Sprintf("op %d %s", o.kind, o.item.Title))
}

func (r *recorder) settle() time.Duration { return r.slow }

func (r *recorder) icon(s Status)    { r.note("icon " + s.String()) }
func (r *recorder) name(s string)    { r.note("name " + s) }
func (r *recorder) tooltip(s string) { r.note("tooltip " + s) }

func (r *recorder) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, s)
}

// taken returns what happened since the last call.
func (r *recorder) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.log = nil }()
	return r.log
}

// press returns the click of the entry shown as title.
func (r *recorder) press(title string) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for h, click := range r.clicks {
		if n := r.model.find(r.model.tree, h); n != nil && n.item.Title == title {
			return click
		}
	}
	return nil
}

// running runs a tray in a bubble and ends it.
func running(t *testing.T, onClick func(string), f func(*Tray, *recorder)) {
	t.Helper()
	runningSlowly(t, 0, onClick, f)
}

// runningSlowly is running with a panel that takes so long to learn of an entry.
func runningSlowly(t *testing.T, slow time.Duration, onClick func(string), f func(*Tray, *recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.slow = slow
		tray := newTray(onClick, r)
		tray.Set(Menu{Title: "CALMenu", Status: Idle, Items: []Item{entry("a")}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- tray.Run(ctx) }()
		synctest.Wait()
		f(tray, r)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		// The bubble itself fails the test if a goroutine is left.
	})
}

func TestFirstMenuIsThereBeforeThePanelLooks(t *testing.T) {
	running(t, func(string) {}, func(_ *Tray, r *recorder) {
		want := []string{"name CALMenu", "icon idle", "tooltip ", "op 2 a"}
		if got := r.taken(); !slices.Equal(got, want) {
			t.Errorf("rendered %q, want %q", got, want)
		}
	})
}

func TestIconIsSetOnlyWhenItChanges(t *testing.T) {
	running(t, func(string) {}, func(tray *Tray, r *recorder) {
		r.taken()
		for _, s := range []Status{Idle, Busy, Busy, Verified, Verified} {
			tray.Set(Menu{Title: "CALMenu", Status: s, Items: []Item{entry("a")}})
			time.Sleep(2 * rest) // the bubble's clock, not the wall's
		}
		if got, want := r.taken(), []string{"icon busy", "icon verified"}; !slices.Equal(got, want) {
			t.Errorf("rendered %q, want %q", got, want)
		}
	})
}

func TestBurstsAreCoalescedToTheNewest(t *testing.T) {
	running(t, func(string) {}, func(tray *Tray, r *recorder) {
		r.taken()
		begin := time.Now()
		for i := range 1000 {
			it := entry("a")
			it.Title = fmt.Sprint(i)
			tray.Set(Menu{Title: "CALMenu", Items: []Item{it}})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * rest)
		got := r.taken()
		if most := int(time.Since(begin)/rest) + 1; len(got) > most {
			t.Errorf("1000 menus in %v were rendered %d times", time.Since(begin), len(got))
		}
		if last := got[len(got)-1]; last != "op 4 999" {
			t.Errorf("last rendered %q, want the newest", last)
		}
	})
}

func TestChangeIsShownAtOnceAfterRest(t *testing.T) {
	running(t, func(string) {}, func(tray *Tray, r *recorder) {
		time.Sleep(time.Hour)
		r.taken()
		tray.Set(Menu{Title: "CALMenu", Status: Broken, Items: []Item{entry("a")}})
		synctest.Wait()
		if got, want := r.taken(), []string{"icon broken"}; !slices.Equal(got, want) {
			t.Errorf("rendered %q, want %q", got, want)
		}
	})
}

// TestChildrenComeWhenTheirParentIsKnown: nothing else waits for that but what else changes in the menu.
func TestChildrenComeWhenTheirParentIsKnown(t *testing.T) {
	runningSlowly(t, time.Second, func(string) {}, func(tray *Tray, r *recorder) {
		r.taken()
		step := func(wait time.Duration, want ...string) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if got := r.taken(); !slices.Equal(got, want) {
				t.Errorf("rendered %q, want %q", got, want)
			}
		}
		nested := []Item{entry("a"), sub("s", entry("x"), sub("y", entry("z"))), entry("b")}
		tray.Set(Menu{Title: "CALMenu", Items: nested})
		step(2*rest, "op 2 s", "op 2 b")
		changed := []Item{entry("a"), sub("s", entry("x"), sub("y", entry("z"), entry("z2"))), entry("b"), entry("c")}
		tray.Set(Menu{Title: "CALMenu", Status: Broken, Items: changed})
		step(2*rest, "icon broken")
		step(time.Second, "op 2 x", "op 2 y")
		step(time.Second / 2)
		step(time.Second, "op 2 z", "op 2 z2", "op 2 c")
		// What is known can have more under it at once.
		tray.Set(Menu{Title: "CALMenu", Status: Broken, Items: append([]Item{entry("a"), sub("s", entry("x"), sub("y", entry("z"), entry("z2"), entry("z3")))}, changed[2:]...)})
		step(2*rest, "op 2 z3")
	})
}

// TestNoClickIsLost clicks while the handler is stuck and while the menu changes under the pointer: each arrives
// once, in order, with the ID that was shown.
func TestNoClickIsLost(t *testing.T) {
	var got []string
	var free chan struct{} // made in the bubble: only then does the clock run while the handler waits for it
	running(t, func(id string) { <-free; got = append(got, id) }, func(tray *Tray, r *recorder) {
		free = make(chan struct{})
		a := r.press("a")
		for range 50 {
			a()
		}
		renamed := entry("b")
		renamed.Title = "a"
		tray.Set(Menu{Items: []Item{renamed}})
		time.Sleep(2 * rest)
		a() // pressed before the change, delivered after it
		r.press("a")()
		close(free)
		synctest.Wait()
		want := append(slices.Repeat([]string{"a"}, 51), "b")
		if !slices.Equal(got, want) {
			t.Errorf("delivered %d: %q", len(got), got)
		}
	})
}

func TestBranchesAndTextDeliverNoClicks(t *testing.T) {
	running(t, func(string) {}, func(tray *Tray, r *recorder) {
		tray.Set(Menu{Items: []Item{sub("s", entry("leaf")), {Title: "text"}}})
		time.Sleep(2 * rest)
		if r.press("s") != nil || r.press("text") != nil || r.press("leaf") == nil {
			t.Error("only leaves with an ID can be clicked")
		}
	})
}

func TestQuitEndsRun(t *testing.T) {
	running(t, func(string) {}, func(tray *Tray, _ *recorder) {
		tray.Quit()
		tray.Quit()
	})
}

func TestNoTrayIsAnErrorWithAHint(t *testing.T) {
	r := newRecorder()
	r.why = "no panel"
	err := newTray(func(string) {}, r).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no panel") || hint.Of(err) == "" {
		t.Errorf("Run = %v (hint %q)", err, hint.Of(err))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	if err := newTray(func(string) {}, newRecorder()).Run(ctx); err != nil {
		t.Errorf("Run with an ended context = %v", err)
	}
}
