//go:build linux

package e2e

import (
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/statusicon"
)

// TestUpOnADesktop is what `make run` does for a newcomer with a desktop: nothing is there, and one command later the icon
// is in the tray and a terminal asks whether to launch.
func TestUpOnADesktop(t *testing.T) {
	d := newDesk(t)
	out := d.run("up")
	if !strings.Contains(out, `"demo"`) {
		t.Errorf("up says %q", out)
	}
	d.icon(statusicon.Verified)
	d.prints("CAL Isolation Check", "")
	d.Screenshot("up")
	if s := d.status(); s.AgentPID == 0 {
		t.Error("no agent looks after the workspace")
	}
}

// TestUpWithoutATerminal is what it does where there is nobody to show anything: it plays the whole loop once.
func TestUpWithoutATerminal(t *testing.T) {
	w := newWorld(t, nil, t.TempDir())
	w.env = append(w.env, "HOME="+w.home, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	out := w.run("up")
	for _, step := range []string{"prove its isolation", "the artifact lands", "rm -rf ~", "roll back", "everything is back"} {
		if !strings.Contains(out, step) {
			t.Errorf("the story lacks %q:\n%s", step, out)
		}
	}
	if d := w.demo(); d.State != "running" || len(d.Artifacts) == 0 {
		t.Errorf("afterwards: %+v", d)
	}
}
