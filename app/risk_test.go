package app

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/journal"
)

// Whether a look at a guest is as good as new once it is stopped is a matter of what the journal tells, and what it does
// not tell counts against it.
func TestRanOn(t *testing.T) {
	start := time.Date(2026, 1, 17, 14, 30, 0, 0, time.UTC)
	looked := start.Add(100 * time.Second)
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	op := func(verb string, begin, end int, wrong ...string) []journal.Event {
		id := verb + at(begin).String()
		es := []journal.Event{{Kind: journal.OpBegin, Verb: verb, Op: id, Time: at(begin), Workspace: "demo"}}
		if end > 0 {
			e := journal.Event{Kind: journal.OpEnd, Verb: verb, Op: id, Time: at(end), Workspace: "demo"}
			if len(wrong) > 0 {
				e.Error = wrong[0]
			}
			es = append(es, e)
		}
		return es
	}
	checked := []journal.Event{{Kind: journal.Isolation, Workspace: "demo", Time: at(30)}}
	other := op("start", 200, 210)
	for i := range other {
		other[i].Workspace = "other"
	}
	const on = "it ran on after that, as far as is known"
	for _, tt := range []struct {
		name  string
		told  [][]journal.Event
		never bool
		want  string
	}{
		{"nothing is told", nil, false, on},
		{"made and never started", [][]journal.Event{op("new", 1, 2)}, true, ""},
		{"made, and a snapshot of it", [][]journal.Event{op("new", 1, 2), op("snapshot", 3, 4)}, true, ""},
		{"not made whole", [][]journal.Event{op("new", 1, 2, "disk full")}, false, on},
		{"made and used", [][]journal.Event{op("new", 1, 2), checked}, false, on},
		{"looked at in its stop", [][]journal.Event{op("new", 1, 2), op("start", 3, 40), op("stop", 90, 110)}, false, ""},
		{"suspended", [][]journal.Event{op("start", 3, 40), op("suspend", 90, 110)}, false, ""},
		{"looked at in a session, and ended by itself", [][]journal.Event{op("start", 3, 40)}, false, on},
		{"looked at long before its stop", [][]journal.Event{op("start", 3, 40), op("stop", 190, 210)}, false, on},
		{"looked at after its stop", [][]journal.Event{op("stop", 50, 60)}, false, on},
		{"the stop failed", [][]journal.Event{op("stop", 90, 110, "it hangs")}, false, on},
		{"the stop was killed", [][]journal.Event{op("stop", 90, 0)}, false, on},
		{"snapshot and prune after it", [][]journal.Event{op("stop", 90, 110), op("snapshot", 120, 125), op("prune", 126, 127)}, false, ""},
		{"another one was started", [][]journal.Event{op("stop", 90, 110), other}, false, ""},
		{"started after it", [][]journal.Event{op("stop", 90, 110), op("start", 120, 130)}, false, "there was a start since"},
		{"started after it, and stopped blind", [][]journal.Event{op("stop", 90, 110), op("start", 120, 130), op("stop", 190, 200)}, false, "there was a start since"},
		{"rolled back after it", [][]journal.Event{op("stop", 90, 110), op("rollback", 120, 130)}, false, "there was a rollback since"},
		{"something unheard of after it", [][]journal.Event{op("stop", 90, 110), op("polish", 120, 0)}, false, "there was a polish since"},
	} {
		var events []journal.Event
		for _, es := range tt.told {
			events = append(events, es...)
		}
		if why, never := ranOn(events, "demo", looked); why != tt.want || never != tt.never {
			t.Errorf("%s: %q, never %v; want %q, %v", tt.name, why, never, tt.want, tt.never)
		}
	}
}

// inTheGuest runs a script in the home of a machine of the memory driver.
func inTheGuest(t *testing.T, home, script string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-euc", script)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+filepath.Join(home, ".gitconfig"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

const aRepository = `git config --global user.name Keeper && git config --global user.email keeper@zoo.example
git config --global init.defaultBranch main && git init -q workspace/app && cd workspace/app
echo one >file && git add . && git commit -q -m first && echo two >>file`

func TestAtRisk(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	a, d := open(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func() RiskReport {
		t.Helper()
		r, err := a.AtRisk(t.Context(), "demo")
		must(err)
		return r
	}
	must(a.New(t.Context(), "demo", map[string]string{"agent": "shell"}, nil))
	if r := look(); r.AtRisk || r.Live || r.Doubt != "" {
		t.Errorf("never run: %+v", r)
	}
	must(a.Start(t.Context(), "demo", nil))
	inTheGuest(t, d.Home("demo"), "mkdir -p workspace output;"+aRepository)
	const found = "app: 1 uncommitted file, 1 commit and no remote at all (main)"
	live := look()
	if !live.AtRisk || !live.Live || !live.CanBundle() || live.CanPush() || !cmp.Equal(live.Text(5), []string{found}) {
		t.Errorf("running: %+v", live)
	}
	last, err := a.LastRisk(t.Context(), "demo")
	if err != nil || last.Live || !last.AtRisk || !strings.Contains(last.Doubt, "it runs") {
		t.Errorf("running, and not asked: %+v, %v", last, err)
	}

	// Bundled: it is on this machine, and checked there.
	saved, remains, err := a.SaveAll(t.Context(), "demo", true, nil)
	if err != nil || len(remains) > 0 || len(saved) != 1 || saved[0].Path == "" || github.CheckBundle(saved[0].Path, saved[0].Rescued) != nil {
		t.Errorf("bundled: %+v, %q, %v", saved, remains, err)
	}
	// There is nowhere to push to: that fails, and says why.
	saved, _, err = a.SaveAll(t.Context(), "demo", false, nil)
	if err == nil || hint.Of(err) == "" || len(saved) != 1 || !strings.Contains(saved[0].Error, "has no remote") {
		t.Errorf("pushed: %+v, %v", saved, err)
	}

	inTheGuest(t, d.Home("demo"), "echo x >workspace/note")
	must(a.Stop(t.Context(), "demo", nil))
	if r := look(); r.Live || !r.AtRisk || r.Doubt != "" || !cmp.Equal(r.Lines, []string{found, "in no repository: workspace/note"}) {
		t.Errorf("stopped: %+v", r)
	}
	must(github.Forget(a.Home.WorkspaceDir("demo")))
	if r := look(); !r.AtRisk || !r.Found.IsZero() || !strings.Contains(r.Doubt, "never looked through") {
		t.Errorf("forgotten: %+v", r)
	}
	if _, err := a.AtRisk(t.Context(), "nowhere"); err == nil {
		t.Error("a workspace that is not there has nothing at risk")
	}
}

func TestErrAtRisk(t *testing.T) {
	if !errors.Is(ErrAtRisk, ErrDeclined) || errors.Is(ErrDeclined, ErrAtRisk) {
		t.Error("work at risk is a refusal")
	}
}

// What a rescue does not save is told.
func TestRemaining(t *testing.T) {
	s := github.Survey{
		Repos: []github.Repo{
			{Path: "workspace/whole", Stashes: 1},
			{Path: "workspace/secret", Stashes: 1},
			{Path: "workspace/broken", Stashes: 1, Problems: []string{"bad object"}},
			{Path: "workspace/later", Stashes: 2},
			{Path: "workspace/clean"},
		},
		Loose: []string{"workspace/note"}, Unknown: true, Reasons: []string{"not every directory could be looked into"},
	}
	saved := func(repo string, left ...string) Saved {
		return Saved{Rescued: github.Rescued{Repo: repo, LeftOut: github.Files{Count: len(left), Names: left}}}
	}
	got := remaining(s, []Saved{saved("workspace/whole"), saved("workspace/secret", ".env", "a.pem"), saved("workspace/broken")})
	want := []string{
		"workspace/secret: 2 files were not saved, such as .env", "workspace/broken: unreadable: bad object", "later: 2 stashes",
		"in no repository: workspace/note", "unknown: not every directory could be looked into",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
