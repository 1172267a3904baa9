package bar

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

func TestEachWaitIsToldOfOnceAndNotTooOften(t *testing.T) {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	codex := func(since int) state.Wait { return state.Wait{Agent: "codex", Session: "s", Since: at(since)} }
	var w waits
	for _, step := range []struct {
		what  string
		at    int
		waits []state.Wait
		told  int
		again int // 0: never
	}{
		{"one waited before there was an agent", 0, []state.Wait{codex(-5)}, 0, 0},
		{"it still does", 1, []state.Wait{codex(-5)}, 0, 0},
		{"answered", 2, nil, 0, 0},
		{"it waits again", 3, []state.Wait{codex(3)}, 1, 0},
		{"it still does", 5, []state.Wait{codex(3)}, 0, 0},
		{"in two windows", 6, []state.Wait{codex(3), {Agent: "codex", Session: "t", Since: at(6)}}, 0, 0},
		{"answered, and another waits", 7, []state.Wait{{Agent: "shell", Since: at(7)}}, 1, 0},
		{"the first again, too soon", 10, []state.Wait{codex(9)}, 0, 33},
		{"still too soon", 20, []state.Wait{codex(9)}, 0, 33},
		{"answered before it was time", 21, nil, 0, 0},
		{"and again", 25, []state.Wait{codex(25)}, 0, 33},
		{"now it is time", 33, []state.Wait{codex(25)}, 1, 0},
		{"once", 34, []state.Wait{codex(25)}, 0, 0},
	} {
		s := state.State{Time: at(step.at), Workspaces: []state.Workspace{{Name: "demo", Waits: step.waits}}}
		now, again := w.due(s)
		var want time.Time
		if step.again != 0 {
			want = at(step.again)
		}
		if len(now) != step.told || !again.Equal(want) {
			t.Errorf("%s: told of %d, again at %v; want %d, %v", step.what, len(now), again, step.told, want)
		}
	}
}

func TestWhatAGuestSaidIsOneHarmlessLine(t *testing.T) {
	for text, want := range map[string]string{
		"May I run make?":        "May I run make?",
		" a\n\tb\r\n":            "a b",
		"\x1b]0;evil\x07 \x9b1m": "]0;evil 1m",
		"a\u202eb\u2066c\xffd":   "abcd",
		"":                       "",
	} {
		if got := said(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	if got := []rune(said(strings.Repeat("ü", 500))); len(got) != waitingText || got[waitingText-1] != '…' {
		t.Errorf("500 characters are shown as %d", len(got))
	}
}

// working is an agent over a machine that runs, with a desktop that records.
func working(t *testing.T) (*Agent, *desktop.Recorder, *app.App) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CAL_HOME", filepath.Join(t.TempDir(), "cal"))
	a, err := app.Open(app.Options{Driver: vmtest.NewMemory(t, vmtest.MemoryOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if err := a.New(t.Context(), "demo", map[string]string{"agent": "shell"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	desk := &desktop.Recorder{}
	b, err := New(a, desk)
	if err != nil {
		t.Fatal(err)
	}
	return b, desk, a
}

func TestAWaitingAgentIsToldOfAndGoneTo(t *testing.T) {
	b, desk, a := working(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	say := func(kind journal.Kind, id, detail string) {
		t.Helper()
		e := journal.Event{Kind: kind, Workspace: "demo", Op: id, Agent: "shell", Detail: detail}
		if err := a.Journal.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	look := func() {
		t.Helper()
		s, err := a.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b.announceWaiting(ctx, s)
	}
	look()
	say(journal.SessionBegin, "one", "")
	say(journal.SessionWaiting, "one", "Ready?\x07")
	look()
	look()
	calls, err := desk.Wait(ctx, func(c desktop.Calls) bool { return len(c.Notifications) > 0 })
	if err != nil {
		t.Fatal(err)
	}
	n := calls.Notifications[0]
	if n.Title != "Shell is waiting in demo" || n.Body != "Ready?" {
		t.Errorf("the notification is %q: %q", n.Title, n.Body)
	}

	// Its window is raised where there is one, and opened where there is none.
	desk.Windows = func(desktop.Window) bool { return true }
	n.OnClick()
	if calls, err = desk.Wait(ctx, func(c desktop.Calls) bool { return len(c.Raised) > 0 }); err != nil {
		t.Fatal(err)
	}
	b.tasks.all.Wait()
	if w := calls.Raised[0]; w.PID != journal.Self().PID || w.Title != "demo" {
		t.Errorf("raised %+v", w)
	}
	if calls = desk.Calls(); len(calls.Terminals) != 0 || len(calls.Notifications) != 1 {
		t.Errorf("beside raising: %+v", calls)
	}
	desk.Windows = nil
	again := []string{"session", "demo", "--agent", "shell", "--pause", "--yes"}
	for _, step := range []struct {
		do   menu.Action
		want []string
	}{
		{menu.Action{Verb: menu.GoTo, Workspace: "demo", Arg: "shell"}, again},
		{menu.Action{Verb: menu.Launch, Workspace: "demo"}, again},
		{menu.Action{Verb: menu.Launch, Workspace: "demo", Arg: "codex"}, []string{"session", "demo", "--agent", "codex", "--pause"}},
	} {
		if err := b.act(ctx, step.do); err != nil {
			t.Fatal(err)
		}
		all := desk.Calls().Terminals
		if got := all[len(all)-1].Argv[1:]; !slices.Equal(got, step.want) {
			t.Errorf("%+v opens %q, want %q", step.do, got, step.want)
		}
	}
	// A second Launch raises the first window; another agent gets its own.
	say(journal.SessionActive, "one", "")
	desk.Windows = func(desktop.Window) bool { return true }
	before := desk.Calls()
	if err := b.act(ctx, menu.Action{Verb: menu.Launch, Workspace: "demo"}); err != nil {
		t.Fatal(err)
	}
	if after := desk.Calls(); len(after.Raised) != len(before.Raised)+1 || len(after.Terminals) != len(before.Terminals) {
		t.Errorf("a second launch: %+v", after)
	}
	if err := b.act(ctx, menu.Action{Verb: menu.Launch, Workspace: "demo", Arg: "codex"}); err != nil {
		t.Fatal(err)
	}
	if after := desk.Calls(); len(after.Raised) != len(before.Raised)+1 || len(after.Terminals) != len(before.Terminals)+1 {
		t.Errorf("a launch with another agent: %+v", after)
	}
}
