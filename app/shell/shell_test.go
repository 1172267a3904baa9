package shell

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/calmenu/calmenu/internal/host"
)

// record keeps what happened, in order.
type record struct {
	mu     sync.Mutex // guards events
	events []string
}

func (r *record) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, s)
}

func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// fakeMac is a loop as AppKit's: its notifications come from the loop, and ending the loop while a dialog is open ends
// the dialog and nothing else.
type fakeMac struct {
	record
	prepared error
	main     chan func()
	hooks    hooks
	dialogs  int // open ones; touched in the loop alone
}

func newFakeMac() *fakeMac { return &fakeMac{main: make(chan func(), 100)} }

func (m *fakeMac) prepare(h hooks) error {
	m.add("prepare")
	m.hooks = h
	return m.prepared
}

func (m *fakeMac) release(done func()) {
	m.main <- func() {
		if m.dialogs == 0 {
			done()
			return
		}
		m.add("dialog closed")
		m.dialogs--
		m.release(done)
	}
}

// Run is the tray: it serves the loop until it is told to stop with no dialog open.
func (m *fakeMac) Run(ctx context.Context) error {
	m.main <- m.hooks.ready
	for {
		select {
		case f := <-m.main:
			f()
		case <-ctx.Done():
			if m.dialogs > 0 {
				m.add("stop ended a dialog in place of the loop")
				m.dialogs--
				<-m.main
				continue
			}
			m.add("loop ended")
			return nil
		}
	}
}

// started runs a shell on a fake and returns it, running, with a channel that holds what Run returned.
func started(ctx context.Context, m *fakeMac, onEvent func(host.Event)) (*Shell, <-chan error) {
	s := newShell(m, m, onEvent)
	returned := make(chan error, 1)
	go func() {
		returned <- s.Run(ctx, func() { m.add("ready") }, func() { m.add("clean-up") })
	}()
	synctest.Wait()
	return s, returned
}

func TestWaysToEnd(t *testing.T) {
	usual := []string{"prepare", "ready", "loop ended", "clean-up"}
	for _, tt := range []struct {
		name string
		end  func(s *Shell, m *fakeMac, signal context.CancelFunc)
		want []string
	}{
		{"quit from the menu", func(s *Shell, _ *fakeMac, _ context.CancelFunc) { s.Quit() }, usual},
		{"quit clicked twice", func(s *Shell, _ *fakeMac, _ context.CancelFunc) { s.Quit(); s.Quit() }, usual},
		{"a signal", func(_ *Shell, _ *fakeMac, signal context.CancelFunc) { signal() }, usual},
		{"a signal while quitting", func(s *Shell, _ *fakeMac, signal context.CancelFunc) { s.Quit(); signal() }, usual},
		{
			"quit while a dialog is open", func(s *Shell, m *fakeMac, _ context.CancelFunc) {
				m.main <- func() { m.dialogs++ }
				s.Quit()
			},
			[]string{"prepare", "ready", "dialog closed", "loop ended", "clean-up"},
		},
		{
			"logout, and then the loop ends all the same", func(s *Shell, m *fakeMac, _ context.CancelFunc) {
				m.main <- m.hooks.exit
				s.Quit()
			},
			[]string{"prepare", "ready", "clean-up", "loop ended"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, signal := context.WithCancel(t.Context())
				defer signal()
				m := newFakeMac()
				s, returned := started(ctx, m, nil)
				tt.end(s, m, signal)
				if err := <-returned; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if got := m.all(); !slices.Equal(got, tt.want) {
					t.Errorf("happened: %q\nwant:     %q", got, tt.want)
				}
			})
		})
	}
}

// On logout the system ends the process without Run returning: the clean-up must have run by then, on the main thread.
func TestLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeMac()
		s, returned := started(t.Context(), m, nil)
		m.main <- func() {
			m.hooks.exit()
			m.hooks.exit() // both the system and systray may say so
			m.add("exit")
		}
		synctest.Wait()
		if got, want := m.all(), []string{"prepare", "ready", "clean-up", "exit"}; !slices.Equal(got, want) {
			t.Errorf("happened: %q, want %q", got, want)
		}
		s.Quit()
		if err := <-returned; err != nil {
			t.Error(err)
		}
	})
}

func TestQuitBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeMac()
		s := newShell(m, m, nil)
		s.Quit()
		if err := s.Run(t.Context(), func() {}, func() { m.add("clean-up") }); err != nil {
			t.Error(err)
		}
		if got := m.all(); !slices.Contains(got, "clean-up") {
			t.Errorf("happened: %q", got)
		}
	})
}

func TestUnsafeBuildDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeMac()
		m.prepared = errors.New("compiled without the flag")
		s := newShell(m, m, nil)
		err := s.Run(t.Context(), func() { m.add("ready") }, func() { m.add("clean-up") })
		if !errors.Is(err, m.prepared) {
			t.Errorf("Run = %v", err)
		}
		synctest.Wait()
		if got, want := m.all(), []string{"prepare", "clean-up"}; !slices.Equal(got, want) {
			t.Errorf("happened: %q, want %q", got, want)
		}
	})
}

// A handler of events that hangs holds up neither the main thread nor the end, and the order is kept.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeMac()
		busy := make(chan struct{})
		s, returned := started(t.Context(), m, func(e host.Event) {
			m.add(e.String())
			<-busy
		})
		want := []host.Event{host.WillSleep, host.DidWake, host.UserSwitchedAway, host.UserSwitchedTo}
		m.main <- func() {
			for _, e := range want {
				m.hooks.event(e)
			}
			m.add("main thread goes on")
		}
		synctest.Wait()
		if got := m.all(); !slices.Equal(got, []string{"prepare", "ready", "will sleep", "main thread goes on"}) &&
			!slices.Equal(got, []string{"prepare", "ready", "main thread goes on", "will sleep"}) {
			t.Errorf("with a busy handler: %q", got)
		}
		close(busy)
		synctest.Wait()
		var got []string
		for _, e := range m.all() {
			if e != "main thread goes on" {
				got = append(got, e)
			}
		}
		if want := []string{"prepare", "ready", "will sleep", "did wake", "user switched away", "user switched to"}; !slices.Equal(got, want) {
			t.Errorf("happened: %q, want %q", got, want)
		}
		s.Quit()
		if err := <-returned; err != nil {
			t.Error(err)
		}
	})
}
