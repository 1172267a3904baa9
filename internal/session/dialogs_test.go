package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// Each conversation is what is typed and what the screen shows meanwhile; "⌨" steps are typed, the others are waited for.
func TestHotkeys(t *testing.T) {
	const up, down = "\x1b[A", "\x1bOB"
	type set func(*fakeActions)
	for name, c := range map[string]struct {
		set   set
		steps []string
		want  string // the calls
	}{
		"snapshot, name made up": {nil, []string{"⌨s", "Name of the snapshot", "⌨\r", "✓ Snapshot taken[2J."}, `snapshot ""`},
		"snapshot, named":        {nil, []string{"⌨s", "Name of", "⌨fine  tue\x17wed\x7fd!", "> fine  wed!", "⌨\r", "✓"}, `snapshot "fine  wed!"`},
		"snapshot, edited": {
			nil, []string{"⌨s", "Name of", "⌨äb漢\x1b[D\x1b[Dx", "⌨\x1b[H<\x1b[F>\x1b[3~", "> <äxb漢>", "⌨\r", "✓"}, `snapshot "<äxb漢>"`,
		},
		"snapshot, name pasted": {
			nil,
			[]string{"⌨s", "Name of", "⌨" + pasteBegin + "two\r\nlines\x1b[2J" + prefix + pasteEnd, "> two lines[2J", "⌨\r", "✓"},
			`snapshot "two lines[2J"`,
		},
		"snapshot, cleared and left": {nil, []string{"⌨s", "Name of", "⌨name\x15", "⌨\x1b"}, ""},
		"snapshot in kitty's keys":   {nil, []string{"⌨\x1b[115u", "Name of", "⌨\x1b[97;2u\x1b[98u\x1b[13u", "✓"}, `snapshot "Ab"`},
		"commit in the second repository": {
			nil, []string{
				"⌨c", "Commit in", "▸ 1  app (agent/fix)  3 files changed", "2  lib", "⌨j", "▸ 2  lib", "⌨\r",
				"+new]0;evil", "1-21 of 63", "⌨ ", "22-42 of 63", "⌨\r", "Message:", "⌨fix it\r", "✓ Committed 1a2b3c4.",
			}, `diff lib; commit lib "fix it"`,
		},
		"commit, chosen by digit, left at the diff": {nil, []string{"⌨c", "2  lib", "⌨2", "▸ 2", "⌨" + up, "▸ 1", "⌨\r", "+new", "⌨q"}, `diff app`},
		"commit, a message must be": {
			func(a *fakeActions) { a.repos = a.repos[:1] },
			[]string{"⌨c", "+new", "⌨\r", "Message:", "⌨\r\r \r", "⌨x\r", "✓"},
			`diff app; commit app "x"`,
		},
		"commit, no repository": {func(a *fakeActions) { a.repos = nil }, []string{"⌨c", "There is no repository"}, ""},
		"commit, nothing is changed": {
			func(a *fakeActions) { a.repos = []Repository{{Name: "app", Branch: "main"}} }, []string{"⌨c", "Nothing to commit"}, "",
		},
		"pull request": {
			nil,
			[]string{"⌨p", "Pull request from", "⌨" + down, "▸ 2  site", "⌨\r", "Title of", "⌨\r", "cannot be empty", "⌨A title\r", "✓ https://example.com/pr/1"},
			`pr site "A title"`,
		},
		"pull request of a repository with changes": {
			func(a *fakeActions) { a.repos = a.repos[:1] }, []string{"⌨p", "not committed will not be in it", "⌨x\r", "✓"}, `pr app "x"`,
		},
		"rollback, refused by Enter": {nil, []string{"⌨r", "before lunch  manual, 1 hour ago, 12 MB", "⌨\r", "• app: 3 files uncommitted", "[y]es  [N]o", "⌨\r"}, ""},
		"rollback, unknown risk": {
			func(a *fakeActions) { a.risk = Risk{Unknown: "no answer"} },
			[]string{"⌨r", "before lunch", "⌨\r", "could not all be looked at: no answer", "⌨n"},
			"",
		},
		"rollback, no snapshot": {func(a *fakeActions) { a.rows = nil }, []string{"⌨r", "There is no snapshot"}, ""},
		"an agent that is here": {nil, []string{"⌨a", "▸ 1  Claude Code  signed in, at work, this one", "⌨\r", "is the agent here already"}, ""},
		"stop, refused":         {nil, []string{"⌨q", "[K]eep the agent running", "⌨s", "• app: 3 files uncommitted", "⌨n"}, ""},
		"quit, back":            {nil, []string{"⌨q", "[K]eep", "⌨\x1b"}, ""},
		"failure with a hint": {
			func(a *fakeActions) { a.err = hint.Errorf("Make room.", "writing: disk full\x1b[2J") },
			[]string{"⌨s", "Name of", "⌨\r", "✗ That failed", "writing: disk full", "Make room.", "⌨x"},
			`snapshot ""`,
		},
		"progress": {
			func(a *fakeActions) {
				a.block = make(chan struct{})
				a.progress = []vm.Phase{{Name: "copying\x1b", Done: 30, Total: 120}}
			},
			[]string{"⌨s", "Name of", "⌨\r", "◐ Snapshot: copying 25% · 0 s  Ctrl-C:Cancel", "⌨\x03", "! Cancelled."},
			`snapshot ""; cancelled`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := perform(t, 90, 24, nil)
			if c.set != nil {
				c.set(s.a)
			}
			s.shows("agent at work")
			s.send(prefix)
			s.shows("[S]napshot")
			for _, step := range c.steps {
				if keys, ok := strings.CutPrefix(step, "⌨"); ok {
					s.send(keys)
					continue
				}
				s.shows(step)
			}
			if !strings.HasPrefix(c.steps[len(c.steps)-1], "⌨") {
				s.send("\r") // takes the notice away
			}
			until(t, "the end of the dialogs", func() bool { _, open := s.c.state(); return open == nil })
			s.shows("agent at work")
			s.send("~")
			s.g.gets(t, "~") // nothing else that was typed went to the agent
			if got := s.a.all(); got != c.want {
				t.Errorf("calls %s, want %s", got, c.want)
			}
		})
	}
}

func TestWhatEndsTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		keys  []string
		want  RunResult
		calls string
	}{
		"keep":     {[]string{"q", "k"}, RunResult{Detach: true}, ""},
		"stop":     {[]string{"q", "s", "y"}, RunResult{Stop: true}, "stop"},
		"agent":    {[]string{"a", "\x1b[B", "\r"}, RunResult{SwitchTo: "codex"}, ""},
		"rollback": {[]string{"r", "2", "\r", "y", "x"}, RunResult{RolledBack: true}, "rollback s1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := perform(t, 80, 24, nil)
			for i, k := range c.keys {
				switch {
				case i == 0:
					s.send(prefix)
				case k == "y": // a question must have been seen to be agreed to
					s.shows("[y]es  [N]o")
				}
				s.send(k)
			}
			if r := s.ended(); r != c.want || s.err != nil {
				t.Errorf("%+v, %v", r, s.err)
			}
			if got := s.a.all(); got != c.calls {
				t.Errorf("calls %q", got)
			}
			// Another program takes its place.
			s.run(newGuest())
			s.shows("agent at work")
			s.send("x")
			s.g.gets(t, "x")
		})
	}
}

// What is under way when the connection breaks, as with a rollback, is gone on with, and told.
func TestConnectionThatBreaksDuringAnAction(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.a.block = make(chan struct{})
	s.send(prefix + "r\ry") // this y comes before its question
	s.shows("[y]es  [N]o")
	s.send("y")
	s.shows("◐ Rolling back")
	s.g.lost <- guest.ErrLost
	<-s.g.done
	select {
	case <-s.done:
		t.Fatal("Run ended while the VM is being rolled back")
	default:
	}
	close(s.a.block)
	s.shows("✓ Rolled back.")
	s.send(" ")
	if r := s.ended(); r != (RunResult{RolledBack: true}) {
		t.Errorf("%+v", r)
	}
}

// A question that nobody has answered ends with the program.
func TestProgramThatEndsBehindAQuestion(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.send(prefix + "s")
	s.shows("Name of the snapshot")
	s.g.exit <- 3
	if r := s.ended(); r != (RunResult{Exit: 3}) {
		t.Errorf("%+v", r)
	}
	s.hides("Name of the snapshot")
}

func TestConnectionLostIsAnError(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.g.lost <- guest.ErrLost
	s.ended()
	if !errors.Is(s.err, guest.ErrLost) {
		t.Error(s.err)
	}
}

func TestAgentText(t *testing.T) {
	for want, row := range map[string]AgentRow{
		"Codex  not installed yet":             {Name: "Codex", Auth: AuthUnknown, Absent: true},
		"Codex  sign-in unknown":               {Name: "Codex", Auth: AuthUnknown},
		"Codex  signed out, at work, this one": {Name: "Codex", Auth: AuthSignedOut, Running: true, Current: true},
		"Shell":                                {Name: "Shell"},
		"Shell, at work":                       {Name: "Shell", Running: true},
	} {
		if got := agentText(row); got != want {
			t.Errorf("%+v: %q, want %q", row, got, want)
		}
	}
}
