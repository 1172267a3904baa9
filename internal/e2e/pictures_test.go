//go:build linux

package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/statusicon"
)

// agentLimit is how long an agent may take to be installed, and to draw anything: minutes where the guest is emulated.
const agentLimit = 20 * time.Minute

// TestPictures makes docs/images/session-*.png: real agents, installed in the guest from the npm registry this host is set
// up for, in a terminal opened from the menu. Without the internet they come as far as signing in. What they draw is theirs
// to change, so this is for looking at, and no part of what CI runs. The banner's sign needs a font that has it
// (fonts-noto-color-emoji).
//
//	CAL_TEST_PICTURES=1 CAL_TEST_DESKTOP=1 CAL_TEST_VM=1 go test -timeout 60m -run TestPictures ./internal/e2e
func TestPictures(t *testing.T) {
	which := os.Getenv("CAL_TEST_PICTURES")
	if which == "" {
		t.Skip("set CAL_TEST_PICTURES=1, or the name of one agent: this test takes pictures of real agents, for minutes")
	}
	d := newDesk(t)
	// HOME, where npm is told of its registry, is another one here.
	out, err := exec.Command("npm", "config", "get", "registry").Output()
	if err != nil {
		t.Fatalf("asking npm for its registry: %v", err)
	}
	d.env = append(d.env, "npm_config_registry="+strings.TrimSpace(string(out)))
	d.run("new", name, "--agent", "shell", "--cpu", "2", "--memory", "2048")
	d.startAgent()
	d.step("started", func() {
		d.run("start", name)
		d.icon(statusicon.Verified)
	})
	for _, agent := range []struct{ id, name, picture, draws string }{
		{"codex", "Codex", "session-codex", `ChatGPT`},
		{"claude-code", "Claude Code", "session-claude", `Welcome.*Claude`},
		{"opencode", "opencode", "session-opencode", `Ask anything`},
	} {
		if which != "1" && which != agent.id {
			continue
		}
		d.step(agent.name+" installed", func() { d.install(agent.id) })
		d.step(agent.name+" drew", func() {
			d.icon(statusicon.Verified)
			before := d.TerminalText()
			d.ClickMenuPath("Launch with", agent.name)
			d.prints(`\[Enter\] Launch`, before)
			d.Focus(d.sessionWindow())
			before = d.TerminalText()
			d.Key("Return")
			d.printsWithin(agent.draws, before, agentLimit)
			for _, shown := d.FindClass("^Dunst$"); shown; _, shown = d.FindClass("^Dunst$") {
				d.ClickNotification() // of a machine too busy for a check in time
			}
			d.icon(statusicon.Verified)
			d.Screenshot(agent.picture)
			d.guest("tmux -L cal kill-server || :") // of one that ended by itself there is nothing left
			d.waitFor(func() bool {
				ended := len(d.demo().Sessions) == 0
				if !ended {
					d.Key("Return") // to whatever it asks
				}
				return ended
			}, stepLimit, "the session to end")
		})
	}
}

func (d *desk) install(agent string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), agentLimit)
	defer cancel()
	if out, err := d.command(ctx, "agent", "install", agent, name).CombinedOutput(); err != nil {
		d.t.Fatalf("installing %s: %v\n%s", agent, err, out)
	}
}
