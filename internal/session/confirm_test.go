package session

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/calmenu/calmenu/internal/golden"
	"github.com/calmenu/calmenu/internal/isolation"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func facts() Facts {
	return Facts{
		Workspace: "demo", VM: "running for 3 minutes", Level: isolation.Verified, Passed: 9, Total: 9,
		Agent: "Claude Code", Repositories: []string{"app (branch agent/fix-login)", "site (branch main)"},
		LastBackup: now.Add(-2 * time.Minute), BackupKind: "session-2026-03-01-1158", Now: now,
	}
}

func TestConfirmationGolden(t *testing.T) {
	broken := facts()
	broken.Level, broken.Reason = isolation.Broken, "the guest reached a service on the host (direct-10.0.2.2:41111)"
	fresh := facts()
	fresh.Repositories, fresh.LastBackup = nil, time.Time{}
	fresh.Level, fresh.Reason = isolation.Unknown, "not proven yet since the VM started"
	signedOut := facts()
	signedOut.AgentAuth, signedOut.CanSignIn = AuthSignedOut, true
	signedOut.Agents = []AgentRow{{ID: "codex", Name: "Codex"}}
	unsure := signedOut
	unsure.AgentAuth = AuthUnknown
	for name, c := range map[string]struct {
		f     Facts
		width int
	}{
		"signed-out-80": {signedOut, 80}, "unsure-40": {unsure, 40},
		"verified-80": {facts(), 80}, "verified-40": {facts(), 40}, "broken-60": {broken, 60}, "fresh-200": {fresh, 200},
	} {
		t.Run(name, func(t *testing.T) {
			got := Render(c.f, c.width, false)
			for line := range strings.Lines(got) {
				if w := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); w > c.width {
					t.Errorf("a line of %d columns in a terminal of %d: %s", w, c.width, line)
				}
			}
			if plain := visible(Render(c.f, c.width, true)); plain != runewidth.StringWidth(got) {
				t.Errorf("colour changes what is visible")
			}
			golden.Text(t, filepath.Join("testdata", name+".txt"), got)
		})
	}
}

func TestKeys(t *testing.T) {
	agents := Facts{Agents: []AgentRow{{ID: "a", Name: "A"}}}
	for _, c := range []struct {
		k    key
		f    Facts
		want Choice
		ok   bool
	}{
		{key{kind: keyEnter}, Facts{}, Launch, true},
		{key{kind: keyRune, r: 'b'}, Facts{}, BackupFirst, true},
		{key{kind: keyRune, r: 'B'}, Facts{}, BackupFirst, true},
		{key{kind: keyRune, r: 'a'}, agents, SwitchAgent, true},
		{key{kind: keyRune, r: 'i'}, Facts{CanSignIn: true}, SignIn, true},
		{key{kind: keyRune, r: 'i'}, agents, Quit, false},
		{key{kind: keyRune, r: 'a'}, Facts{}, Quit, false}, // there is none to switch to
		{key{kind: keyRune, r: 'q'}, Facts{}, Quit, true},
		{key{kind: keyEscape}, Facts{}, Quit, true},
		{key{kind: keyCtrl, r: 'c'}, Facts{}, Quit, true},
		{key{kind: keyRune, r: 'x'}, Facts{}, Quit, false},
		{key{kind: keyPaste, text: "b"}, Facts{}, Quit, false},
		{key{kind: keyResize}, Facts{}, Quit, false},
	} {
		if got, ok := choiceOf(c.k, c.f); got != c.want || ok != c.ok {
			t.Errorf("key %+v: %v %v; want %v %v", c.k, got, ok, c.want, c.ok)
		}
	}
}

func FuzzPrintableLeavesNothingThatActsOnATerminal(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\x07\x1b[2J\u202egnp.exe\x9b31m\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Printable(s) {
			if r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r >= '\u202a' && r <= '\u202e' {
				t.Errorf("%q leaves %q", s, r)
			}
		}
	})
}

func FuzzWrapKeepsWordsAndWidth(f *testing.F) {
	f.Add("a list of words", 10)
	f.Add("ein-sehr-langes-wort-ohne-jede-stelle-zum-trennen", 7)
	f.Add("漢字 かな", 4)
	f.Fuzz(func(t *testing.T, s string, width int) {
		if width < 2 || width > 200 || len(s) > 2000 {
			return
		}
		lines := wrap(s, width)
		for _, l := range lines {
			if runewidth.StringWidth(l) > width && utf8.RuneCountInString(l) > 1 {
				t.Errorf("line %q is wider than %d", l, width)
			}
		}
		if got, want := strings.Join(strings.Fields(strings.Join(lines, " ")), ""),
			strings.Join(strings.Fields(Printable(s)), ""); got != want {
			t.Errorf("wrapping %q keeps %q", want, got)
		}
	})
}
