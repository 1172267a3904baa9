package bar

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/host"
	"github.com/calmenu/calmenu/internal/journal"
)

// patient is a desktop whose questions stay open until somebody presses a button or they are closed.
type patient struct {
	*desktop.Recorder
	opened chan string

	mu     sync.Mutex // guards what follows
	last   chan desktop.Answer
	closed bool
}

func newPatient() *patient {
	return &patient{Recorder: &desktop.Recorder{}, opened: make(chan string, 10)}
}

func (p *patient) Ask(ctx context.Context, q desktop.Question) (desktop.Answer, error) {
	pressed := make(chan desktop.Answer, 1)
	p.mu.Lock()
	p.last = pressed
	p.mu.Unlock()
	p.opened <- q.Title
	select {
	case a := <-pressed:
		return a, nil
	case <-ctx.Done():
		return desktop.Answer{Cancelled: true}, context.Cause(ctx)
	}
}

// press answers the question that was opened last.
func (p *patient) press(a desktop.Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last <- a
}

func (p *patient) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// runs runs an agent on a patient desktop and returns a channel that holds what Run returned.
func runs(t *testing.T, settings ...string) (*Agent, *patient, <-chan error) {
	t.Helper()
	b, _, a := working(t)
	for i := 0; i+1 < len(settings); i += 2 {
		if err := a.Config().Set(a.Home.ConfigFile(), settings[i], settings[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	desk := newPatient()
	b.desk = desk
	returned := make(chan error, 1)
	go func() { returned <- b.Run(t.Context(), t.Output()) }()
	t.Cleanup(b.quit)
	b.Refresh()
	soon(t, "the machine to be seen", func() bool { return slices.Equal(b.running(), []string{"demo"}) })
	return b, desk, returned
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for pause := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-pause.C:
		case <-ctx.Done():
			t.Fatalf("waiting for %s", what)
		}
	}
}

func next[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("waiting for %s", what)
		panic("not reached")
	}
}

func kinds(t *testing.T, b *Agent) []journal.Kind {
	t.Helper()
	events, err := b.app.Journal.Events()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]journal.Kind, 0, len(events))
	for _, e := range events {
		all = append(all, e.Kind)
	}
	return all
}

func TestQuitWhileAQuestionIsOpen(t *testing.T) {
	b, desk, returned := runs(t, "vm.keep_running_on_quit", "ask")
	b.Do(menu.Action{Verb: menu.New})
	if got := next(t, "the question", desk.opened); got != "New workspace" {
		t.Fatalf("asked %q", got)
	}
	b.Do(menu.Action{Verb: menu.Quit})
	b.Do(menu.Action{Verb: menu.Quit}) // a double click
	if got := next(t, "the question", desk.opened); got != "Quit CALMenu?" {
		t.Fatalf("asked %q", got)
	}
	desk.press(desktop.Answer{Button: 0})
	if err := next(t, "the end", returned); err != nil {
		t.Error(err)
	}
	if len(desk.opened) > 0 {
		t.Errorf("asked again: %q", <-desk.opened)
	}
	if n := len(desk.Calls().Notifications); n != 0 {
		t.Errorf("a closed question became %d notifications", n)
	}
	all := kinds(t, b)
	if all[len(all)-1] != journal.AgentEnd {
		t.Errorf("the journal ends with %s", all[len(all)-1])
	}
	if m, err := b.app.Driver.Machine(t.Context(), "demo"); err != nil || !m.Running {
		t.Errorf("the machine that was to be kept: %+v, %v", m, err)
	}
	b.Do(menu.Action{Verb: menu.New}) // late: nothing begins
	b.End()
	b.End()
}

func TestQuitThatIsRefused(t *testing.T) {
	b, desk, returned := runs(t, "vm.keep_running_on_quit", "ask")
	b.Do(menu.Action{Verb: menu.Quit})
	next(t, "the question", desk.opened)
	desk.press(desktop.Answer{Cancelled: true})
	b.Do(menu.Action{Verb: menu.New}) // questions are asked again
	if got := next(t, "the question", desk.opened); got != "New workspace" {
		t.Errorf("asked %q", got)
	}
	b.quit() // a signal
	if err := next(t, "the end", returned); err != nil {
		t.Error(err)
	}
}

// On logout the system ends the process right after: nobody can be asked, and what was chosen is done.
func TestLogout(t *testing.T) {
	for _, tt := range []struct {
		how  string
		runs bool
	}{{"stop", false}, {"keep", true}, {"ask", true}} {
		t.Run(tt.how, func(t *testing.T) {
			b, desk, returned := runs(t, "vm.keep_running_on_quit", tt.how)
			b.Do(menu.Action{Verb: menu.New})
			next(t, "the question", desk.opened)
			b.End()
			select {
			case <-b.ended:
			default:
				t.Error("the clean-up returned before the agent did")
			}
			if err := next(t, "the end", returned); err != nil {
				t.Error(err)
			}
			if !desk.closed {
				t.Error("the desktop was not let go of")
			}
			if m, err := b.app.Driver.Machine(t.Context(), "demo"); err != nil || m.Running != tt.runs {
				t.Errorf("the machine runs: %v, %v", m.Running, err)
			}
		})
	}
}

// Work that goes on holds up a logout for as long as it may, and is not cut short otherwise.
func TestLogoutWhileWorkGoesOn(t *testing.T) {
	b, _, returned := runs(t)
	work := make(chan struct{})
	b.tasks.once(menu.Action{Verb: menu.Snapshot, Workspace: "demo"}, func() { <-work })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.endWithin(ctx) // no time at all
	select {
	case err := <-returned:
		t.Errorf("the work was not waited for: %v", err)
	default:
	}
	close(work)
	if err := next(t, "the end", returned); err != nil {
		t.Error(err)
	}
}

func TestDoubleClickOpensOneWindow(t *testing.T) {
	b, desk, returned := runs(t)
	launch := menu.Action{Verb: menu.Launch, Workspace: "demo", Arg: "codex"}
	b.Do(launch)
	b.Do(launch)
	other := menu.Action{Verb: menu.Shell, Workspace: "demo"}
	b.Do(other)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := desk.Wait(ctx, func(c desktop.Calls) bool { return len(c.Terminals) >= 2 }); err != nil {
		t.Fatal(err)
	}
	b.Do(launch) // the second click may come when the first has been done
	b.quit()
	if err := next(t, "the end", returned); err != nil {
		t.Error(err)
	}
	if n := len(desk.Calls().Terminals); n != 2 {
		t.Errorf("%d windows were opened, want one each", n)
	}
}

func TestAwakeWhileAnAgentWorks(t *testing.T) {
	is := func(life state.Life, sessions ...state.Session) state.State {
		return state.State{Workspaces: []state.Workspace{{Name: "demo", Life: life, Sessions: sessions}, {Name: "other"}}}
	}
	agent, waiting, shell := state.Session{Agent: "claude"}, state.Session{Agent: "claude", Waiting: true}, state.Session{Agent: "shell"}
	held, released := 0, 0
	a := awake{hold: func(context.Context, string) (func(), error) {
		held++
		return func() { released++ }, nil
	}}
	for i, step := range []struct {
		s              state.State
		held, released int
	}{
		{is(state.Stopped), 0, 0},
		{is(state.Running), 0, 0},
		{is(state.Running, shell), 0, 0},
		{is(state.Running, agent), 1, 0},
		{is(state.Running, shell, agent), 1, 0},
		{is(state.Running, waiting), 1, 1},
		{is(state.Running, waiting, agent), 2, 1},
		{is(state.Stopped, agent), 2, 2},
		{is(state.Running, agent), 3, 2},
	} {
		a.look(step.s, nil)
		if held != step.held || released != step.released {
			t.Errorf("step %d: held %d times, let go %d times", i, held, released)
		}
	}
	a.letGo()
	a.letGo()
	if released != 3 {
		t.Errorf("let go %d times at the end", released)
	}

	tries, told := 0, 0
	log := zerolog.Nop()
	a = awake{hold: func(context.Context, string) (func(), error) {
		tries++
		return nil, errors.New("no logind")
	}}
	for range 3 {
		a.look(is(state.Running, agent), func() *zerolog.Event { told++; return log.Warn() })
	}
	if tries != 3 || told != 1 {
		t.Errorf("tried %d times, told of it %d times", tries, told)
	}
}

// loginItem is a system that records what is asked of it.
type loginItem struct {
	is    state.LoginItem
	calls []string
}

func (l *loginItem) State() state.LoginItem { return l.is }

func (l *loginItem) Set(on bool) error {
	if l.is = state.LoginOff; on {
		l.is = state.LoginOn
	}
	l.calls = append(l.calls, string(l.is))
	return nil
}

func (l *loginItem) Approve(context.Context) error {
	l.calls = append(l.calls, "approve")
	return nil
}

func TestStartAtLogin(t *testing.T) {
	b, _, a := working(t)
	item := &loginItem{is: state.LoginOff}
	b.StartAtLogin(item)
	toggle := menu.Action{Verb: menu.Login}
	check := func(what string, is state.LoginItem, wanted bool, calls ...string) {
		t.Helper()
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		if b.login.state() != is || a.Config().UI.StartAtLogin != wanted || !slices.Equal(item.calls, calls) {
			t.Errorf("%s: shown %q, configured %v, called %q", what, b.login.state(), a.Config().UI.StartAtLogin, item.calls)
		}
		item.calls = nil
	}
	act := func() {
		t.Helper()
		if err := b.act(t.Context(), toggle); err != nil {
			t.Fatal(err)
		}
	}
	check("at first", state.LoginOff, false)
	act()
	check("clicked", state.LoginOn, true, "on")
	b.applyLogin()
	check("config.yaml is read again", state.LoginOn, true)
	item.is = state.LoginNeedsApproval // the person switches it off in the system's settings
	b.login.look()
	b.applyLogin()
	check("switched off elsewhere", state.LoginNeedsApproval, true)
	act()
	check("clicked then", state.LoginNeedsApproval, true, "approve")
	item.is = state.LoginOn
	act()
	check("clicked off", state.LoginOff, false, "off")
	set := func(value string) {
		t.Helper()
		if err := a.Config().Set(a.Home.ConfigFile(), "ui.start_at_login", value); err != nil {
			t.Fatal(err)
		}
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		b.applyLogin()
	}
	b.applyLogin()
	set("true")
	check("by config.yaml", state.LoginOn, true, "on")
	set("false")
	check("by config.yaml, off", state.LoginOff, false, "off")
}

// Events in any order, while things are clicked and the agent ends: nothing waits for anything for ever.
func TestEventsInAnyOrder(t *testing.T) {
	b, desk, returned := runs(t)
	var all sync.WaitGroup
	for _, events := range [][]host.Event{
		{host.WillSleep, host.DidWake, host.DidWake, host.WillSleep, host.DidWake},
		{host.LowPowerOn, host.ScreenLocked, host.ScreenUnlocked, host.LowPowerOff},
		{host.UserSwitchedAway, host.NetworkChanged, host.UserSwitchedTo, host.NetworkChanged},
	} {
		all.Go(func() {
			for range 20 {
				for _, e := range events {
					b.app.Rhythm.Tell(e)
				}
			}
		})
	}
	all.Go(func() { b.Do(menu.Action{Verb: menu.Shell, Workspace: "demo"}) })
	all.Wait()
	b.app.Rhythm.Tell(host.DidWake)
	if rests, _ := b.app.Rhythm.Rests(); rests {
		t.Error("it rests after everything was over")
	}
	b.app.Rhythm.Tell(host.WillSleep) // and ends while it rests
	b.Do(menu.Action{Verb: menu.Quit})
	next(t, "the question", desk.opened)
	desk.press(desktop.Answer{})
	if err := next(t, "the end", returned); err != nil {
		t.Error(err)
	}
	b.app.Rhythm.Tell(host.DidWake)
}
