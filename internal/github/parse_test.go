package github_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
)

// told is what the script prints for one repository with one of everything.
var told = strings.Join([]string{
	"@H/home/u", "@c/home/u/workspace/app/.git", "rcore.bare false", "rremote.origin.url https://me:secret@git.example/app",
	"&" + oid("a") + "  refs/heads/main", "\n&" + oid("b") + "  refs/heads/agent/fix", "\n&" + oid("c") + " " + oid("b") + " refs/tags/v1",
	"\n", "xrefs 0 ", "%" + oid("b") + "\n" + oid("d") + "\n", "xcommits 0 ",
	"@t/home/u/workspace/app", "/home/u/workspace/app/.git", "/home/u/workspace/app/.git", "orebase",
	"# branch.oid " + oid("d"), "# branch.head (detached)", "# stash 2", "1 .M N... 100644 100644 100644 h h a file", "? new", "? inner/",
	"! .env", "! out/", "", "xstatus 0 ", "", "hhidden", ".", "@p/home/u/workspace/app/.env", "@p/home/u/workspace/app/out/x.key",
	"@p/home/u/workspace/app/tracked.pem", "@p/home/u/elsewhere.pem", "@t/home/u/workspace/app/inner",
	"/home/u/workspace/app/inner/.git", "/home/u/workspace/app/inner/.git",
	"# branch.oid (initial)", "# branch.head main", "", "xstatus 0 ", "", ".", "@f0", "@l/home/u/workspace/x", "@z3", "",
}, "\x00")

func oid(s string) string { return strings.Repeat(s, 40) }

func TestParse(t *testing.T) {
	t.Parallel()
	s := github.Parse([]byte(told), nil, false)
	want := []string{
		"app: unfinished rebase, 1 uncommitted file, 1 untracked file, 2 ignored files (.env, out/x.key), " +
			"1 file git does not look at (hidden), 2 stashes, 2 commits on no remote (agent/fix, tags/v1, detached HEAD)",
		"app/inner: unreadable: looking at its refs did not come to its end",
		"in no repository: workspace/x and 2 more",
	}
	if d := cmp.Diff(want, s.Lines()); d != "" {
		t.Error(d)
	}
	if s.Unknown {
		t.Errorf("unknown: %q", s.Reasons)
	}
	if r := s.Repos[0].Remotes; len(r) != 1 || r[0].URL != "https://git.example/app" {
		t.Errorf("remotes %+v", r)
	}
	if b, err := json.Marshal(s); err != nil || strings.Contains(string(b), "secret") {
		t.Errorf("%v: %s", err, b)
	}
}

// TestParseCutAnywhere: whatever an answer is cut to, work is at risk, and it is said to be unknown.
func TestParseCutAnywhere(t *testing.T) {
	t.Parallel()
	for i := range len(told) {
		if s := github.Parse([]byte(told[:i]), nil, false); !s.Unknown || !s.AtRisk() {
			t.Fatalf("cut after %d bytes it is no risk: %+v", i, s)
		}
	}
	for _, odd := range []struct{ out, stderr string }{
		{told, "find: ./x: Permission denied"},
		{strings.Replace(told, "@f0", "@f1", 1), ""},
		{strings.Replace(told, "@H/home/u\x00", "@H/home/u\x00nonsense\x00", 1), ""},
		{strings.Replace(told, "@H/home/u\x00", "@H/home/u\x00@?x\x00", 1), ""},
		{strings.Replace(told, "@z3", "@zx", 1), ""},
	} {
		if s := github.Parse([]byte(odd.out), []byte(odd.stderr), false); !s.Unknown {
			t.Errorf("known, but %.60q, %q", odd.out, odd.stderr)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(told), []byte(""), false)
	f.Add([]byte("@H\x00@t\x00@w\x00@p\x00@l\x00@e\x00@E\x00@m\x00@f\x00@z-1\x00"), []byte("\xff\x1b[2J"), true)
	f.Add([]byte("@c\x00r\x00&\x00%\x00x\x00@t\x00\x00\x001\x00u\x00?\x00!\x00#\x00o\x00h\x00.\x00@z0\x00"), []byte(""), false)
	f.Fuzz(func(t *testing.T, out, stderr []byte, cut bool) {
		s := github.Parse(out, stderr, cut)
		if cut && !s.AtRisk() {
			t.Error("an answer that was cut is no risk")
		}
		for _, line := range s.Lines() {
			if strings.ContainsFunc(line, func(r rune) bool { return r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
				t.Errorf("not fit for a terminal: %q", line)
			}
		}
		if (len(s.Lines()) > 0) != s.AtRisk() {
			t.Errorf("at risk %v, but said: %q", s.AtRisk(), s.Lines())
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}

func TestCleanHome(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	survey := surveyOf(t, s)
	if survey.AtRisk() || len(survey.Lines()) > 0 || survey.Home != s.home {
		t.Errorf("an empty home: %+v", survey)
	}
	s.sh(`mkdir -p workspace/empty/deep && rm -rf output`)
	if survey := surveyOf(t, s); !survey.AtRisk() {
		t.Log("directories alone are no loss")
	}
	s.sh(`rm -rf workspace && ln -s /tmp workspace`)
	if survey := surveyOf(t, s); !survey.Unknown {
		t.Error("a ~/workspace that is a link was not looked through, nor said so")
	}
}

// TestBounds: what is too much, takes too long, or cannot be asked is unknown, never nothing.
func TestBounds(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	servers(s)
	s.sh(`cd workspace && cp -R app app-2 && cp -R app app-3`)
	if survey := surveyOf(t, s); survey.AtRisk() {
		t.Fatalf("clean clones: %q", survey.Lines())
	}
	few, err := github.LookThrough(t.Context(), s, github.SurveyOptions{Repos: 2})
	if err != nil || !few.Unknown || len(few.Repos) != 2 {
		t.Errorf("too many repositories: %+v, %v", few, err)
	}
	little, err := github.LookThrough(t.Context(), s, github.SurveyOptions{Limit: 100})
	if err != nil || !little.Unknown {
		t.Errorf("too much output: %+v, %v", little, err)
	}
	// A repository's configuration that is never read to its end: the others are told all the same.
	s.sh(`cd workspace && git config -f app-3/.git/config include.path "$HOME/pipe" && mkfifo "$HOME/pipe" && echo x >>app/file`)
	slow, err := github.LookThrough(t.Context(), s, github.SurveyOptions{Timeout: 3 * time.Second})
	if err != nil || !slow.Unknown || !strings.HasPrefix(slow.Reasons[0], "looking took longer") {
		t.Errorf("too slow: %+v, %v", slow, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if gone, err := github.LookThrough(ctx, s, github.SurveyOptions{}); !errors.Is(err, context.Canceled) || !gone.AtRisk() {
		t.Errorf("cancelled: %+v, %v", gone, err)
	}
	lost, err := github.LookThrough(t.Context(), deaf{}, github.SurveyOptions{})
	if !errors.Is(err, guest.ErrLost) || hint.Of(err) == "" || !lost.AtRisk() {
		t.Errorf("connection lost: %+v, %v", lost, err)
	}
}

// deaf is a guest whose connection is lost.
type deaf struct{}

func (deaf) Output(context.Context, guest.Cmd) (guest.Result, error) {
	return guest.Result{Exit: -1}, guest.ErrLost
}

func TestWithoutGit(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	// Everything but git, by links: that is what PATH has then.
	for _, p := range []string{"sh", "find", "grep", "head", "cat"} {
		file, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(file, filepath.Join(s.bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(s.env, "PATH="+s.bin)
	if survey := surveyOf(t, s); !survey.Unknown || survey.Reasons[0] != "git is not installed in the guest" {
		t.Errorf("without git: %+v", survey)
	}
}

// TestForeign: a repository of another user's is looked at like any other; what cannot be read of it is a problem.
func TestForeign(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	if s.uid == nil {
		t.Skip("only root can give a file to another user")
	}
	servers(s)
	s.sh(`echo x >>workspace/app/file`)
	if out, err := exec.Command("chown", "-R", "0:0", filepath.Join(s.home, "workspace/app")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := surveyOf(t, s).Lines(); !cmp.Equal(got, []string{"app: 1 uncommitted file"}) {
		t.Errorf("of another user's: %q", got)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	none, err := github.Load(dir)
	if err != nil || !none.Survey.AtRisk() {
		t.Errorf("nothing kept: %+v, %v", none, err)
	}
	s := github.Parse([]byte("@H/home/u\x00@f0\x00@z0\x00"), nil, false)
	s.Time = time.Date(2026, 1, 17, 14, 30, 0, 0, time.UTC)
	if s.AtRisk() {
		t.Fatalf("%+v", s)
	}
	if err := github.Save(dir, s); err != nil {
		t.Fatal(err)
	}
	kept, err := github.Load(dir)
	if err != nil || !cmp.Equal(s, kept.Survey) {
		t.Errorf("kept %+v: %+v, %v", s, kept.Survey, err)
	}
	stale := kept.Stale("it ran on")
	if !stale.AtRisk() || !cmp.Equal(stale.Lines(), []string{"unknown: it ran on"}) || kept.Survey.AtRisk() {
		t.Errorf("gone stale: %q", stale.Lines())
	}
	for _, bad := range []string{"", "{", `{"version":99}`, "null"} {
		if err := os.WriteFile(filepath.Join(dir, "work-at-risk.json"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := github.Load(dir); err == nil || !got.Survey.AtRisk() {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
	if err := errors.Join(github.Forget(dir), github.Forget(dir)); err != nil {
		t.Error(err)
	}
	if got, err := github.Load(dir); err != nil || !got.Survey.Unknown {
		t.Errorf("forgotten: %+v, %v", got, err)
	}
}
