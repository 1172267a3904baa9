package app

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/journal"
)

func TestWhenAnAgentWithoutATerminalWaits(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// Each look is "attached bell activity"; "-" is a look at which the agent is not there. 10 s lie between looks.
	cases := []struct {
		name  string
		looks []string
		want  string
	}{
		{"silent from the first", []string{"0 0 5", "0 0 5", "0 0 5", "0 0 5"}, ""},
		{"rang", []string{"0 0 5", "0 1 9", "0 1 9"}, "1 waiting"},
		{"had rung before it was looked at", []string{"0 1 5", "0 1 5"}, "0 waiting"},
		{"rang, and drew a little more", []string{"0 1 5", "0 1 9", "0 1 10", "0 1 10"}, "0 waiting"},
		{"rang, and went on by itself", []string{"0 1 5", "0 1 6", "0 1 7", "0 1 8", "0 1 9"}, "0 waiting, 3 active"},
		{"at work, then silent", []string{"0 0 5", "0 0 8", "0 0 9", "0 0 9", "0 0 9", "0 0 9"}, "4 waiting"},
		{"always at work", []string{"0 0 1", "0 0 2", "0 0 3", "0 0 4", "0 0 5", "0 0 6"}, ""},
		{"somebody came", []string{"0 1 5", "1 0 6", "1 0 7"}, "0 waiting, 1 active"},
		{"somebody was there all the time", []string{"1 1 5", "1 0 6", "1 0 6", "1 0 6"}, ""},
		{"left alone while silent", []string{"1 0 5", "0 0 6", "0 0 6", "0 0 6", "0 0 6"}, ""},
		{"ended", []string{"0 1 5", "-", "-"}, "0 waiting, 1 active"},
		{"rang twice, with somebody between", []string{"0 1 5", "1 0 6", "0 1 7"}, "0 waiting, 1 active, 2 waiting"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			at := 0
			d := &detachedAgents{
				quiet: 20 * time.Second, known: func(id string) bool { return id == "codex" },
				tell: func(k journal.Kind, agent, detail string) {
					got = append(got, fmt.Sprintf("%d %s", at, strings.TrimPrefix(string(k), "session.")))
					if agent != "codex" || k == journal.SessionWaiting && detail != "fix the tests" {
						t.Errorf("told of %q, %q", agent, detail)
					}
				},
			}
			for i, l := range c.looks {
				at = i
				r := lookReader{look: func(seen []agentWindow) { d.look(start.Add(time.Duration(i)*10*time.Second), seen) }}
				text := "evil\t0\t1\t5\thost\ttitle\nnonsense\n"
				if l != "-" {
					text += "codex\t" + strings.ReplaceAll(l, " ", "\t") + "\thost\tfix\x1b the tests\n"
				}
				for _, b := range []byte(text + ".\n") { // however it is cut up
					if _, err := r.Write([]byte{b}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("told %q, want %q", s, c.want)
			}
		})
	}
}

func FuzzLooks(f *testing.F) {
	f.Add([]byte("codex\t0\t1\t5\thost\ttitle\n.\n"))
	f.Add([]byte("codex\t0\t1\t5\thost\ta\tb\n\n.\n.\n"))
	f.Add([]byte(strings.Repeat("x", 5000) + "\n.\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &detachedAgents{known: func(string) bool { return true }, tell: func(_ journal.Kind, agent, detail string) {
			if agent == "" || len([]rune(detail)) > waitingDetail || strings.ContainsFunc(detail, func(r rune) bool { return r == 0x1b }) {
				t.Errorf("told of %q, %q", agent, detail)
			}
		}}
		var looks []int
		r := lookReader{look: func(seen []agentWindow) {
			looks = append(looks, len(seen))
			d.look(time.Unix(int64(len(looks)), 0), seen)
		}}
		for rest := b; len(rest) > 0; rest = rest[min(7, len(rest)):] {
			if _, err := r.Write(rest[:min(7, len(rest))]); err != nil {
				t.Fatal(err)
			}
		}
		if len(looks) > 0 && slices.Max(looks) > watchLines || cap(r.rest) > 2*watchLine {
			t.Errorf("looks of %v windows, %d bytes kept", looks, cap(r.rest))
		}
	})
}

func TestAnAgentLeftAloneIsWatchedInTheGuest(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed")
	}
	a, _ := demo(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	inGuest := func(script string) {
		t.Helper()
		r, err := c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", script}})
		if err != nil || r.Exit != 0 {
			t.Fatalf("%s: exit %d, %v\n%s", script, r.Exit, err, r.Stderr)
		}
	}
	watching := make(chan error, 1)
	watchCtx, stop := context.WithCancel(ctx)
	k := &keeper{App: a, w: w}
	go func() { watching <- k.watchAgents(watchCtx, c, 100*time.Millisecond) }()
	inGuest(`tmux -L cal -f /dev/null new-session -d -s shell sh -c 'printf "\033]2;May I?\033\\"; printf "\a"; exec sleep 600'`)
	waits := func(want bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			x, waits := workspace(t, a, "demo").WaitOf("shell")
			if waits == want && (!want || x.Detail == "May I?" && x.Session == "") {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("the agent waits: %v, %+v; want %v", waits, x, want)
			}
		}
	}
	waits(true)
	inGuest("tmux -L cal kill-server")
	waits(false)
	stop()
	if err := <-watching; err == nil {
		t.Error("the watch ended by itself")
	}
}
