package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// watched is a writer that calls f with all that was written, after each write.
type watched struct {
	buf bytes.Buffer
	f   func(all string)
}

func (w *watched) String() string { return w.buf.String() }

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.buf.Write(b)
	w.f(w.String())
	return n, err
}

func TestAutonomous(t *testing.T) {
	a, d := withFake(t, `[ "$1" = work ] && echo "prompt: $2"
cat && printf 'input is empty\n\n'
[ -t 0 ] || [ -t 1 ] || echo "no terminal, in ${PWD##*/}, $CAL_VM"
printf '\033[31mred\033[0m \033]0;title\007text\n10%%\r100%%\r\nlast words' >&2
exit 7
`)
	var out bytes.Buffer
	exit, err := a.Autonomous(t.Context(), AutonomousOptions{Workspace: "demo", Agent: "fake", Prompt: "do $it; now"}, &out, nil)
	want := "prompt: do $it; now\ninput is empty\n\nno terminal, in workspace, true\nred text\n100%\nlast words\n"
	if exit != 7 || err != nil || out.String() != want {
		t.Errorf("exit %d, %v\n%s", exit, err, &out)
	}
	if b, err := os.ReadFile(a.AutonomousLog("demo", "fake")); err != nil || string(b) != want {
		t.Errorf("log %q, %v", b, err)
	}
	w := workspace(t, a, "demo")
	if len(w.Sessions) != 0 || len(w.Snapshots) != 1 || w.Snapshots[0].Kind != snapshot.Session {
		t.Errorf("afterwards %+v", w)
	}
	// The guest keeps it as it came.
	if b, err := os.ReadFile(filepath.Join(d.Home("demo"), ".cal/autonomous/fake/log")); err != nil || !bytes.Contains(b, []byte("\x1b[31m")) {
		t.Errorf("guest's log %q, %v", b, err)
	}
}

func TestAutonomousNeedsWork(t *testing.T) {
	a, _ := withFake(t, "")
	ctx := t.Context()
	if _, err := a.Autonomous(ctx, AutonomousOptions{Workspace: "demo", Agent: "fake"}, nil, nil); !errors.Is(err, ErrNotAtWork) || hint.Of(err) == "" {
		t.Errorf("without a prompt: %v", err)
	}
	if _, err := a.Autonomous(ctx, AutonomousOptions{Workspace: "demo", Agent: "shell", Prompt: "x"}, nil, nil); err == nil || hint.Of(err) == "" {
		t.Errorf("the shell: %v", err)
	}
}

func TestAutonomousNeedsProvenIsolation(t *testing.T) {
	a, d := withFake(t, "echo worked\n")
	d.SetExposure("demo", &vm.Exposure{Shares: []vm.Share{{HostPath: "/home/me"}}, Listeners: []string{"127.0.0.1:22"}})
	if _, err := a.CheckIsolation(t.Context(), "demo"); err != nil {
		t.Fatal(err)
	}
	if w := workspace(t, a, "demo"); w.Light() == state.Green {
		t.Fatalf("%+v", w)
	}
	var out bytes.Buffer
	o := AutonomousOptions{Workspace: "demo", Agent: "fake", Prompt: "x"}
	if _, err := a.Autonomous(t.Context(), o, &out, nil); !errors.Is(err, ErrBroken) || out.Len() > 0 {
		t.Errorf("%v, %q", err, &out)
	}
	o.AcceptBroken = true
	if exit, err := a.Autonomous(t.Context(), o, &out, nil); err != nil || exit != 0 || out.String() != "worked\n" {
		t.Errorf("accepted: exit %d, %v, %q", exit, err, &out)
	}
}

// TestAutonomousEndsAtItsDeadline: with all the processes it has started.
func TestAutonomousEndsAtItsDeadline(t *testing.T) {
	a, d := withFake(t, "sleep 1000 & echo $! >~/child; echo begun; wait\n")
	var out bytes.Buffer
	o := AutonomousOptions{Workspace: "demo", Agent: "fake", Prompt: "x", Deadline: time.Second}
	if exit, err := a.Autonomous(t.Context(), o, &out, nil); exit != DeadlineExit || err != nil || out.String() != "begun\n" {
		t.Errorf("exit %d, %v, %q", exit, err, &out)
	}
	assertChildGone(t, d.Home("demo"))
}

func assertChildGone(t *testing.T, home string) {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(home, "child"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "cmdline"))
	if err == nil && bytes.Contains(b, []byte("sleep")) {
		t.Errorf("process %s lives on", pid)
	}
}

// TestAutonomousSurvivesTheConnection: a connection that is lost in the midst of the work costs no line of the output.
func TestAutonomousSurvivesTheConnection(t *testing.T) {
	a, d := withFake(t, "echo one; until [ -e ~/go ]; do sleep 0.05; done; echo two; exit 3\n")
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	ag, err := a.Agents().Get("fake")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Connect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	r := &autonomous{App: a, w: w, ag: ag, dir: ".cal/autonomous/fake", deadline: time.Minute, c: c}
	if r.argv, err = ag.HeadlessCommand("x"); err != nil {
		t.Fatal(err)
	}
	if err := r.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := &watched{f: func(all string) {
		if all == "one\n" {
			_ = c.Close()
			put(t, d, "go", "")
		}
	}}
	exit, err := r.run(t.Context(), out, true)
	_ = r.c.Close()
	if exit != 3 || err != nil || out.String() != "one\ntwo\n" || r.c == c {
		t.Errorf("exit %d, %v, %q", exit, err, out)
	}
}

// TestAutonomousIsFollowedAgain: what another process began is refused a second time, followed, and ended by the end of
// the one that follows.
func TestAutonomousIsFollowedAgain(t *testing.T) {
	a, d := withFake(t, "sleep 1000 & echo $! >~/child; echo begun; wait\n")
	o := AutonomousOptions{Workspace: "demo", Agent: "fake", Prompt: "x", Deadline: time.Minute}
	begun := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := a.Autonomous(ctx, o, &watched{f: func(string) { close(begun) }}, nil)
		first <- err
	}()
	<-begun
	if w := workspace(t, a, "demo"); len(w.Sessions) != 1 {
		t.Errorf("sessions %+v", w.Sessions)
	}
	if _, err := a.Autonomous(t.Context(), o, &bytes.Buffer{}, nil); !errors.Is(err, ErrAtWork) || hint.Of(err) == "" {
		t.Errorf("a second one: %v", err)
	}
	o.Prompt = ""
	follows := make(chan struct{})
	second := make(chan int, 1)
	go func() {
		exit, err := a.Autonomous(t.Context(), o, &watched{f: func(string) { close(follows) }}, nil)
		if err != nil {
			t.Errorf("following: %v", err)
		}
		second <- exit
	}()
	<-follows
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	if exit := <-second; exit != 130 {
		t.Errorf("the one that follows: exit %d", exit)
	}
	assertChildGone(t, d.Home("demo"))
}

func TestTextWriter(t *testing.T) {
	var out bytes.Buffer
	w := &textWriter{w: &out}
	for _, s := range []string{"a\x1b[3", "1mb\x1b[0m\n", "\n10%\r20%\r\n", strings.Repeat("x", 9000), "\ntail"} {
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	w.flush()
	if want := "ab\n\n20%\n" + strings.Repeat("x", 9000) + "\n\ntail\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func FuzzTextWriter(f *testing.F) {
	f.Add([]byte("\x1b[31mred\x1b[0m\r\n\x1b]52;c;AAAA\x07"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		w := &textWriter{w: &out}
		_, _ = w.Write(b)
		w.flush()
		for _, r := range out.String() {
			if r < 0x20 && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				t.Fatalf("%q leaves %q", b, r)
			}
		}
	})
}
