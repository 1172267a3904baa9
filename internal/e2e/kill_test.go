//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/statusicon"
)

// killAt kills a process with SIGKILL as soon as the journal, beyond its first so many events, has one of that process
// for which in holds.
func (w *world) killAt(pid, after int, what string, in func(journal.Event) bool) {
	w.t.Helper()
	w.waitFor(func() bool {
		return slices.ContainsFunc(w.events()[after:], func(e journal.Event) bool { return e.Process.PID == pid && in(e) })
	}, bootLimit, fmt.Sprintf("process %d to be at %s", pid, what))
	w.kill(pid)
}

// phase matches the phase of an operation; an empty name matches its begin.
func phase(verb, name string) func(journal.Event) bool {
	return func(e journal.Event) bool {
		return e.Verb == verb && (e.Phase == name && e.Kind == journal.OpPhase || name == "" && e.Kind == journal.OpBegin)
	}
}

// truth waits until what CALMenu says is what is, and returns it: nothing under way, and the machine as the process table
// has it. A machine that is just ending may differ for a moment.
func (w *world) truth() workspace {
	w.t.Helper()
	var d workspace
	w.waitFor(func() bool {
		d = w.demo()
		machines := w.machines()
		return d.Operation == nil && (d.State == "running") == (d.PID != 0) &&
			(d.PID == 0 && len(machines) == 0 || slices.Equal(machines, []int{d.PID}))
	}, stepLimit, "the state to be true: nothing under way, and the machine that runs, if one does")
	return d
}

// mark makes the guest remember a word, durably.
func (w *world) mark(word string) {
	w.t.Helper()
	w.guest("echo " + word + " > ~/workspace/mark && sync ~/workspace/mark")
}

func (w *world) marked() string {
	w.t.Helper()
	return w.guest("cat ~/workspace/mark")
}

// snapshotNamed finds a snapshot by its name.
func (x workspace) snapshotNamed(name string) bool {
	return slices.ContainsFunc(x.Snapshots, func(s snapshot) bool { return s.Name == name })
}

// rolledBackOrNot holds a killed rollback to its promise: the workspace is what it was ("new") or what it is to become
// ("old"), and nothing is lost either way: the replaced state can be brought back.
func (w *world) rolledBackOrNot() {
	w.t.Helper()
	w.run("start", name)
	switch got := w.marked(); got {
	case "new":
	case "old":
		w.run("rollback", name, "--undo", "--yes")
		if back := w.marked(); back != "new" {
			w.t.Errorf("undoing the rollback that was killed brings back %q, want new", back)
		}
	default:
		w.t.Errorf("after a killed rollback the guest has %q, want old or new", got)
	}
}

// TestKilledAgent kills the menu-bar agent in the middle of everything it does. The machine and the session in it go on;
// an agent started again is right about everything.
func TestKilledAgent(t *testing.T) {
	d := newDesk(t)
	d.run("new", name, "--agent", "shell", "--cpu", "2", "--memory", "1024")
	agent := d.startAgent()
	d.icon(statusicon.Idle)
	// click clicks in the menu, does the rest, and kills the agent in a phase of what that started.
	click := func(verb, at string, rest func(), labels ...string) workspace {
		t.Helper()
		after := len(d.events())
		d.ClickMenuPath(labels...)
		if rest != nil {
			rest()
		}
		d.killAt(agent.Pid, after, verb+": "+at, phase(verb, at))
		if pid := d.status().AgentPID; pid != 0 {
			t.Errorf("agent %d is said to run", pid)
		}
		return d.truth()
	}
	// back starts an agent again, which must be right about everything.
	back := func() workspace {
		t.Helper()
		agent = d.startAgent()
		var x workspace
		d.waitFor(func() bool {
			x = d.truth()
			icon := statusicon.Idle
			if x.PID != 0 {
				icon = statusicon.Verified
			}
			_, there := d.TrayIcon(icon)
			return there
		}, bootLimit, "an icon as the machine is")
		if pid := d.status().AgentPID; pid != agent.Pid {
			t.Errorf("agent %d is said to run, want %d", pid, agent.Pid)
		}
		return x
	}
	// survives is back for what must not cost the machine.
	var machine int
	survives := func() {
		t.Helper()
		if x := back(); x.PID != machine {
			t.Errorf("machine %d, want %d, which nothing was to end", x.PID, machine)
		}
	}

	d.step("while starting", func() {
		x := click("start", "waiting for SSH", nil, "Workspace", "Start demo")
		if machine = x.PID; machine == 0 || x.Isolation.Level == "verified" {
			t.Errorf("after a killed start: %+v, want a machine that is not proven yet", x)
		}
		survives()
	})
	d.step("while a session runs", func() {
		d.ClickMenuPath("Launch Shell")
		d.prints(`\[Enter\] Launch`, "")
		d.Focus(d.sessionWindow())
		d.Key("Return")
		d.prints(prompt, "")
		d.enter("x=alive")
		d.kill(agent.Pid)
		d.prints(`still alive`, d.enter("echo still $x"))
		if x := d.truth(); len(x.Sessions) != 1 {
			t.Errorf("sessions %+v, want the one", x.Sessions)
		}
		// Nobody but the session is there to look after the workspace, and goes on with it when an agent is back.
		d.enter("date > ~/output/alone.txt")
		d.waitFor(func() bool { _, err := os.Stat(d.landed("alone.txt")); return err == nil }, bootLimit,
			"an artifact to land without an agent")
		survives()
		d.enter("date > ~/output/after.txt")
		d.notified("Artifact from demo", "after.txt")
	})
	d.step("the session's own process too: the guest's tmux goes on, and is joined again", func() {
		sessions := d.truth().Sessions
		if len(sessions) != 1 {
			t.Fatalf("sessions %+v, want the one", sessions)
		}
		before := d.TerminalText()
		d.kill(sessions[0].PID)
		d.guest("tmux -L cal has-session -t =shell")
		if x := d.truth(); len(x.Sessions) != 0 {
			t.Errorf("sessions %+v of dead processes", x.Sessions)
		}
		d.ClickMenuPath("Launch Shell")
		d.prints(`\[Enter\] Launch`, before)
		d.Focus(d.sessionWindow())
		before = d.TerminalText()
		d.Key("Return")
		d.prints(prompt, before)
		d.prints(`joined alive`, d.enter("echo joined $x"))
		d.enter("exit")
		d.waitFor(func() bool { return len(d.demo().Sessions) == 0 }, stepLimit, "the session to end")
	})
	d.step("while syncing", func() {
		sum := d.guest("head -c 40M /dev/urandom > ~/big && sha256sum < ~/big && mv ~/big ~/output/big")
		d.waitFor(func() bool {
			parts, _ := filepath.Glob(d.landed(".cal-staging/*"))
			return len(parts) > 0
		}, bootLimit, "the file to begin to arrive")
		d.kill(agent.Pid)
		d.truth()
		if _, err := os.Stat(d.landed("big")); err == nil {
			t.Error("the file landed before it was whole, or the kill came too late")
		}
		survives()
		d.waitFor(func() bool { _, err := os.Stat(d.landed("big")); return err == nil }, bootLimit, "the file to land")
		if got := sha256Of(t, d.landed("big")); got+"  -" != sum {
			t.Errorf("landed %s, want %s", got, sum)
		}
		d.waitFor(func() bool { _, err := os.Stat(d.landed(".cal-staging")); return os.IsNotExist(err) }, stepLimit,
			"nothing half done to be left")
	})
	d.mark("old")
	d.run("snapshot", "create", name, "--name", "old")
	d.mark("new")
	d.step("while taking a snapshot", func() {
		x := click("snapshot", "saving the memory", func() {
			d.dialog("Snapshot of demo")
			d.Type("cut short")
			d.Key("Return")
		}, "Snapshot...")
		if x.PID != machine {
			t.Errorf("after a killed snapshot machine %d, want %d", x.PID, machine)
		}
		d.guest("touch ~/workspace/thawed && sync ~/workspace") // a frozen guest would not
		survives()
		d.run("snapshot", "create", name, "--name", "afterwards")
		if x := d.demo(); !x.snapshotNamed("old") || !x.snapshotNamed("afterwards") || len(x.Snapshots) > 4 {
			t.Errorf("snapshots %+v", x.Snapshots)
		}
	})
	for _, at := range []string{"saving the memory", "swapping the disk", "resuming the machine"} {
		d.step("while rolling back: "+at, func() {
			click("rollback", at, func() { d.dialog("Roll back demo?"); d.Key("Return") }, "Rollback", "old")
			back()
			d.rolledBackOrNot()
			d.icon(statusicon.Verified)
		})
	}
	for _, at := range []string{"asking the guest to shut down", "shutting down"} {
		d.step("while stopping: "+at, func() {
			d.run("start", name)
			click("stop", at, nil, "Workspace", "Stop demo")
			back() // the guest was asked to shut down, or not: that is between two events of the journal
			d.stop()
			d.icon(statusicon.Idle)
		})
	}
}

// stop stops the workspace, if it does not stop by itself.
func (w *world) stop() {
	w.t.Helper()
	if _, err := w.try("stop", name); err != nil && !strings.Contains(err.Error(), "not running") {
		w.t.Error(err)
	}
	if x := w.waitState("stopped", ""); x.PID != 0 || len(w.machines()) > 0 {
		w.t.Errorf("after stopping: %+v, machines %v", x, w.machines())
	}
}

// TestKilledCommand kills command-line processes that hold an operation on the workspace, in each of its phases, while an
// agent without a desktop looks on. Its snapshots are without memory; those of TestKilledAgent have it.
func TestKilledCommand(t *testing.T) {
	home := t.TempDir()
	w := newWorld(t, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8", "CAL_SNAPSHOTS_MODE=cold"}, home)
	agent := w.command(t.Context())
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = agent.Wait() }() // killed at the end of the test
	// cut runs a verb and kills it in a phase.
	cut := func(at string, args ...string) workspace {
		t.Helper()
		after := len(w.events())
		cmd := w.command(t.Context(), args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		w.killAt(cmd.Process.Pid, after, at, phase(args[0], at))
		<-ended
		return w.truth()
	}

	w.step("new", func() {
		after := len(w.events())
		cmd := w.command(t.Context(), "new", name, "--agent", "shell", "--cpu", "2", "--memory", "1024")
		w.startAndReap(cmd)
		w.killAt(cmd.Process.Pid, after, "new", phase("new", "creating the machine"))
		if _, err := w.try("new", name, "--agent", "shell", "--cpu", "2", "--memory", "1024"); err != nil {
			t.Logf("it was there already: %v", err)
		}
		w.demo()
	})
	for _, at := range []string{"booting", "waiting for SSH", "checking isolation"} {
		w.step("start: "+at, func() {
			cut(at, "start", name)
			w.run("start", name)
			w.waitState("running", "verified")
			w.run("stop", name)
		})
	}
	w.run("start", name)
	w.mark("old")
	w.run("snapshot", "create", name, "--name", "old")
	w.mark("new")
	for i, at := range []string{"", "freezing the file system"} {
		w.step("snapshot: "+at, func() {
			cut(at, "snapshot", "create", name, "--name", fmt.Sprintf("cut %d", i))
			w.guest("touch ~/workspace/thawed && sync ~/workspace")
			w.run("snapshot", "create", name, "--name", fmt.Sprintf("whole %d", i))
		})
	}
	for _, at := range []string{"stopping the machine", "swapping the disk", "booting", "checking isolation"} {
		w.step("rollback: "+at, func() {
			cut(at, "rollback", name, "--to", "old", "--yes")
			w.rolledBackOrNot()
		})
	}
	for _, at := range []string{"asking the guest to shut down", "shutting down"} {
		w.step("stop: "+at, func() {
			w.run("start", name)
			cut(at, "stop", name)
			w.stop()
		})
	}
	w.step("delete", func() {
		after := len(w.events())
		cmd := w.command(t.Context(), "delete", name, "--yes", "--discard-work")
		w.startAndReap(cmd)
		w.killAt(cmd.Process.Pid, after, "delete", phase("delete", "removing its disks"))
		if _, err := w.try("delete", name, "--yes", "--discard-work"); err != nil {
			t.Logf("it was gone already: %v", err)
		}
		if x := w.status(); len(x.Workspaces) != 0 {
			t.Errorf("after deleting: %+v", x)
		}
	})
}

func (w *world) startAndReap(cmd *exec.Cmd) {
	w.t.Helper()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
}
