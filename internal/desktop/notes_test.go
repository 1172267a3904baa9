package desktop

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
)

// fakeCenter is a notification centre whose person answers when the test says so.
type fakeCenter struct {
	mu       sync.Mutex // guards what follows
	events   []string
	asked    []func(bool, string)
	answer   *bool // what the person has said; nil: nothing yet
	problem  string
	ids      []string
	response func(id, key string)
}

func (c *fakeCenter) authorize(answer func(bool, string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, "asked")
	switch {
	case c.problem != "":
		go answer(false, c.problem)
	case c.answer != nil:
		go answer(*c.answer, "")
	default:
		c.asked = append(c.asked, answer)
	}
}

// say is the person's answer.
func (c *fakeCenter) say(granted bool) {
	c.mu.Lock()
	c.answer = &granted
	asked := c.asked
	c.asked = nil
	c.mu.Unlock()
	for _, answer := range asked {
		answer(granted, "")
	}
}

func (c *fakeCenter) categories(all map[string][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, "categories "+strings.Join(slices.Sorted(maps.Keys(all)), ","))
}

func (c *fakeCenter) post(id, title, body, category string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, id)
	c.events = append(c.events, "post "+title+"/"+body+"/"+category)
}

func (c *fakeCenter) withdraw(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, "withdraw "+strconv.Itoa(slices.Index(c.ids, id)))
}

func (c *fakeCenter) respond(f func(id, key string)) { c.response = f }

func (c *fakeCenter) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

const usualCategories = "categories calmenu:Allow Once|Always Allow|Deny,calmenu:Open Session,calmenu:Reveal"

// TestNoteIsShownUntil: one that is of no use any more is taken back, and does nothing from then on.
func TestNoteIsShownUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCenter{}
		n := newNotes(t.Context(), c)
		c.say(true)
		until, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, note := range []Notification{
			{Title: "stays"},
			{Title: "asks", OnClick: func() { t.Error("it was clicked too late") }, Until: until},
		} {
			if err := n.notify(t.Context(), note); err != nil {
				t.Fatal(err)
			}
		}
		before := len(c.all())
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := c.all()[before:]; !slices.Equal(got, []string{"withdraw 1"}) {
			t.Errorf("after a minute: %q", got)
		}
		c.response(c.ids[1], clicked)
		synctest.Wait()
	})
}

func TestNotesAreClicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCenter{}
		over, end := context.WithCancel(t.Context())
		n := newNotes(over, c)
		if got := c.all(); !slices.Equal(got, []string{usualCategories}) {
			t.Errorf("at the start: %q: a person must not be asked then", got)
		}
		c.say(true)
		did := make(chan string, 10)
		do := func(what string) func() { return func() { did <- what } }
		for _, note := range []Notification{
			{Title: "landed\x00\xff", Body: "a.bin", OnClick: do("click"), Actions: []Action{{Reveal, do("reveal")}}},
			{Title: "waits", OnClick: do("window"), Actions: []Action{{OpenSession, do("session")}}},
			{Title: "new", Actions: []Action{{"One", do("one")}, {"Two", do("two")}}},
			{Title: "plain"},
		} {
			if err := n.notify(t.Context(), note); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{
			usualCategories,
			"asked", "post landed\uFFFD/a.bin/calmenu:Reveal", "asked", "post waits//calmenu:Open Session",
			"asked", strings.Replace(usualCategories, ",", ",calmenu:One|Two,", 1), "post new//calmenu:One|Two",
			"asked", "post plain//",
		}
		if got := c.all(); !slices.Equal(got, want) {
			t.Errorf("happened %q\nwant     %q", got, want)
		}
		for _, click := range []struct{ id, key, want string }{
			{c.ids[0], "0", "reveal"},
			{c.ids[0], clicked, ""}, // answered already
			{c.ids[1], clicked, "window"},
			{c.ids[2], "1", "two"},
			{c.ids[3], clicked, ""},
			{"calmenu-of-an-earlier-run", clicked, ""},
			{c.ids[2], "7", ""},
		} {
			c.response(click.id, click.key)
			synctest.Wait()
			got := ""
			select {
			case got = <-did:
			default:
			}
			if got != click.want {
				t.Errorf("a click on %s of %s did %q, want %q", click.key, click.id, got, click.want)
			}
		}
		if err := n.notify(t.Context(), Notification{Title: "late", OnClick: do("late")}); err != nil {
			t.Fatal(err)
		}
		end()
		c.response(c.ids[4], clicked)
		synctest.Wait()
		if len(did) > 0 {
			t.Error("a click was followed after the end")
		}
	})
}

func TestPermissionToNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCenter{}
		n := newNotes(t.Context(), c)
		impatient, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := n.notify(impatient, Notification{Title: "first"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without an answer: %v", err)
		}
		c.say(true)
		if got := c.all(); got[len(got)-1] != "post first//" {
			t.Errorf("what the person was asked for was not shown: %q", got)
		}
		c.say(false) // switched off in the settings
		err := n.notify(t.Context(), Notification{Title: "second"})
		if !errors.Is(err, errDenied) || !strings.Contains(hint.Of(err), "System Settings") {
			t.Errorf("denied: %v (%s)", err, hint.Of(err))
		}
		c.say(true) // and on again: no restart is needed
		if err := n.notify(t.Context(), Notification{Title: "third"}); err != nil {
			t.Error(err)
		}
		c.problem = "not signed"
		if err := n.notify(t.Context(), Notification{Title: "fourth"}); err == nil || !strings.Contains(err.Error(), "not signed") {
			t.Errorf("macOS would not ask: %v", err)
		}
	})
}

func TestStaleNotesAreNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCenter{}
		n := newNotes(t.Context(), c)
		ctx, cancel := context.WithTimeout(t.Context(), stale)
		defer cancel()
		if err := n.notify(ctx, Notification{Title: "old"}); err == nil {
			t.Error("posted without permission")
		}
		c.say(true)
		if got := c.all(); got[len(got)-1] != "asked" {
			t.Errorf("happened: %q", got)
		}
	})
}
