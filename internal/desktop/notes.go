package desktop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
)

// clicked is the key of a click on the notification itself; the others are the actions' places.
const clicked = "default"

// calls returns what to call for what a person does with n.
func (n Notification) calls() map[string]func() {
	calls := map[string]func(){}
	if n.OnClick != nil {
		calls[clicked] = n.OnClick
	}
	for i, a := range n.Actions {
		calls[strconv.Itoa(i)] = a.Run
	}
	return calls
}

// center is macOS' notification centre. Its methods return at once; what it tells it tells on threads of the system's,
// which must not be held up.
type center interface {
	// authorize asks the person, once in their life, whether CALMenu may notify, and calls answer with what they said,
	// then or now. problem is why macOS could not ask.
	authorize(answer func(granted bool, problem string))
	// categories tells which sets of buttons notifications may have, by name: the labels, in order.
	categories(all map[string][]string)
	// post shows a notification with the buttons of a category; "" is none.
	post(id, title, body, category string)
	// withdraw takes a notification off the screen and out of the list of those there were.
	withdraw(id string)
	// respond has f called when a person clicks a notification, or its button in place key.
	respond(f func(id, key string))
}

// stale is how old a notification may get while the person makes up their mind; then it is news no more.
const stale = 2 * time.Minute

// errDenied says that the person wants no notifications, which is theirs to decide: none is shown another way.
var errDenied = errors.New("notifications of CALMenu are switched off")

const allowHint = "Allow them in System Settings > Notifications > CALMenu."

// notes posts notifications to a center and calls back when they are clicked.
type notes struct {
	center   center
	over     context.Context
	handlers handlers[string]

	mu    sync.Mutex // guards what follows
	known map[string][]string
	last  int
}

func newNotes(over context.Context, c center) *notes {
	n := &notes{center: c, over: over, known: map[string][]string{}}
	for _, labels := range [][]string{{Reveal}, {OpenSession}, {AllowOnce, AlwaysAllow, Deny}} {
		n.known[categoryName(labels)] = labels
	}
	c.respond(n.respond)
	c.categories(n.known)
	return n
}

// respond runs what was clicked, on a goroutine of its own.
func (s *notes) respond(id, key string) {
	if f := s.handlers.take(id, key); f != nil && s.over.Err() == nil {
		go f()
	}
}

// notify posts n. The first asks for permission: a person who is asked sees what for. It is posted when they have agreed,
// also if that takes longer than ctx. macOS does not say whether it was shown.
func (s *notes) notify(ctx context.Context, n Notification) error {
	begun := time.Now()
	answered := make(chan error, 1)
	s.center.authorize(func(granted bool, problem string) {
		switch {
		case problem != "":
			answered <- hint.Errorf(allowHint, "posting a notification: macOS would not ask for permission: %s", problem)
		case !granted:
			answered <- hint.Wrap(fmt.Errorf("posting a notification: %w", errDenied), allowHint)
		default:
			if s.over.Err() == nil && time.Since(begun) < stale {
				s.post(n)
			}
			answered <- nil
		}
	})
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for permission to notify: %w", context.Cause(ctx))
	}
}

func (s *notes) post(n Notification) {
	var labels []string
	for _, a := range n.Actions {
		labels = append(labels, cText(a.Label))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	id := fmt.Sprintf("calmenu-%d-%d", time.Now().UnixNano(), s.last)
	category := categoryName(labels)
	if category != "" && !slices.Equal(s.known[category], labels) {
		s.known[category] = labels
		s.center.categories(s.known)
	}
	s.handlers.mu.Lock()
	defer s.handlers.mu.Unlock()
	if calls := n.calls(); len(calls) > 0 {
		s.handlers.keep(id, calls)
	}
	s.center.post(id, cText(n.Title), cText(n.Body), category)
	if n.Until != nil {
		context.AfterFunc(n.Until, func() {
			s.handlers.take(id, "")
			s.center.withdraw(id)
		})
	}
}

// categoryName is the same for the same labels, in every run: macOS keeps notifications over the program's end.
func categoryName(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	return "calmenu:" + strings.Join(labels, "|")
}
