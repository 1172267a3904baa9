package session

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
)

// converse answers questions on a terminal: steps with "⌨" are typed, the others are waited for.
func converse(x *terminal, steps []string) {
	x.t.Helper()
	for _, step := range steps {
		if keys, ok := strings.CutPrefix(step, "⌨"); ok {
			x.send(keys)
		} else {
			x.shows(step)
		}
	}
}

func TestAskExit(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(*fakeActions)
		steps []string
		want  ExitResult
		calls string
	}{
		"keep, by Enter throughout": {
			nil, []string{
				"Claude Code has ended.", "• app: 3 files uncommitted", "app (agent/fix): 3 files changed", "[L]eave  [C]ommit", "⌨\r",
				"site (main) has commits that are not pushed.", "⌨\r", "lib (main)", "⌨\r", "What becomes of the state of demo?",
				"[K]eep (Enter)", "⌨\r",
			}, ExitResult{}, "",
		},
		"commit and push": {
			func(a *fakeActions) { a.repos = a.repos[:1] }, []string{
				"[C]ommit", "⌨c", "+new", "⌨\r", "Message:", "⌨done\r", "✓ Committed 1a2b3c4.", "app has commits that are not pushed.", "[P]ush", "⌨p", "✓ Pushed.", "⌨k",
			}, ExitResult{}, `diff app; commit app "done"; push app`,
		},
		"a commit that fails": {
			func(a *fakeActions) {
				a.repos, a.err = a.repos[:1], hint.Errorf("Say who you are.", "committing: no identity")
			}, []string{
				"[C]ommit", "⌨c", "+new", "⌨\r", "Message:", "⌨x\r", "✗ committing: no identity", "Say who you are.", "[K]eep", "⌨k",
			}, ExitResult{}, `diff app; commit app "x"`,
		},
		"disposable, nothing at risk": {
			func(a *fakeActions) { a.risk = Risk{} },
			[]string{"demo is disposable.", "[D]elete it (Enter)", "⌨\r"},
			ExitResult{Discard: true},
			"",
		},
		"disposable, with work at risk": {
			func(a *fakeActions) { a.repos = nil }, []string{"goes with it", "[K]eep it (Enter)", "⌨\r"}, ExitResult{}, "",
		},
		"disposable, with work that is not wanted": {
			func(a *fakeActions) { a.repos = nil }, []string{"[D]elete it", "⌨d"}, ExitResult{Discard: true}, "",
		},
		"nothing at risk, snapshot": {
			func(a *fakeActions) { a.risk = Risk{} },
			[]string{"[S]napshot", "⌨s", "Name of", "⌨fine\r", "✓ Snapshot taken"},
			ExitResult{Snapshot: "Snapshot taken\x1b[2J."},
			`snapshot "fine"`,
		},
		"roll back, after second thoughts": {
			func(a *fakeActions) { a.risk = Risk{} }, []string{
				"[R]oll back", "⌨r", "before lunch", "⌨\x1b", "[K]eep", "⌨r", "before lunch", "⌨\r", "since s2: 3 files", "[y]es  [N]o",
				"⌨y", "✓ Rolled back.",
			}, ExitResult{RolledBack: true}, `rollback s2`,
		},
	} {
		for _, width := range []int{40, 100} {
			t.Run(fmt.Sprintf("%s, %d columns", name, width), func(t *testing.T) {
				t.Parallel()
				x, a := newTerminal(t, width, 40), actions()
				if c.set != nil {
					c.set(a)
				}
				x.send("\x1b]0;no key\x07")
				done := make(chan ExitResult)
				go func() {
					r, err := AskExit(context.Background(), x.tty, x.tty, a, a.risk, ExitOptions{
						Workspace: "demo", Agent: "Claude Code", Disposable: strings.HasPrefix(name, "disposable"),
					})
					if err != nil {
						t.Error(err)
					}
					done <- r
				}()
				for _, step := range c.steps {
					if width == 40 && len(step) > 30 {
						step = step[:20] // the rest is in the next line
					}
					converse(x, []string{step})
				}
				if r := <-done; r != c.want {
					t.Errorf("%+v, want %+v", r, c.want)
				}
				if got := a.all(); got != c.calls {
					t.Errorf("calls %s, want %s", got, c.calls)
				}
				x.hides("[K]eep") // questions are not left behind
				if !x.restored() {
					t.Error("the terminal is not restored")
				}
			})
		}
	}
	r, err := AskExit(context.Background(), nil, io.Discard, nil, Risk{}, ExitOptions{Yes: true})
	if err != nil || r != (ExitResult{}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAskExitWithNobodyThere(t *testing.T) {
	x := newTerminal(t, 80, 24)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan ExitResult)
	go func() {
		a := actions()
		r, err := AskExit(ctx, x.tty, x.tty, a, a.risk, ExitOptions{Workspace: "demo", Agent: "Codex"})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	x.shows("[L]eave")
	cancel()
	if r := <-done; r != (ExitResult{}) {
		t.Errorf("%+v", r)
	}
}

func TestConfirmErasesItself(t *testing.T) {
	f := facts()
	f.Agents, f.AgentAuth = actions().agents, AuthSignedOut
	for name, c := range map[string]struct {
		width int
		steps []string
		want  Answer
	}{
		"launch":               {80, []string{"CAL Isolation Check", "⌨\r"}, Answer{Choice: Launch}},
		"backup, 40 columns":   {40, []string{"[A] Agent  [Q] Quit", "⌨b"}, Answer{Choice: BackupFirst}},
		"another agent":        {80, []string{"signed out", "⌨a", "▸ 1  Claude Code", "⌨j", "▸ 2  Codex", "⌨\r"}, Answer{Choice: SwitchAgent, Agent: "codex"}},
		"another agent? no":    {80, []string{"Isolation Check", "⌨a", "▸ 1", "⌨\x1b", "Isolation Check", "⌨x", "⌨q"}, Answer{Choice: Quit}},
		"escape":               {80, []string{"Isolation Check", "⌨\x1b"}, Answer{Choice: Quit}},
		"an arrow is no quit":  {80, []string{"Isolation Check", "⌨\x1b[A", "⌨\x1b[13u"}, Answer{Choice: Launch}},
		"ctrl-c as kitty says": {80, []string{"Isolation Check", "⌨\x1b[99;5u"}, Answer{Choice: Quit}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTerminal(t, c.width, 30)
			if _, err := io.WriteString(x.tty, "before\r\n"); err != nil {
				t.Fatal(err)
			}
			done := make(chan Answer)
			go func() {
				got, err := Confirm(context.Background(), x.tty, x.tty, f, false)
				if err != nil {
					t.Error(err)
				}
				done <- got
			}()
			converse(x, c.steps)
			if got := <-done; got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			until(t, "an empty screen", func() bool { return strings.TrimSpace(strings.Join(x.screen(), "\n")) == "before" })
			x.send("next\n")
			b := make([]byte, 100)
			if n, err := x.tty.Read(b); err != nil || string(b[:n]) != "next\n" {
				t.Errorf("the next reader gets %q, %v", b[:n], err)
			}
		})
	}
}

// tmuxGuest is a guest that says how the agent ended.
type tmuxGuest struct {
	*fakeGuest
	said string
	ran  chan []string
}

func (g tmuxGuest) Output(_ context.Context, c guest.Cmd) (guest.Result, error) {
	g.ran <- c.Argv
	return guest.Result{Stdout: []byte(g.said)}, nil
}

func TestAttach(t *testing.T) {
	for name, c := range map[string]struct {
		said, keys string
		want       Outcome
	}{
		"exit code":        {"3\n", "", Outcome{Exit: 3}},
		"killed":           {"unknown\n", "", Outcome{Lost: true}},
		"detached by tmux": {"alive\n", "", Outcome{Detached: true}},
		"left":             {"", prefix + "qk", Outcome{Detached: true}},
		"another agent":    {"", prefix + "aj\r", Outcome{Detached: true, SwitchTo: "codex"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTerminal(t, 80, 24)
			con, err := Open(x.tty, options(actions()))
			if err != nil {
				t.Fatal(err)
			}
			defer con.Close()
			g := tmuxGuest{newGuest(), c.said, make(chan []string, 9)}
			done := make(chan Outcome)
			go func() {
				out, err := con.Attach(context.Background(), g, Options{Name: "claude-code", Argv: []string{"claude"}})
				if err != nil {
					t.Error(err)
				}
				done <- out
			}()
			g.out <- "agent at work"
			x.shows("agent at work")
			if c.keys == "" {
				g.exit <- 0
			} else {
				x.send(prefix) // a bar that is closed has the agent's screen painted anew
				x.shows("[S]napshot")
				x.send("\x1b")
				x.hides("[S]napshot")
				x.send(c.keys)
			}
			if out := <-done; out != c.want {
				t.Errorf("%+v, want %+v", out, c.want)
			}
		})
	}
}
