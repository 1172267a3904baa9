package bar

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/desktop"
)

const (
	// waitingEvery is how often at most a person is told that the same agent waits.
	waitingEvery = 30 * time.Second
	// waitingText bounds what an agent said, in characters, where it is shown.
	waitingText = 120
)

// waits remembers whose wait was told of. It is of the goroutine that runs.
type waits struct {
	told  map[waiter]told
	again time.Time // when a look is asked for already
}

// waiter is an agent in a workspace; several windows may show it.
type waiter struct{ workspace, agent string }

type told struct {
	since time.Time // the wait's begin
	at    time.Time
}

// due returns what a person is to be told of now: each wait once, of one agent no more often than waitingEvery. again is
// when to ask next for one that came too soon after the last; zero if there is none. Waits in the first state are known:
// they are in the menu.
func (w *waits) due(s state.State) (now []waitingAgent, again time.Time) {
	first := w.told == nil
	if first {
		w.told = map[waiter]told{}
	}
	for _, ws := range s.Workspaces {
		seen := map[string]bool{}
		for _, x := range ws.Waits {
			if seen[x.Agent] {
				continue // in another window: it was the first that was told of
			}
			seen[x.Agent] = true
			who := waiter{ws.Name, x.Agent}
			last, known := w.told[who]
			switch {
			case first:
				w.told[who] = told{since: x.Since}
			case known && !x.Since.After(last.since):
			case known && s.Time.Sub(last.at) < waitingEvery:
				if at := last.at.Add(waitingEvery); again.IsZero() || at.Before(again) {
					again = at
				}
			default:
				w.told[who] = told{since: x.Since, at: s.Time}
				now = append(now, waitingAgent{ws, x})
			}
		}
	}
	return now, again
}

type waitingAgent struct {
	workspace state.Workspace
	wait      state.Wait
}

// announceWaiting tells of agents that have begun to wait. Clicking brings the person to the agent.
func (b *Agent) announceWaiting(ctx context.Context, s state.State) {
	now, again := b.waits.due(s)
	for _, x := range now {
		w, err := b.app.Workspace(x.workspace.Name)
		if err != nil || !notifyWaiting(w) {
			continue
		}
		goTo := func() { b.Do(menu.Action{Verb: menu.GoTo, Workspace: w.Name, Arg: x.wait.Agent}) }
		n := desktop.Notification{
			Title:   fmt.Sprintf("%s is waiting in %s", menu.AgentName(x.workspace, x.wait.Agent, b.choices()), w.Name),
			Body:    said(x.wait.Detail),
			OnClick: goTo, Actions: []desktop.Action{{Label: desktop.OpenSession, Run: goTo}},
		}
		b.tasks.start(func() { b.notify(n) })
	}
	if again.IsZero() || again.Equal(b.waits.again) {
		return
	}
	b.waits.again = again
	wait := time.NewTimer(time.Until(again))
	b.tasks.start(func() {
		defer wait.Stop()
		select {
		case <-wait.C:
			b.Refresh()
		case <-ctx.Done():
		}
	})
}

func notifyWaiting(w *config.Workspace) bool { return w.Session.NotifyWaiting }

// said is text of the guest's as a notification may show it: one line of printable characters, capped.
func said(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, strings.ToValidUTF8(text, ""))
	r := []rune(strings.Join(strings.Fields(text), " "))
	if len(r) > waitingText {
		r = append(r[:waitingText-1], '…')
	}
	return string(r)
}

// goTo brings a person to an agent: its window to the front, or where none can be raised a new one. An agent that waits was
// confirmed when it was launched.
func (b *Agent) goTo(ctx context.Context, workspace, agent string) error {
	s, err := b.app.State(ctx)
	if err != nil {
		return err
	}
	w, ok := s.Find(workspace)
	if !ok {
		_, err := b.app.Workspace(workspace)
		return err
	}
	if agent == "" {
		agent = w.Agent
	}
	// The session that has waited longest first: another window on the same agent may be there too.
	wait, waits := w.WaitOf(agent)
	for _, only := range []bool{true, false} {
		for _, x := range w.Sessions {
			if x.Agent != agent || (waits && x.ID == wait.Session) != only {
				continue
			}
			raised, err := b.desk.Raise(ctx, desktop.Window{PID: x.PID, Title: workspace})
			if err != nil {
				b.app.Log.Warn().Str("workspace", workspace).Err(err).Msg("raising a session's window")
			}
			if raised {
				return nil
			}
		}
	}
	return b.launch(ctx, w, agent)
}
