package desktop

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// fakeMain is a main thread with a loop, which a dialog runs again inside itself, as AppKit does.
type fakeMain struct {
	queue chan func()

	// Touched on the main thread alone.
	depth, deepest int
	pressed        chan Answer // of the dialog that is open
	stops          int

	mu    sync.Mutex // guards shown
	shown []string
}

func newFakeMain() *fakeMain { return &fakeMain{queue: make(chan func(), 100)} }

// loop serves the main thread until ctx ends.
func (m *fakeMain) loop(ctx context.Context) {
	for {
		select {
		case f := <-m.queue:
			f()
		case <-ctx.Done():
			return
		}
	}
}

func (m *fakeMain) onMain(f func()) { m.queue <- f }

func (m *fakeMain) run(q Question) Answer {
	m.mu.Lock()
	m.shown = append(m.shown, q.Title)
	m.mu.Unlock()
	m.depth++
	m.deepest = max(m.deepest, m.depth)
	defer func() { m.depth-- }()
	pressed := make(chan Answer, 1)
	m.pressed = pressed
	for {
		select {
		case a := <-pressed:
			return a
		case f := <-m.queue:
			f()
		}
	}
}

func (m *fakeMain) stop() {
	m.stops++
	m.press(Answer{Cancelled: true})
}

func (m *fakeMain) press(a Answer) {
	select {
	case m.pressed <- a:
	default:
	}
}

func (m *fakeMain) titles() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.shown...)
}

// onFakeMain runs test with a main thread, in a bubble of time.
func onFakeMain(t *testing.T, test func(t *testing.T, main *fakeMain, m *modals)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		main := newFakeMain()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			main.loop(ctx)
		}()
		test(t, main, newModals(main))
		synctest.Wait()
		cancel()
		<-ended
	})
}

func TestModalAnswers(t *testing.T) {
	onFakeMain(t, func(t *testing.T, main *fakeMain, m *modals) {
		go func() {
			synctest.Wait()
			main.onMain(func() { main.press(Answer{Text: "new-name"}) })
		}()
		if a, err := m.ask(t.Context(), Question{Kind: Entry}); err != nil || a.Text != "new-name" {
			t.Errorf("ask = %+v, %v", a, err)
		}
	})
}

func TestOneModalAtATime(t *testing.T) {
	onFakeMain(t, func(t *testing.T, main *fakeMain, m *modals) {
		const people = 5
		var all sync.WaitGroup
		for range people {
			all.Go(func() {
				if _, err := m.ask(t.Context(), Question{Title: "q"}); err != nil {
					t.Error(err)
				}
			})
		}
		for i := range people {
			synctest.Wait()
			if got := len(main.titles()); got != i+1 {
				t.Errorf("%d dialogs were shown after %d answers", got, i)
			}
			main.onMain(func() { main.press(Answer{}) })
		}
		all.Wait()
		if main.deepest != 1 {
			t.Errorf("%d dialogs were open inside each other", main.deepest)
		}
	})
}

func TestModalEndsWithItsContext(t *testing.T) {
	errQuit := errors.New("quitting")
	onFakeMain(t, func(t *testing.T, main *fakeMain, m *modals) {
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			synctest.Wait()
			cancel(errQuit)
		}()
		if a, err := m.ask(ctx, Question{Title: "first"}); !errors.Is(err, errQuit) || !a.Cancelled {
			t.Errorf("ask = %+v, %v, want cancelled by quitting", a, err)
		}
		// The next dialog is another one, and is not closed by the end of the first.
		go func() {
			synctest.Wait()
			main.onMain(func() { main.press(Answer{Button: 1}) })
		}()
		if a, err := m.ask(t.Context(), Question{Title: "second"}); err != nil || a.Cancelled || a.Button != 1 {
			t.Errorf("the next dialog answered %+v, %v", a, err)
		}
		if main.stops != 1 {
			t.Errorf("dialogs were stopped %d times, want once", main.stops)
		}
	})
}

// A main thread that never gets to the dialog holds nobody up, and does not show it when it is too late.
func TestModalOnABusyMainThread(t *testing.T) {
	onFakeMain(t, func(t *testing.T, main *fakeMain, m *modals) {
		free := make(chan struct{})
		main.onMain(func() { <-free })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.ask(ctx, Question{Title: "late"}); !errors.Is(err, context.Canceled) {
			t.Errorf("ask = %v", err)
		}
		close(free)
		synctest.Wait()
		if got := main.titles(); len(got) > 0 {
			t.Errorf("shown although nobody waited: %q", got)
		}
		go func() {
			synctest.Wait()
			main.onMain(func() { main.press(Answer{}) })
		}()
		if _, err := m.ask(t.Context(), Question{Title: "next"}); err != nil {
			t.Error(err)
		}
	})
}

func TestModalButtonsAndAnswers(t *testing.T) {
	confirm := Question{Kind: Confirm, Buttons: []string{"Stop VMs", "Leave Running"}}
	list := Question{Kind: List, Choices: []string{"a", "b"}, Cancel: "Not Now"}
	for _, tt := range []struct {
		name   string
		q      Question
		button int
		want   Answer
	}{
		{"info", Question{Kind: Info}, 0, Answer{}},
		{"first button", confirm, 0, Answer{Button: 0}},
		{"second button", confirm, 1, Answer{Button: 1}},
		{"cancel", confirm, 2, Answer{Cancelled: true}},
		{"closed by the program", confirm, -1001, Answer{Cancelled: true}},
		{"no such button", confirm, 7, Answer{Cancelled: true}},
		{"entry", Question{Kind: Entry}, 0, Answer{Text: "typed"}},
		{"entry refused", Question{Kind: Entry}, 1, Answer{Cancelled: true}},
		{"lines", Question{Kind: Text}, 0, Answer{Text: "typed"}},
		{"password", Question{Kind: Password}, 0, Answer{Text: "typed"}},
		{"choice", list, 0, Answer{Choice: 1}},
		{"choice refused", list, 1, Answer{Cancelled: true}},
		{"nothing to choose", Question{Kind: List}, 0, Answer{Cancelled: true}},
	} {
		if got := modalAnswer(tt.q, tt.button, "typed", 1); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if titles, cancel := modalButtons(list); titles[cancel] != "Not Now" {
		t.Errorf("buttons %q, cancel is %d", titles, cancel)
	}
}
