//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/desktoptest"
	"github.com/calmenu/calmenu/internal/journal"
)

// sessionPlayer makes the test binary a session's process: an agent in a terminal that waits whenever its window is not in
// front, as a session journals it.
const sessionPlayer = "CAL_E2E_SESSION"

func playSession() error {
	home, err := config.Locate()
	if err != nil {
		return err
	}
	j, err := journal.Open(home.JournalDir())
	if err != nil {
		return err
	}
	id := journal.NewID()
	say := func(kind journal.Kind, detail string) error {
		return j.Append(journal.Event{Kind: kind, Workspace: name, Op: id, Agent: "shell", Detail: detail})
	}
	if err := say(journal.SessionBegin, ""); err != nil {
		return err
	}
	restore, err := term.MakeRaw(int(os.Stdin.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(os.Stdin.Fd()), restore) }()
	fmt.Print("The agent's question: may I run make?\r\n\x1b[?1004h") // and tell of the focus
	in := bufio.NewReader(os.Stdin)
	waiting := false
	for {
		if _, err := in.ReadString('['); err != nil {
			return err
		}
		focus, err := in.ReadByte()
		switch {
		case err != nil:
			return err
		case focus == 'O' && !waiting:
			waiting = true
			err = say(journal.SessionWaiting, "May I run make?\x1b[31m")
		case focus == 'I' && waiting:
			waiting = false
			err = say(journal.SessionActive, "")
		}
		if err != nil {
			return err
		}
	}
}

// newPlayedDesk is a desk whose machine is played by Tart's double: nothing is booted.
func newPlayedDesk(t *testing.T) *desk {
	t.Helper()
	s := desktoptest.Start(t)
	dir := t.TempDir()
	double := filepath.Join(dir, "bin", "tart")
	if err := goBuild(filepath.Join("..", ".."), double, "./internal/vm/tart/tartdouble"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tart"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"tart/double.json": `{"registry": {"ghcr.io/cirruslabs/macos-sequoia-base:latest": {"os": "darwin", "disk_gb": 50}}}`,
		"bin/softnet":      "#!/bin/sh\nexec sleep infinity\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, home: s.Getenv("HOME"), cal: config.Home{Dir: filepath.Join(t.TempDir(), "cal")}}
	w.env = append(s.Env(), "CAL_HOME="+w.cal.Dir, "CAL_DRIVER=tart", "CAL_TART="+double, "TART_HOME="+filepath.Join(dir, "tart"),
		"TART_DOUBLE_SCALE=0.02", "PATH="+filepath.Join(dir, "bin")+":"+s.Getenv("PATH"))
	t.Cleanup(w.tearDown)
	return &desk{Session: s, world: w}
}

// TestWaiting: an agent that waits while another window is in front is told of, and a click leads to it.
func TestWaiting(t *testing.T) {
	d := newPlayedDesk(t)
	d.run("new", name, "--agent", "shell", "--cpu", "4", "--memory", "4096", "--disk", "50")
	d.run("start", name)
	d.startAgent()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d.Run("session-window", append(d.env, sessionPlayer+"=1"), "xfce4-terminal", "--disable-server", "--title=CALMenu: demo",
		"--geometry=80x16+80+120", "-x", self)
	window := d.WaitForWindow("^CALMenu: demo$", stepLimit)
	d.WaitForItem("Launch Shell")
	d.Run("other-window", d.env, "xfce4-terminal", "--disable-server", "--title=Something else",
		"--geometry=90x20+60+100", "-x", "sleep", "600")
	other := d.WaitForWindow("^Something else$", stepLimit)
	inFront := func(w desktoptest.Window) {
		t.Helper()
		d.WaitFor(func() bool { now, ok := d.ActiveWindow(); return ok && now.ID == w.ID }, stepLimit,
			fmt.Sprintf("the window %q to come to the front", w.Title))
	}
	answered := func() {
		t.Helper()
		inFront(window)
		d.WaitForItem("Launch Shell")
		if x := d.demo(); x.Waiting || len(x.Sessions) != 1 {
			t.Errorf("afterwards: %+v", x)
		}
	}

	d.Focus(window)
	d.Focus(other)
	if body := d.notified("Shell is waiting in demo", ""); body != "May I run make?[31m" {
		t.Errorf("the notification says %q", body)
	}
	d.WaitForItem("Go to Shell (waiting)")
	if x := d.demo(); !x.Waiting {
		t.Errorf("while it waits: %+v", x)
	}
	inFront(other)
	d.WaitFor(func() bool { _, there := d.FindClass("^Dunst$"); return there }, stepLimit, "the notification on the screen")
	d.Screenshot("waiting-notified")
	d.ClickNotification()
	answered()
	d.Screenshot("waiting-raised")

	d.Focus(other)
	at := d.HoverMenuPath("Go to Shell (waiting)")
	d.Screenshot("waiting-menu")
	d.Click(at.X, at.Y, 1)
	answered()
}
