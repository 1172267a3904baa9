package menu

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/golden"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/statusicon"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// text renders a menu as a person would draw it: indentation is depth, [x] a tick, (grey) an entry that cannot be clicked.
func text(m statusicon.Menu) string {
	var b strings.Builder
	fmt.Fprintf(&b, "icon: %s\ntooltip: %s\n", m.Status, m.Tooltip)
	var walk func(items []statusicon.Item, indent string)
	walk = func(items []statusicon.Item, indent string) {
		for _, it := range items {
			switch {
			case it.Separator:
				b.WriteString(indent + "---\n")
				continue
			case it.Checkable && it.Checked:
				b.WriteString(indent + "[x] " + it.Title)
			case it.Checkable:
				b.WriteString(indent + "[ ] " + it.Title)
			default:
				b.WriteString(indent + it.Title)
			}
			switch {
			case it.Disabled:
				b.WriteString("  (grey)")
			case it.ID != "":
				b.WriteString("  <" + it.ID + ">")
			}
			b.WriteString("\n")
			walk(it.Children, indent+"    ")
		}
	}
	walk(m.Items, "")
	return b.String()
}

func running(change func(*state.Workspace)) state.State {
	w := state.Workspace{
		Name: "demo", Agent: "claude-code", AgentName: "Claude Code", Life: state.Running, PID: 4711,
		Isolation: state.Isolation{Level: isolation.Verified, Passed: 9, Total: 9},
		Snapshots: []snapshot.Snapshot{
			{ID: "s3", Name: "before rollback", Kind: snapshot.Undo, Created: now.Add(-2 * time.Minute)},
			{ID: "s2", Name: "before the rewrite", Kind: snapshot.Manual, Created: now.Add(-time.Hour), SizeBytes: 12e6, Warm: true},
			{ID: "s1", Name: "session-2026-03-01", Kind: snapshot.Session, Created: now.Add(-26 * time.Hour), SizeBytes: 3e9},
		},
		Artifacts: []state.Artifact{
			{Path: "/out/demo/app.ipa", Size: 4_200_000, Time: now.Add(-30 * time.Second)},
			{Path: "/out/demo/run.sh", Size: 42, Time: now.Add(-time.Hour), Warnings: []string{"is a script"}},
		},
		Refused: []state.Refusal{{Name: "evil", Reason: "a symbolic link", Time: now}},
		Network: state.Network{
			Policy: "allowlist", Mode: "auto", Tunnel: true, Why: "the guest does not reach github.com:443 by itself",
		},
	}
	if change != nil {
		change(&w)
	}
	return state.State{Time: now, Current: "demo", Workspaces: []state.Workspace{
		w, {Name: "zoo", Agent: "shell", AgentName: "Shell", Life: state.Stopped},
	}}
}

func TestMenuForEachKindOfState(t *testing.T) {
	cases := map[string]state.State{
		"none":    {Time: now},
		"update":  {Time: now, Update: "1.2.0"},
		"running": running(nil),
		"disk": func() state.State {
			s := running(nil)
			s.DiskWarning = "the host's disk has 2 GiB left, less than the 5 GiB to warn at"
			return s
		}(),
		"starting": running(func(w *state.Workspace) {
			w.Life = state.Starting
			w.Operation = &state.Operation{Verb: "start", Phase: "waiting for SSH", Since: now}
			w.Isolation = state.Isolation{Level: isolation.Unknown}
		}),
		"building": running(func(w *state.Workspace) {
			w.Life = state.Starting
			w.Operation = &state.Operation{Verb: "new", Phase: "downloading packages", Done: 30, Total: 120}
		}),
		"syncing": running(func(w *state.Workspace) {
			w.Operation = &state.Operation{
				Verb: "sync", Phase: "fetching", Done: 60, Total: 240, Detail: "60 MB of 240 MB, 20 MB/s, 9s left",
			}
		}),
		"broken": running(func(w *state.Workspace) {
			w.Isolation = state.Isolation{Level: isolation.Broken, Reason: "the guest reached a service on the host"}
		}),
		"failed": running(func(w *state.Workspace) {
			w.Life, w.PID = state.Failed, 0
			w.LastError = &state.Failure{Verb: "start", Text: "not enough free disk space", Hint: "Free 4 GB."}
		}),
		"waiting": running(func(w *state.Workspace) {
			w.Waiting = true
			w.Waits = []state.Wait{
				{Agent: "claude-code", Session: "s", Since: now, Detail: "May I?"},
				{Agent: "claude-code", Since: now},
				{Agent: "shell", Since: now.Add(-time.Minute)},
			}
		}),
		"network": running(func(w *state.Workspace) {
			w.Network.Policy, w.Network.Mode = "ask", "on"
			w.NetAsks = []state.NetAsk{{ID: "q", Destination: "api.example.org:443", Since: now}}
			w.NetRefused = []state.Refusal{
				{Name: "evil.example:443", Reason: "is not on the allow list", Time: now.Add(-time.Hour)},
				{Name: "127.0.0.1:4711", Reason: "the canary", Time: now},
				{Name: "(others):0", Time: now},
			}
			w.NetReached = []state.Refusal{{Name: "registry.npmjs.org:443", Reason: "registry.npmjs.org", Time: now}}
		}),
		"offline": running(func(w *state.Workspace) {
			w.Network = state.Network{Policy: "offline", Mode: "off", Why: "switched off: the guest has no network but its own"}
		}),
		"stopped": running(func(w *state.Workspace) {
			w.Life, w.PID, w.Snapshots, w.Artifacts, w.Refused = state.Stopped, 0, nil, nil, nil
		}),
	}
	choices := []Choice{{"claude-code", "Claude Code"}, {"shell", "Shell"}}
	for name, s := range cases {
		t.Run(name, func(t *testing.T) {
			golden.Text(t, filepath.Join("testdata", name+".txt"), text(Build(s, choices)))
		})
	}
}

func TestEveryEntryIsAnActionThatParses(t *testing.T) {
	var walk func(items []statusicon.Item)
	walk = func(items []statusicon.Item) {
		for _, it := range items {
			if it.ID != "" {
				a, ok := ParseID(it.ID)
				if !ok || a.ID() != it.ID {
					t.Errorf("entry %q has identifier %q, which means %+v", it.Title, it.ID, a)
				}
			}
			walk(it.Children)
		}
	}
	walk(Build(running(nil), nil).Items)
	if _, ok := ParseID("nonsense"); ok {
		t.Error("nonsense is taken for an action")
	}
}

func TestTheMenuOnlyChangesWhenAPersonWouldSeeIt(t *testing.T) {
	a := running(nil)
	b := a
	b.Time = b.Time.Add(10 * time.Second)
	if d := cmp.Diff(text(Build(a, nil)), text(Build(b, nil))); d != "" {
		t.Errorf("ten seconds change the menu:\n%s", d)
	}
}
