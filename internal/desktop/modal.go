package desktop

import (
	"context"
	"fmt"
	"strings"
)

// modalHost is a desktop whose dialogs run in a loop inside the main thread's own (AppKit). run and stop are called on
// the main thread, by functions given to onMain; stop while run is running makes it return a cancelled answer.
type modalHost interface {
	onMain(f func())
	run(q Question) Answer
	stop()
}

// modals shows dialogs one at a time on a modalHost.
type modals struct {
	host modalHost
	turn chan struct{} // holds one from asking for the main thread until the dialog has left it
}

func newModals(host modalHost) *modals { return &modals{host: host, turn: make(chan struct{}, 1)} }

// ask shows q and waits for its answer. When ctx ends first, it returns at once and the dialog is closed as soon as the
// main thread gets to it; the next one waits for that.
func (m *modals) ask(ctx context.Context, q Question) (Answer, error) {
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return Answer{Cancelled: true}, fmt.Errorf("waiting for another dialog: %w", context.Cause(ctx))
	}
	answered := make(chan Answer, 1) // holds the answer also if nobody waits for it any more
	open := false                    // touched on the main thread alone
	m.host.onMain(func() {
		defer func() { <-m.turn }()
		if ctx.Err() != nil {
			return
		}
		open = true
		answered <- m.host.run(q)
		open = false
	})
	select {
	case a := <-answered:
		return a, nil
	case <-ctx.Done():
		m.host.onMain(func() {
			if open {
				m.host.stop()
			}
		})
		return Answer{Cancelled: true}, fmt.Errorf("showing a dialog: %w", context.Cause(ctx))
	}
}

// modalButtons returns the titles of q's buttons, the default first, and which of them cancels, -1 for none.
func modalButtons(q Question) (titles []string, cancel int) {
	switch q.Kind {
	case Info, Warn:
		return []string{"OK"}, -1
	case Confirm:
		titles = append(titles, q.Buttons...)
	default:
		titles = append(titles, "OK")
	}
	return append(titles, q.cancelLabel()), len(titles)
}

// modalAnswer returns what pressing button (an index in modalButtons; others mean the dialog was closed) of q says,
// with text and choice in its fields.
func modalAnswer(q Question, button int, text string, choice int) Answer {
	titles, cancel := modalButtons(q)
	if button < 0 || button >= len(titles) || button == cancel {
		return Answer{Cancelled: true}
	}
	switch q.Kind {
	case Confirm:
		return Answer{Button: button}
	case Entry, Text, Password:
		return Answer{Text: text}
	case List:
		if choice < 0 || choice >= len(q.Choices) {
			return Answer{Cancelled: true}
		}
		return Answer{Choice: choice}
	default:
		return Answer{}
	}
}

// cText makes text safe for a C string that must be UTF-8: Foundation answers nil to anything else, and AppKit raises
// on nil.
func cText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
