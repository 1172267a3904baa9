package session

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/golden"
)

func statuses() []Status {
	ok := Status{Workspace: "demo", Agent: "Claude Code", Envs: []string{"ios", "android"}, Mode: "Safe Mode"}
	busy := ok
	busy.Level, busy.Activity = LevelChanging, "snapshot: freezing 2 s"
	lost := ok
	lost.Level, lost.Activity, lost.Envs = LevelChanging, "connection lost, waiting 12 s", nil
	weak := ok
	weak.Level, weak.Mode, weak.Waiting = LevelChanging, "Weakened: network open to *.example.com", true
	broken := ok
	broken.Level, broken.Mode = LevelTrouble, "Broken: the guest reached a service on the host"
	long := ok
	long.Workspace = strings.Repeat("x", 40)
	failed := ok
	failed.Level, failed.Activity = LevelTrouble, "the VM does not answer"
	hostile := Status{Workspace: "a\x1b[2Jb", Mode: "Safe\nMode", Activity: "漢字漢字漢字漢字漢字漢字"}
	return []Status{ok, busy, lost, weak, broken, long, failed, hostile}
}

func TestBannerGolden(t *testing.T) {
	var b strings.Builder
	for _, s := range statuses() {
		for _, width := range []int{140, 100, 80, 60, 40, 30, 20} {
			fmt.Fprintf(&b, "%3d│%s│\n", width, strings.TrimRight(unpainted(Banner(s, width, false)), " "))
		}
		fmt.Fprintf(&b, "title: %s\n", Title(s))
	}
	golden.Text(t, filepath.Join("testdata", "banner.txt"), b.String())
}

// unpainted is a line without what paint added.
func unpainted(s string) string {
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return s
		}
		s = s[:i] + s[i+strings.IndexByte(s[i:], 'm')+1:]
	}
}

func TestBannerSaysWhatHoldsAtAnyWidth(t *testing.T) {
	for _, s := range statuses() {
		word, _, _ := strings.Cut(flat(s.Mode), ":")
		for width := 20; width <= 200; width++ {
			for _, colour := range []bool{true, false} {
				line := Banner(s, width, colour)
				text := unpainted(line)
				if n := cells.StringWidth(text); n != width {
					t.Errorf("%d columns in a terminal of %d: %q", n, width, text)
				}
				if !strings.Contains(text, word) {
					t.Errorf("in %d columns %q is cut: %q", width, word, text)
				}
				if coloured := strings.Contains(line, "\x1b[30;") || strings.Contains(line, ";41m"); coloured != colour {
					t.Errorf("colour wanted %v: %q", colour, line)
				}
			}
		}
	}
	for width := range 20 {
		for _, s := range statuses() {
			if n := cells.StringWidth(unpainted(Banner(s, width, true))); n != width {
				t.Errorf("%d columns in a terminal of %d", n, width)
			}
		}
	}
}

func FuzzBannerActsOnNothing(f *testing.F) {
	f.Add("demo", "Safe Mode", "snapshot\x07", 80, 1)
	f.Fuzz(func(t *testing.T, workspace, mode, activity string, width, level int) {
		if width < 0 || width > 300 {
			return
		}
		s := Status{Level: Level(level), Workspace: workspace, Mode: mode, Activity: activity}
		for _, line := range []string{unpainted(Banner(s, width, true)), Title(s)} {
			if strings.ContainsAny(line, "\x1b\x07\r\n") {
				t.Errorf("%q", line)
			}
		}
		if n := cells.StringWidth(unpainted(Banner(s, width, true))); n > width {
			t.Errorf("%d columns in a terminal of %d", n, width)
		}
	})
}
