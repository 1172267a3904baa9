package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/guest/changes"
	"github.com/calmenu/calmenu/internal/snapshot"
)

// homeFind is a find that looks into the home alone: outside of it is this host.
const homeFind = `#!/bin/sh
case $1 in /) exit 0 ;; esac
exec /usr/bin/find "$@"
`

func TestPreview(t *testing.T) {
	if _, err := os.Stat("/usr/bin/find"); err != nil {
		t.Skip("no /usr/bin/find")
	}
	a, d := demo(t)
	bin, _, _ := strings.Cut(os.Getenv("PATH"), ":")
	if err := os.WriteFile(filepath.Join(bin, "find"), []byte(homeFind), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := a.TakeSnapshot(t.Context(), "demo", snapshot.Snapshot{Name: "before"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, d, "workspace/large", strings.Repeat("x", 5000))
	put(t, d, "workspace/small", "x")
	p, err := a.Preview(t.Context(), "demo", "before")
	if err != nil {
		t.Fatal(err)
	}
	if !p.Running || p.Unknown != "" || p.Changes == nil || p.Snapshot.ID != s.ID || len(p.Agents) != 0 {
		t.Fatalf("%+v", p)
	}
	if r := *p.Changes; len(r.Top) < 2 || r.Top[0] != (changes.File{Path: "workspace/large", Bytes: 5000}) {
		t.Errorf("%+v", r)
	}
	if text := strings.Join(p.Lines(80), "\n"); !strings.Contains(text, "A rollback would undo:") ||
		!strings.Contains(text, "5.0 kB  workspace/large") {
		t.Error(text)
	}

	if err := a.Stop(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	if p, err = a.Preview(t.Context(), "demo", ""); err != nil {
		t.Fatal(err)
	}
	if p.Running || p.Changes != nil || p.Unknown == "" || p.DiskAtMost < 5001 {
		t.Errorf("of a stopped machine: %+v", p)
	}
	if _, err := a.Preview(t.Context(), "demo", "no such"); err == nil {
		t.Error("of a snapshot there is not")
	}
}

// TestPreviewOfAWreckedGuest: a guest that no longer answers is what a rollback is for.
func TestPreviewOfAWreckedGuest(t *testing.T) {
	a, d := demo(t)
	if _, err := a.TakeSnapshot(t.Context(), "demo", snapshot.Snapshot{Name: "before"}, nil); err != nil {
		t.Fatal(err)
	}
	d.Fail("DialSSH", errors.New("no answer"))
	p, err := a.Preview(t.Context(), "demo", "before")
	if err != nil || !p.Running || p.Changes != nil || p.Unknown == "" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPreviewLines(t *testing.T) {
	now := time.Date(2026, 1, 17, 14, 30, 0, 0, time.UTC)
	s := snapshot.Snapshot{Name: "before the rewrite", Created: now.Add(-2 * time.Hour)}
	for name, x := range map[string]struct {
		p    Preview
		want []string
	}{
		"running": {
			Preview{
				Time: now, Snapshot: s, Running: true,
				Changes: &changes.Report{Yours: changes.Count{Files: 1, Bytes: 12}, Top: []changes.File{{Path: "x", Bytes: 12}}},
				Agents:  []PreviewAgent{{Name: "Claude Code", Waiting: true}, {Name: "Codex"}},
			},
			[]string{
				`"before the rewrite" was taken 2 hours ago. A rollback would undo:`, "  1 file changed (12 B)", "       12 B  x",
				"At work in it: Claude Code (waits for you), Codex",
			},
		},
		"nothing": {
			Preview{Time: now, Snapshot: snapshot.Snapshot{Name: "s", Created: now}, Running: true, Changes: &changes.Report{}},
			[]string{`"s" was taken just now. Nothing of note changed since.`},
		},
		"stopped": {
			Preview{Time: now, Snapshot: s, Unknown: "the VM does not run", DiskAtMost: 12_000_000},
			[]string{
				`"before the rewrite" was taken 2 hours ago. What changed since is not known, as the VM does not run.`,
				"At most 12 MB were written since.",
			},
		},
	} {
		if d := cmp.Diff(x.want, x.p.Lines(100)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
