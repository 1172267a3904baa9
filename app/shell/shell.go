// Package shell runs the menu bar program: it owns the main thread together with the tray, tells the application of
// sleep, wake and user switches, and lets go of everything once, whichever way the program ends.
//
// What must hold: the application's clean-up runs exactly once, on a quit from the menu, on a signal, on logout and on
// shutdown alike; quitting while a dialog is open closes the dialog first; nothing on the main thread waits for another
// goroutine, and no callback from the system is ever held up by the application.
package shell

import (
	"context"
	"sync"

	"github.com/calmenu/calmenu/internal/host"
)

// Tray is what shows the icon and runs the main thread's loop (statusicon.Tray).
type Tray interface {
	// Run shows the tray until ctx ends. It is called on the main goroutine.
	Run(ctx context.Context) error
}

// system is the platform's side. Callbacks of hooks never block, so that they may be called on the main thread.
type system interface {
	// prepare is called on the main goroutine before the tray runs.
	prepare(h hooks) error
	// release has whatever would keep the loop running end (an open dialog), and calls done when nothing does any more.
	release(done func())
}

// hooks are what a system tells the shell.
type hooks struct {
	ready func()           // the loop runs
	exit  func()           // the process is about to be ended: no deferred function will run
	event func(host.Event) // something happened
}

// Shell runs the menu bar program once.
type Shell struct {
	tray    Tray
	system  system
	onEvent func(host.Event)
	quit    chan struct{}
	endQuit func()
}

// New returns a shell around tray. onEvent is called for each event in order, on a goroutine of its own; it may be nil.
func New(tray Tray, onEvent func(host.Event)) *Shell { return newShell(tray, newSystem(), onEvent) }

func newShell(tray Tray, s system, onEvent func(host.Event)) *Shell {
	if onEvent == nil {
		onEvent = func(host.Event) {}
	}
	quit := make(chan struct{})
	return &Shell{
		tray: tray, system: s, onEvent: onEvent,
		quit: quit, endQuit: sync.OnceFunc(func() { close(quit) }),
	}
}

// Run shows the tray until Quit is called or ctx ends. It must be called on the main goroutine. onReady is called once,
// on a goroutine of its own, when the loop runs or is about to. onQuit is called exactly once, however Run or the
// process ends (the system may end the process without Run returning), possibly on the main thread: it must not wait
// for the tray or a dialog.
func (s *Shell) Run(ctx context.Context, onReady, onQuit func()) error {
	leave := sync.OnceFunc(onQuit)
	defer leave()

	events := newMailbox()
	defer events.close()
	go events.deliver(s.onEvent)

	err := s.system.prepare(hooks{
		ready: sync.OnceFunc(func() { go onReady() }),
		exit:  leave,
		event: events.put,
	})
	if err != nil {
		return err
	}

	// The tray's context ends only after the system let go of the loop; until then ending the loop would end a dialog
	// in its place.
	loop, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	end := sync.OnceFunc(func() { s.system.release(stop) })
	defer context.AfterFunc(ctx, end)()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-s.quit:
			end()
		case <-over:
		}
	}()
	return s.tray.Run(loop)
}

// Quit makes Run return. It may be called from any goroutine, also before Run, and more than once.
func (s *Shell) Quit() { s.endQuit() }

// mailbox hands events from the main thread, which must not wait, to a goroutine that may take its time.
type mailbox struct {
	filled chan struct{} // holds one: events is not empty, or the mailbox is closed

	mu     sync.Mutex // guards events and closed; never held while events are delivered
	events []host.Event
	closed bool
}

func newMailbox() *mailbox { return &mailbox{filled: make(chan struct{}, 1)} }

func (m *mailbox) put(e host.Event) {
	m.mu.Lock()
	m.events = append(m.events, e)
	m.mu.Unlock()
	m.wake()
}

func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.wake()
}

func (m *mailbox) wake() {
	select {
	case m.filled <- struct{}{}:
	default:
	}
}

// deliver calls f for each event until the mailbox is closed.
func (m *mailbox) deliver(f func(host.Event)) {
	for range m.filled {
		m.mu.Lock()
		events, closed := m.events, m.closed
		m.events = nil
		m.mu.Unlock()
		if closed {
			return
		}
		for _, e := range events {
			f(e)
		}
	}
}
