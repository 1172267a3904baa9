package sessiontest

import (
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/journal"
)

// TestWindows: a closed window leaves the agent, another shows it as it was, and two show it at once.
func TestWindows(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	v.line("seq 1 5; printf 'half a li'; mark=$$")
	v.sees(`^half a li\$$`)
	v.types("not yet entered")
	v.sees(`^half a li\$ not yet entered$`)
	before := v.screen()
	v.kill()
	eventually(t, func() bool { return len(w.status(t).Sessions) == 0 }, func() string { return "the session goes on" })
	first := w.session(t, "windows")
	first.until("the screen as it was", func(s []string) bool { return slices.Equal(s, before) })

	second := w.session(t, "windows")
	second.until("the screen as it was", func(s []string) bool { return slices.Equal(s, before) })
	second.keys("C-u")
	second.line("clear; echo both-$((40+2))-$((mark/mark))")
	for _, x := range []*window{first, second} {
		x.sees(`^both-42-1$`)
	}
	first.line("echo and-$((40+3))")
	second.sees(`^and-43$`)
	second.kill()
	first.line("echo alone-$((40+4))")
	first.sees(`^alone-44$`)
	if got := first.screen()[0]; !isBanner(got) {
		t.Errorf("the banner is %q", got)
	}
}

// TestWaiting: an agent that rings behind another window is journaled as waiting, until the person is back.
func TestWaiting(t *testing.T) {
	w := theWorld(t)
	v := w.session(t, w.agent(t, "/bin/sh", "-c",
		`echo at work; until [ -e "$HOME/ring" ]; do sleep 0.2; done; rm "$HOME/ring"; printf '\a'; echo rang; read x`))
	v.sees(`^at work$`)
	// Only a terminal somebody looks at tells of focus.
	v.tmux("new-window", "-d", "-t", v.target(), "cat")
	looks := exec.Command("tmux", "-S", w.socket(), "attach", "-t", "="+v.name)
	looks.Env = append(slices.Clone(w.env), "TERM=xterm-256color")
	eyes, err := pty.StartWithSize(looks, &pty.Winsize{Cols: columns, Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		buf := make([]byte, 4096)
		for {
			if _, err := eyes.Read(buf); err != nil {
				return
			}
		}
	}()
	defer func() {
		_ = looks.Process.Kill()
		_ = looks.Wait()
		_ = eyes.Close()
		<-seen
	}()
	eventually(t, func() bool { return v.value("#{session_attached}") == "1" }, func() string { return "nobody looks" })
	v.tmux("select-window", "-t", "="+v.name+":1")
	w.guest(t, "touch ring")
	last := func() journal.Kind {
		for _, e := range slices.Backward(w.events(t)) {
			if e.Agent == "waiting-sh" && (e.Kind == journal.SessionWaiting || e.Kind == journal.SessionActive) {
				return e.Kind
			}
		}
		return ""
	}
	eventually(t, func() bool { return last() == journal.SessionWaiting }, func() string {
		return "nobody was told:\n" + strings.Join(v.screen(), "\n")
	})
	if !w.status(t).Waiting {
		t.Error("the status does not say that the agent waits")
	}
	v.tmux("select-window", "-t", "="+v.name+":0")
	eventually(t, func() bool { return last() == journal.SessionActive }, func() string { return "it goes on waiting" })
	v.keys("Enter")
}

// typeLines types numbered lines into a shell, and fails unless each of them arrived, once and in order.
func (v *window) typeLines(file string, n int) {
	v.Helper()
	var want []string
	for i := range n {
		v.line(fmt.Sprintf("echo line %d >>%s", i, file))
		want = append(want, fmt.Sprintf("line %d", i))
	}
	v.line(fmt.Sprintf("clear; echo typed-%d-$((40+2))", n))
	v.sees(fmt.Sprintf(`^typed-%d-42$`, n))
	if got := v.w.guest(v.T, "cat workspace/"+file+"; rm workspace/"+file); got != strings.Join(want, "\n") {
		v.Errorf("arrived:\n%s", got)
	}
}

var digits = regexp.MustCompile(`\d+`)

// TestSilent: a machine that stands still is said to while it does, in the banner and the title, and its connection stays.
func TestSilent(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	pid := w.status(t).PID
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	for range 3 {
		still := time.Now()
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		v.sees(silence)
		t.Logf("said %.0f ms after it stood still", time.Since(still).Seconds()*1000)
		if got := v.painted(0); !strings.HasPrefix(got, "\x1b[30m\x1b[43m◐") {
			t.Errorf("it is not yellow: %q", got)
		}
		if got := v.value("#{pane_title}"); !strings.Contains(got, "◐") || !strings.Contains(got, "not answering") {
			t.Errorf("the window's title is %q", got)
		}
		// Nor is it lost by then: a connection is given twenty seconds for an answer at least.
		v.until("five seconds of it", func(s []string) bool {
			if strings.Contains(s[0], "lost") {
				t.Fatalf("it stands still, and the banner says %q", s[0])
			}
			m := silentBanner.FindStringSubmatch(s[0])
			return m != nil && (len(m[1]) > 1 || m[1] >= "5")
		})
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		thawed := time.Now()
		v.safe()
		t.Logf("all is well %.0f ms after it went on", time.Since(thawed).Seconds()*1000)
	}
	v.typeLines("silent", 5)
}

// frozenFor is how long the machine stands still: longer than a connection is kept without a sign of life.
const frozenFor = time.Minute

// TestFrozen: a connection that stands still for a minute does not end the session.
func TestFrozen(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	v.typeLines("before", 5)
	pid := w.status(t).PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	thaw := time.NewTimer(frozenFor)
	defer thaw.Stop()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for frozen := true; frozen; {
		select {
		case <-thaw.C:
			frozen = false
		case <-look.C:
			if s := v.screen(); len(s) > 0 && s[0] != banner {
				said[digits.ReplaceAllString(s[0], "N")] = true
			}
		}
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	thawed := time.Now()
	t.Logf("while it stood still the banner said %q", slices.Sorted(maps.Keys(said)))
	if !said[digits.ReplaceAllString("◐ CAL ISOLATION │ VM: demo │ Safe Mode │ not answering 1 s", "N")] {
		t.Error("nothing was said of that")
	}
	v.safe()
	t.Logf("all is well %.1f s after it went on", time.Since(thawed).Seconds())
	v.typeLines("after", 20)
}

// TestRestart: a machine another process boots anew ends the agent, not the session.
func TestRestart(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	v.line("echo old-$((40+2))")
	v.sees(`^old-42$`)
	restart := w.command("restart", "demo")
	if err := restart.Start(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the banner says %q", v.sees(`\A(.*(restart|waiting|stop).*)`)[1])
	if err := restart.Wait(); err != nil {
		t.Errorf("restarting: %v", err)
	}
	booted := time.Now()
	v.safe()
	v.clears(`^old-42$`)
	v.prompt()
	t.Logf("the session is back %.1f s after the restart", time.Since(booted).Seconds())
	v.typeLines("restarted", 5)
}

// TestRollbackKey: R goes back to a snapshot, and the session goes on in the same window.
func TestRollbackKey(t *testing.T) {
	w := theWorld(t)
	w.guest(t, "rm -f workspace/late")
	w.must(t, "snapshot", "create", "demo", "--name", "way back")
	w.guest(t, repository)
	v := w.shell(t)
	v.line("touch late; sync; ls")
	v.sees(`^app +late$`)
	v.hotkey("r")
	v.sees(`▸ 1  way back  manual`)
	v.keys("Enter")
	v.sees(`This work exists in the VM alone and would be lost, unless it is in the snapshot:`)
	v.sees(`app: 1 uncommitted file`)
	v.sees(`Roll back\?`)
	v.types("y")
	begun := time.Now()
	v.sees(`✓ Rolled back to "way back"`)
	t.Logf("rolled back in %.1f s", time.Since(begun).Seconds())
	v.back(`✓`)
	v.safe()
	v.prompt()
	t.Logf("the session is back after %.1f s", time.Since(begun).Seconds())
	v.line("ls; echo listed-$((40+2))")
	v.sees(`^listed-42$`)
	if got := strings.Join(v.screen(), "\n"); strings.Contains(got, "late\n") {
		t.Errorf("what came after the snapshot is there:\n%s", got)
	}
	v.typeLines("back", 5)
}

// TestQuitStop: Q and S stop the machine.
func TestQuitStop(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	v.hotkey("q")
	v.sees(`\[S\]top the VM`)
	v.keys("s")
	v.sees(`Stop the VM\?`)
	v.types("y")
	if code := v.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	v.sees(`^The VM was stopped\. The same command starts it again\.$`)
	if got := w.status(t).Life; got != state.Stopped {
		t.Errorf("the machine is %s", got)
	}
	// And so it does, over a session that shows its boot.
	again := w.shell(t)
	again.line("echo again-$((40+2))")
	again.sees(`^again-42$`)
}

// TestKilled: a machine that dies ends the session with a sentence.
func TestKilled(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	t.Cleanup(func() { w.must(t, "start", "demo") })
	if err := syscall.Kill(w.status(t).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	code := v.ends()
	t.Logf("ended with exit code %d %.1f s after the machine", code, time.Since(killed).Seconds())
	if code == 0 {
		t.Error("it ended as if all were well")
	}
	v.sees(`CALMenu: .*the VM of "demo" was stopped`)
	v.sees(`Go on with: CALMenu session demo`)
	if s := v.screen(); strings.Contains(s[0], "CAL ISOLATION") {
		t.Errorf("the banner is left behind: %q", s[0])
	}
}
