package session

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
)

func needTmux(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("install tmux: the program that holds sessions in the guest")
	}
}

// The guest's tmux, here on this machine: a bar and a dialog leave the screen as tmux has it.
func TestTmuxIsRepainted(t *testing.T) {
	needTmux(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "tmux.conf")
	if err := os.WriteFile(conf, []byte(tmuxConf), 0o600); err != nil {
		t.Fatal(err)
	}
	tmux := func(args ...string) []string {
		return append([]string{"tmux", "-S", filepath.Join(dir, "s"), "-f", conf}, args...)
	}
	t.Cleanup(func() {
		argv := tmux("kill-server")
		_ = exec.Command(argv[0], argv[1:]...).Run()
	})
	t.Setenv("TERM", "xterm-256color")
	x := newTerminal(t, 70, 20)
	c, err := Open(x.tty, options(actions()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan RunResult)
	go func() {
		r, err := c.Run(context.Background(), Program{
			Guest: localGuest{},
			Cmd: guest.Cmd{Argv: tmux("new-session", "-A", "-s", "a", "sh", "-c",
				`for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do echo "line $i"; done; printf 'ready> '; read -r x; echo "got $x"; read -r x; exit 4`)},
			RepaintKeys: repaintKeys,
		})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	x.shows("ready>")
	before := strings.Join(x.screen(), "\n")
	for _, keys := range []string{"", "s", "?"} {
		x.send(prefix + keys)
		x.shows(map[string]string{"": "[S]nap", "s": "Name of", "?": "Closing this window"}[keys])
		x.send("\x1b")
		until(t, "the screen as it was", func() bool { return strings.Join(x.screen(), "\n") == before })
		until(t, "the end of the dialogs", func() bool { _, open := c.state(); return open == nil })
	}
	x.send("hello\r")
	x.shows("got hello")
	x.send("\r")
	<-done
}

func (localGuest) Output(ctx context.Context, c guest.Cmd) (guest.Result, error) {
	out, err := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...).Output()
	return guest.Result{Stdout: out}, err
}

// The agent's exit code is all that comes of its end: of tmux, which held it, the screen says nothing.
func TestTmuxEndsSilently(t *testing.T) {
	needTmux(t)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("TMUX_TMPDIR", t.TempDir())
	t.Setenv("TMUX", "") // of whoever runs the tests in one
	t.Cleanup(func() { _ = exec.Command("tmux", "-L", "cal", "kill-server").Run() })
	x := newTerminal(t, 70, 20)
	c, err := Open(x.tty, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan Outcome)
	go func() {
		out, err := c.Attach(context.Background(), localGuest{}, Options{
			Name: "a", Argv: []string{"sh", "-c", "echo at work; read -r x; exit 4"}, Term: "xterm-256color",
		})
		if err != nil {
			t.Error(err)
		}
		done <- out
	}()
	x.shows("at work")
	x.send("\r")
	if out := <-done; out != (Outcome{Exit: 4}) {
		t.Errorf("the agent ended with %+v", out)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	until(t, "an empty screen", func() bool { return strings.Join(x.screen(), "") == "" })
}

// On a terminal that cannot show tmux the agent's end is its own, though another of its name goes on in tmux.
func TestTheAgentOfADumbTerminalEndsByItself(t *testing.T) {
	needTmux(t)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("TMUX_TMPDIR", t.TempDir())
	t.Setenv("TMUX", "")
	t.Cleanup(func() { _ = exec.Command("tmux", "-L", "cal", "kill-server").Run() })
	if out, err := exec.Command("tmux", "-L", "cal", "new-session", "-d", "-s", "a", "cat").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	x := newTerminal(t, 70, 20)
	o := options(nil)
	o.Term = "dumb"
	c, err := Open(x.tty, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out, err := c.Attach(context.Background(), localGuest{}, Options{Name: "a", Argv: []string{"sh", "-c", "exit 4"}, Term: "dumb"})
	if err != nil || out != (Outcome{Exit: 4}) {
		t.Errorf("the agent ended with %+v, %v", out, err)
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("HOME"), ".cal", "session", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
