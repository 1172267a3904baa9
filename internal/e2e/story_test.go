//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/desktoptest"
	"github.com/calmenu/calmenu/internal/statusicon"
)

// desk is a world with a desktop in front of it.
type desk struct {
	*world
	*desktoptest.Session
	agents int
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	needVM(t)
	s := desktoptest.Start(t)
	d := &desk{Session: s, world: newWorld(t, s.Env(), s.Getenv("HOME"))}
	// A desktop's xdg-open, for the one thing the story has opened: it writes down what.
	bin := t.TempDir()
	script := "#!/bin/sh\nprintf '%s\\n' \"$1\" >>'" + d.opened() + "'\n"
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	d.env = append(d.env, "PATH="+bin+":"+s.Getenv("PATH"))
	return d
}

// opened is the file that has what was opened on the desktop, a path a line.
func (d *desk) opened() string { return filepath.Join(d.home, "opened") }

// startAgent starts the menu-bar agent and waits for its icon, whatever it shows; that of one that was killed leaves first.
func (d *desk) startAgent() *os.Process {
	d.t.Helper()
	d.noIcon()
	d.agents++
	p := d.Run(fmt.Sprintf("agent-%d", d.agents), d.env, program)
	d.WaitFor(func() bool { _, there := d.AnyTrayIcon(); return there }, stepLimit, "an icon")
	return p
}

func (d *desk) noIcon() {
	d.t.Helper()
	d.WaitFor(func() bool { _, there := d.AnyTrayIcon(); return !there }, stepLimit, "the icon to go")
}

// icon waits for the icon of a status, for as long as a boot may take.
func (d *desk) icon(status statusicon.Status) {
	d.t.Helper()
	d.WaitFor(func() bool { _, there := d.TrayIcon(status); return there }, bootLimit, fmt.Sprintf("the icon %q", status))
}

// notified waits for a notification with this title whose text contains a word, and returns the text. Others may come
// before: artifacts that landed while no agent ran are announced by the next one.
func (d *desk) notified(title, word string) string {
	d.t.Helper()
	var body string
	d.WaitFor(func() bool {
		for _, n := range d.Notifications() {
			if n.Summary == title && strings.Contains(n.Body, word) {
				body = n.Body
				return true
			}
		}
		return false
	}, bootLimit, fmt.Sprintf("the notification %q with %q", title, word))
	return body
}

// prints waits until a terminal prints something, and returns it. Only what comes after mark (an earlier TerminalText)
// counts.
func (d *desk) prints(pattern, mark string) string {
	d.t.Helper()
	return d.printsWithin(pattern, mark, bootLimit)
}

func (d *desk) printsWithin(pattern, mark string, limit time.Duration) string {
	d.t.Helper()
	re := regexp.MustCompile(pattern)
	var found string
	d.WaitFor(func() bool {
		text := d.TerminalText()
		found = re.FindString(text[min(len(mark), len(text)):])
		return found != ""
	}, limit, fmt.Sprintf("%q in the terminal", pattern))
	return found
}

// enter types a line in the window that has the focus and returns what the terminals had printed before.
func (d *desk) enter(line string) string {
	d.t.Helper()
	before := d.TerminalText()
	d.Type(line)
	d.Key("Return")
	return before
}

// dialog waits for a dialog and gives it the keyboard.
func (d *desk) dialog(title string) {
	d.t.Helper()
	d.Focus(d.WaitForWindow("^"+regexp.QuoteMeta(title)+"$", time.Minute))
}

// sessionWindow waits for a session's window: as it was opened, or as its console has called it since.
func (d *desk) sessionWindow() desktoptest.Window {
	d.t.Helper()
	return d.WaitForWindow("^(CALMenu:|CAL) "+name+"( |$)", stepLimit)
}

const prompt = `admin@demo:\S*\$ `

// landed is where an artifact of the workspace lands.
func (d *desk) landed(file string) string { return filepath.Join(d.home, "cal-output", name, file) }

func sha256Of(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// TestStory is the whole loop, by mouse and keyboard: start, launch, work, artifact, snapshot, disaster, rollback, quit,
// come back, stop.
func TestStory(t *testing.T) {
	d := newDesk(t)
	agent := d.startAgent()
	d.icon(statusicon.Idle)
	d.Screenshot("01-nothing-yet")

	d.step("a workspace is made by command line", func() {
		d.run("new", name, "--agent", "shell", "--cpu", "2", "--memory", "1024")
		d.WaitForItem("Launch Shell")
		d.icon(statusicon.Idle)
	})
	d.step("started by menu: yellow, then green", func() {
		d.ClickMenuPath("Workspace", "Start demo")
		d.icon(statusicon.Busy)
		d.Screenshot("02-starting")
		d.icon(statusicon.Verified)
		if x := d.waitState("running", "verified"); !slices.Equal(d.machines(), []int{x.PID}) {
			t.Errorf("machines %v, want process %d", d.machines(), x.PID)
		}
	})
	d.step("launched by menu, confirmed in the terminal", d.launch)
	var hash string
	d.step("an artifact lands and is announced", func() { hash = d.makeArtifact() })
	d.step("a snapshot by menu", d.takeSnapshot)
	d.step("disaster in the guest", d.wreck)
	d.step("rolled back by menu", func() { d.rollBack(hash) })

	machine := d.demo().PID
	d.step("quit leaves the machine running", func() {
		d.ClickMenuPath("Quit CALMenu")
		d.dialog("Quit CALMenu?")
		d.Screenshot("13-quit")
		d.Key("Return")
		d.gone(agent.Pid)
		d.noIcon()
		if s := d.status(); s.AgentPID != 0 || s.Workspaces[0].PID != machine || !alive(machine) {
			t.Errorf("after quitting: %+v, want process %d to run on and no agent", s, machine)
		}
	})
	d.step("started again, it finds the machine, and green", func() {
		d.startAgent()
		d.icon(statusicon.Verified)
		if x := d.demo(); x.PID != machine || x.State != "running" {
			t.Errorf("after coming back: %+v, want process %d", x, machine)
		}
		d.Screenshot("14-found-again")
	})
	d.step("stopped by menu", func() {
		before := d.TerminalText()
		d.ClickMenuPath("Workspace", "Stop demo")
		d.icon(statusicon.Busy)
		d.Screenshot("15-stopping")
		d.icon(statusicon.Idle)
		if left := d.machines(); len(left) > 0 {
			t.Errorf("machines %v are left", left)
		}
		if x := d.demo(); x.State != "stopped" || x.LastError != nil {
			t.Errorf("after stopping: %+v", x)
		}
		d.prints(`VM of "demo" was stopped`, before)
		d.Screenshot("16-stopped")
	})
}

func (d *desk) launch() {
	at := d.HoverMenuPath("Launch Shell")
	d.Screenshot("03-menu-green")
	d.Click(at.X, at.Y, 1)
	d.prints(`CAL Isolation Check`, "")
	d.prints(`\[Enter\] Launch`, "")
	d.Focus(d.sessionWindow())
	d.Screenshot("04-confirmation")
	before := d.TerminalText()
	d.Key("Return")
	d.prints(prompt, before)
	d.WaitForWindow("^CAL demo .* Shell · Safe Mode", stepLimit)
	d.Screenshot("05-prompt")
}

// makeArtifact has the guest make a file in its outbox and returns the file's hash as the guest tells it.
func (d *desk) makeArtifact() string {
	before := d.enter("date > ~/output/report.txt; sha256sum ~/output/report.txt")
	said := d.prints(`[0-9a-f]{64}  /home/admin/output/report\.txt`, before)
	hash, _, _ := strings.Cut(said, " ")
	d.notified("Artifact from demo", "report.txt")
	d.WaitFor(func() bool { _, there := d.FindClass("^Dunst$"); return there }, stepLimit, "the notification on the screen")
	d.Screenshot("06-artifact")
	if got := sha256Of(d.t, d.landed("report.txt")); got != hash {
		d.t.Errorf("what landed has hash %s, the guest's file %s", got, hash)
	}
	d.ClickNotification()
	d.WaitFor(func() bool {
		paths, _ := os.ReadFile(d.opened())
		return string(paths) == filepath.Dir(d.landed("report.txt"))+"\n"
	}, stepLimit, "the click on the notification to reveal the file")
	d.enter("echo kept > notes.txt")
	return hash
}

func (d *desk) takeSnapshot() {
	d.ClickMenuPath("Snapshot...")
	d.dialog("Snapshot of demo")
	d.Type("before the mess")
	d.Screenshot("07-snapshot-name")
	d.Key("Return")
	d.notified("Snapshot taken", "")
	d.icon(statusicon.Verified)
	d.Screenshot("08-snapshot-taken")
}

func (d *desk) wreck() {
	d.Focus(d.sessionWindow())
	before := d.enter("rm -rf ~")
	d.prints(`cannot remove '/home/admin'`, before)
	before = d.enter("cd /; find ~ -type f | wc -l; echo gone")
	if left := strings.Fields(d.prints(`\d+\s+gone`, before))[0]; left != "0" {
		d.t.Errorf("%s files are left in the guest's home", left)
	}
	d.Screenshot("09-disaster")
}

func (d *desk) rollBack(hash string) {
	at := d.HoverMenuPath("Rollback", "before the mess")
	d.Screenshot("10-rollback-menu")
	d.Click(at.X, at.Y, 1)
	d.dialog("Roll back demo?")
	d.Screenshot("11-rollback-question")
	before := d.TerminalText()
	d.Key("Return")
	d.icon(statusicon.Busy)
	d.notified("Rolled back", "")
	d.icon(statusicon.Verified)
	d.WaitForItem("Rollback", "Undo last rollback")
	d.prints(prompt, before) // the session came back by itself
	d.Screenshot("12-rolled-back")
	if got := d.guest("cat ~/workspace/notes.txt; sha256sum < ~/output/report.txt"); got != "kept\n"+hash+"  -" {
		d.t.Errorf("after the rollback the guest has\n%s\nwant kept and %s", got, hash)
	}
	if got := sha256Of(d.t, d.landed("report.txt")); got != hash {
		d.t.Errorf("after the rollback the landed file has hash %s, want %s", got, hash)
	}
}
