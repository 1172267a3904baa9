//go:build linux

package desktoptest

import (
	"context"
	"fmt"
	"image"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/statusicon"
)

// trayProgram makes the test binary the program under test: a tray that writes each click to clicks.log in that folder.
const trayProgram = "CAL_DESKTOPTEST_PROGRAM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(trayProgram); dir != "" {
		if err := program(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// program shows a tray on the desktop of its environment until Quit is clicked.
func program(dir string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	d, why := desktop.Detect(os.Getenv, desktop.WithTerminal("xfce4-terminal"))
	if d == nil {
		return fmt.Errorf("no desktop: %s", why)
	}
	defer d.Close()
	recorded, why := desktop.Detect(os.Getenv)
	if recorded == nil {
		return fmt.Errorf("no desktop: %s", why)
	}
	defer recorded.Close()
	note := func(line string) {
		f, err := os.OpenFile(filepath.Join(dir, "clicks.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintln(f, line)
			f.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	var tray *statusicon.Tray
	tray = statusicon.NewTray(func(id string) {
		note(id)
		var err error
		switch id {
		case "idle", "busy", "verified", "broken":
			i := slices.IndexFunc(statusicon.Statuses, func(s statusicon.Status) bool { return s.String() == id })
			tray.Set(demoMenu(statusicon.Status(i)))
		case "notify":
			err = d.Notify(ctx, desktop.Notification{
				Title: "Artifact landed", Body: "demo/app_1.txt <1 kB> & checked",
				OnClick: func() { note("notification clicked") },
			})
		case "terminal":
			err = d.Terminal(ctx, desktop.TerminalRequest{Title: "CALMenu demo", Dir: dir, Argv: []string{
				"sh", "-c",
				`echo; echo "  CAL Isolation Check: demo"; printf '%s|' "$@" >result; exec cat`, "sh", "two words", "$HOME;'",
			}})
		case "record":
			err = recorded.Terminal(ctx, desktop.TerminalRequest{Title: "CALMenu recorded", Argv: []string{
				"sh", "-c",
				`printf '%s|' "$@"; read -r line; echo "got $line"; sleep 60`, "sh", "two words", "$HOME;'",
			}})
		case "ask":
			go func() {
				a, err := d.Ask(ctx, desktop.Question{
					Kind: desktop.Confirm, Title: "Rollback",
					Text: "Roll back <demo> to before_tests?", Buttons: []string{"Roll back", "Keep_work"},
				})
				note(fmt.Sprintf("answer %+v %v", a, err))
			}()
		case "password":
			go func() {
				a, err := d.Ask(ctx, desktop.Question{
					Kind: desktop.Password, Title: "Sign in",
					Text: "Fine-grained <token> & how_to",
				})
				note(fmt.Sprintf("answer %+v %v", a, err))
			}()
		case "list":
			go func() {
				a, err := d.Ask(ctx, desktop.Question{
					Kind: desktop.List, Title: "Agent", Text: "Which <agent> & how_to?",
					Choices: []string{"shell", "claude & <code>", "codex"},
				})
				note(fmt.Sprintf("answer %+v %v", a, err))
			}()
		case "quit":
			tray.Quit()
		}
		if err != nil {
			note("error " + err.Error())
		}
	})
	tray.Set(demoMenu(statusicon.Idle))
	return tray.Run(ctx)
}

func demoMenu(s statusicon.Status) statusicon.Menu {
	item := func(id, title string) statusicon.Item { return statusicon.Item{ID: id, Title: title} }
	line := statusicon.Item{Separator: true}
	agent := func(name string, ticked bool) statusicon.Item {
		return statusicon.Item{ID: "agent-" + name, Title: name, Checkable: true, Checked: ticked}
	}
	items := []statusicon.Item{
		{Title: "demo_ws: " + s.String() + ", isolation as it is", Disabled: true},
		line,
		item("launch", "Launch shell"),
		{Title: "Launch with", Children: []statusicon.Item{agent("shell", true), agent("claude-code", false)}},
	}
	if s == statusicon.Verified {
		items = append(items, item("stop", "Stop"))
	}
	items = append(items, line)
	var states []statusicon.Item
	for _, other := range statusicon.Statuses {
		states = append(states, item(other.String(), strings.ToUpper(other.String()[:1])+other.String()[1:]))
	}
	items = append(items, statusicon.Item{Title: "Status", Children: states}, line, item("notify", "Notify"),
		item("terminal", "Open Terminal"), item("record", "Record Terminal"), item("ask", "Ask…"),
		item("password", "Password…"), item("list", "Choose…"),
		line, item("quit", "Quit"))
	return statusicon.Menu{Title: "CALMenu", Tooltip: "CALMenu: " + s.String(), Status: s, Items: items}
}

// TestDesktop drives the program by mouse and keyboard and looks at what the screen shows.
func TestDesktop(t *testing.T) {
	s := Start(t)
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Run("tray-program", []string{trayProgram + "=" + dir}, self)
	t.Cleanup(func() {
		if t.Failed() {
			data, err := os.ReadFile(filepath.Join(dir, "clicks.log"))
			t.Logf("clicks.log (%v):\n%s", err, data)
		}
	})
	clicked := func(line string) {
		t.Helper()
		s.WaitFor(func() bool {
			data, _ := os.ReadFile(filepath.Join(dir, "clicks.log"))
			return slices.Contains(strings.Split(string(data), "\n"), line)
		}, 30*time.Second, fmt.Sprintf("%q in clicks.log", line))
	}

	s.WaitForIcon(statusicon.Idle)
	s.Screenshot("self-1-idle")
	for _, status := range []statusicon.Status{statusicon.Busy, statusicon.Verified, statusicon.Broken, statusicon.Idle} {
		name := status.String()
		s.ClickMenuPath("Status", strings.ToUpper(name[:1])+name[1:])
		clicked(name)
		s.WaitForIcon(status)
	}
	s.ClickMenuPath("Status", "Verified")
	s.WaitForIcon(statusicon.Verified)
	s.WaitForItem("Stop")
	s.ClickMenuPath("Launch with", "claude-code")
	clicked("agent-claude-code")
	s.HoverMenuPath("Launch shell")
	s.Screenshot("self-2-menu")
	s.Key("Escape")
	s.HoverMenuPath("Launch with", "claude-code")
	s.Screenshot("self-2-submenu")
	s.Key("Escape", "Escape")
	s.ClickMenuPath("Stop")
	clicked("stop")

	s.ClickMenuPath("Notify")
	clicked("notify")
	s.WaitFor(func() bool { return len(s.Notifications()) == 1 }, 30*time.Second, "the notification")
	n := s.Notifications()[0]
	if n.App != "CALMenu" || n.Summary != "Artifact landed" || !strings.Contains(n.Body, "app_1.txt") {
		t.Errorf("notification %+v", n)
	}
	s.WaitFor(func() bool { _, ok := s.FindClass("^Dunst$"); return ok }, 30*time.Second, "the notification's window")
	s.Screenshot("self-3-notification")
	s.ClickNotification()
	clicked("notification clicked")

	s.ClickMenuPath("Open Terminal")
	s.WaitForWindow("CALMenu demo", 30*time.Second)
	s.WaitFor(func() bool {
		got, _ := os.ReadFile(filepath.Join(dir, "result"))
		return string(got) == "two words|$HOME;'|"
	}, 30*time.Second, "the result of the command in the terminal")
	s.Screenshot("self-4-terminal")
	s.Key("ctrl+c")
	s.ClickMenuPath("Record Terminal")
	s.WaitFor(func() bool { return strings.Contains(s.TerminalText(), "two words|$HOME;'|") }, 30*time.Second,
		"the text in the terminal")
	s.Focus(s.WaitForWindow("CALMenu recorded", 30*time.Second))
	s.Type("typed")
	s.Key("Return")
	s.WaitFor(func() bool { return strings.Contains(s.TerminalText(), "got typed") }, 30*time.Second,
		"what was typed in the terminal")

	s.dialogs(clicked)
	s.ClickMenuPath("Quit")
	clicked("quit")
	s.WaitFor(func() bool { _, there := s.AnyTrayIcon(); return !there }, 30*time.Second, "the icon to go")
}

func (s *Session) dialogs(clicked func(string)) {
	s.t.Helper()
	s.ClickMenuPath("Ask")
	s.WaitForWindow("^Rollback$", 30*time.Second)
	s.Screenshot("self-5-question")
	s.Key("Return")
	clicked("answer {Cancelled:false Button:0 Text: Choice:0} <nil>")

	s.ClickMenuPath("Password")
	s.Focus(s.WaitForWindow("^Sign in$", 30*time.Second))
	s.Type("secret_<1>")
	s.Screenshot("self-6-password")
	s.Key("Return")
	clicked("answer {Cancelled:false Button:0 Text:secret_<1> Choice:0} <nil>")

	s.ClickMenuPath("Choose")
	s.Focus(s.WaitForWindow("^Agent$", 30*time.Second))
	s.Key("Down")
	s.Screenshot("self-7-list")
	s.Key("Return")
	clicked("answer {Cancelled:false Button:0 Text: Choice:1} <nil>")
}

// TestEntryAt: a menu's place and the heights of what is above give the place of an entry.
func TestEntryAt(t *testing.T) {
	items := []MenuItem{{Label: "header"}, {Separator: true}, {Label: "Launch shell", Enabled: true}}
	place := image.Rect(100, 30, 400, 30+12+2*entryHeight+separatorHeight)
	at, err := entryAt(place, items, "Launch")
	if want := image.Pt(200, 30+6+entryHeight+separatorHeight+entryHeight/2); err != nil || at != want {
		t.Errorf("entryAt = %v, %v, want %v", at, err, want)
	}
	for label, in := range map[string]image.Rectangle{
		"header": place, "absent": place, "Launch": image.Rect(0, 0, 300, 40),
	} {
		if at, err := entryAt(in, items, label); err == nil {
			t.Errorf("entryAt(%q) = %v, want an error", label, at)
		}
	}
}
