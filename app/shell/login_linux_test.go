package shell

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/app/state"
)

func TestStartAtLogin(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	is := func(want state.LoginItem) {
		t.Helper()
		if got := StartsAtLogin(); got != want {
			t.Errorf("start at login is %s, want %s", got, want)
		}
	}
	set := func(on bool) {
		t.Helper()
		if err := SetStartAtLogin(on); err != nil {
			t.Fatal(err)
		}
	}
	is(state.LoginOff)
	set(false) // nothing to take away is no mistake
	set(true)
	is(state.LoginOn)
	set(true)
	is(state.LoginOn)
	set(false)
	is(state.LoginOff)

	// Desktops write this when the person switches the entry off in their settings.
	set(true)
	path := filepath.Join(home, "autostart", "calmenu.desktop")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("Hidden=true\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	is(state.LoginNeedsApproval)
	if err := approveLogin(t.Context()); err != nil {
		t.Fatal(err)
	}
	is(state.LoginOn)
}

func TestAutostartEntryQuotes(t *testing.T) {
	for program, want := range map[string]string{
		"/usr/bin/CALMenu":    `Exec="/usr/bin/CALMenu"`,
		"/home/a b/CALMenu":   `Exec="/home/a b/CALMenu"`,
		`/x"$y%f\z` + "`id`/": `Exec="/x\\"\\$y%%f\\\\z` + "\\\\`id\\\\`" + `/"`,
	} {
		entry, err := autostartEntry(program)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(entry, "\n"+want+"\n") {
			t.Errorf("entry of %s:\n%swant %s", program, entry, want)
		}
	}
	if _, err := autostartEntry("/x\ny"); err == nil {
		t.Error("a line break in the path was accepted")
	}
}
