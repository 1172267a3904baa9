package bar

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/session"
)

// What a session would refuse in its terminal, a launch by dialog refuses before there is one. (The guest of this test is
// this host, so that its isolation is broken.)
func TestLaunchWithoutIsolationOpensNothing(t *testing.T) {
	t.Setenv("CAL_SESSION_CONFIRM", "dialog")
	b, desk, _ := working(t)
	err := b.act(t.Context(), menu.Action{Verb: menu.Launch, Workspace: "demo", Arg: "shell"})
	if c := desk.Calls(); !errors.Is(err, app.ErrBroken) || len(c.Questions)+len(c.Terminals) != 0 {
		t.Errorf("%v, %+v", err, c)
	}
}

func TestLaunchConfirmedInADialog(t *testing.T) {
	b, desk, a := working(t)
	now := time.Now()
	f := session.Facts{
		Workspace: "demo", VM: "running for 3 minutes", Level: isolation.Verified, Passed: 9, Total: 9, Agent: "Shell",
		Repositories: []string{"app (branch a\x1b[2Jb)"}, LastBackup: now.Add(-time.Minute), BackupKind: "one", Now: now,
	}
	for _, tt := range []struct {
		name      string
		answer    desktop.Answer
		declined  bool
		snapshots int
	}{
		{"Quit", desktop.Answer{Cancelled: true}, true, 0},
		{"Launch", desktop.Answer{Button: 0}, false, 0},
		{"Backup First", desktop.Answer{Button: 1}, false, 1},
	} {
		desk.Script(tt.answer)
		if err := b.confirmLaunch(t.Context(), f); errors.Is(err, app.ErrDeclined) != tt.declined || err != nil && !tt.declined {
			t.Errorf("%s: %v", tt.name, err)
		}
		list, err := a.Snapshots(t.Context(), "demo")
		if err != nil || len(list) != tt.snapshots {
			t.Errorf("%s: %d snapshots, %v", tt.name, len(list), err)
		}
	}
	q := desk.Calls().Questions[0]
	for _, fact := range []string{
		"Workspace: demo", "Isolation: ✓ verified (9 of 9 checks)", "Agent: Shell", "app (branch a[2Jb)", "1 minute ago (one)",
	} {
		if !strings.Contains(q.Text, fact) {
			t.Errorf("the dialog does not say %q:\n%s", fact, q.Text)
		}
	}
}
