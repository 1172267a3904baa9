//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestTitle: the title of a real window says how its session's workspace stands, follows what happens to it, and is after
// the session what it was before.
func TestTitle(t *testing.T) {
	d := newPlayedDesk(t)
	d.run("new", name, "--agent", "shell", "--cpu", "4", "--memory", "4096", "--disk", "50")
	d.run("start", name)
	d.Run("title-window", d.env, "env", "x-terminal-emulator", "-T", "My window", "-e",
		"env", "PS1=ready> ", "bash", "--norc", "--noprofile")
	window := d.WaitForWindow("^My window$", stepLimit)
	d.Focus(window)
	d.prints("ready> ", "")
	// xprop writes down each title: what is under way can be over before anybody looks.
	d.Run("titles", nil, "xprop", "-spy", "-id", window.ID, "_NET_WM_NAME")
	seen := 0
	titled := func(pattern string) {
		t.Helper()
		re := regexp.MustCompile(`_NET_WM_NAME.* = "` + pattern + `"\n`)
		d.WaitFor(func() bool {
			text, err := os.ReadFile(filepath.Join(d.Artifacts(), "titles.log"))
			if err != nil {
				t.Fatal(err)
			}
			at := re.FindIndex(text[seen:])
			if at != nil {
				seen += at[1]
			}
			return at != nil
		}, stepLimit, fmt.Sprintf("the title %q", pattern))
	}

	// The double's machines belong to whoever runs the test: root's are no safe place.
	const state = "CAL demo .* Shell · (Safe Mode|Broken)"
	titled("My window")
	for _, x := range []struct{ shell, title string }{
		{"", "My window"}, // as it was opened
		{`printf '\e]2;The shell its own\a'; `, "The shell its own"},
	} {
		before := d.enter(x.shell + program + " session " + name + " --yes --i-accept-no-isolation")
		titled(state + ` · \S+`) // which the guest's shell or tmux adds
		d.Screenshot("title-session")
		d.run("snapshot", "create", name)
		titled("CAL demo .* Shell · .*taking a snapshot.*") // of a VM that still runs, or is being started again
		titled(state + ` · \S+`)                            // the machine was stopped for it, and the session has come back
		d.enter("exit")
		titled(x.title)
		d.prints("ready> ", before)
	}
}
