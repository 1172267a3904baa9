package bar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// guestRisk is a guest with work at risk that records what is saved of it.
type guestRisk struct {
	report  app.RiskReport
	remains []string
	fails   error
	saved   []string
}

func (g *guestRisk) AtRisk(context.Context, string) (app.RiskReport, error) { return g.report, nil }

func (g *guestRisk) SaveAll(_ context.Context, _ string, bundle bool, _ vm.Progress) ([]app.Saved, []string, error) {
	how := "push"
	if bundle {
		how = "bundle"
	}
	g.saved = append(g.saved, how)
	s := app.Saved{Rescued: github.Rescued{Repo: "workspace/app", Branch: "agent/rescue-1", Remote: "origin"}}
	return []app.Saved{s}, g.remains, g.fails
}

// A rollback and a delete ask about the work at risk first, and save it where that is chosen.
func TestDiscardAsksAboutWork(t *testing.T) {
	survey := github.Survey{Repos: []github.Repo{{
		Path: "workspace/app", Stashes: 1, Remotes: []github.Remote{{Name: "origin", URL: "https://git.example/app"}},
	}}}
	work := app.RiskReport{AtRisk: true, Live: true, Survey: survey}
	alone := work
	alone.Survey.Repos = []github.Repo{{Path: "workspace/app", Stashes: 1}}
	stopped := app.RiskReport{AtRisk: true, Survey: survey, Doubt: "It ran on after that."}
	failure := errors.New("no network")
	for _, tt := range []struct {
		name    string
		verb    string
		guest   guestRisk
		answers []desktop.Answer
		asked   [][]string // buttons
		says    string     // in the last question
		saved   []string
		done    bool
	}{
		{"nothing at risk", menu.Rollback, guestRisk{}, []desktop.Answer{{}}, [][]string{{"Roll Back"}}, "Undo brings it back", nil, true},
		{"go on", menu.Rollback, guestRisk{report: work}, []desktop.Answer{{}}, [][]string{{"Roll Back", bundleFirst, pushFirst}}, "app: 1 stash", nil, true},
		{"declined", menu.Rollback, guestRisk{report: work}, []desktop.Answer{{Cancelled: true}}, [][]string{{"Roll Back", bundleFirst, pushFirst}}, "", nil, false},
		{"pushed", menu.Rollback, guestRisk{report: work}, []desktop.Answer{{Button: 2}}, [][]string{{"Roll Back", bundleFirst, pushFirst}}, "", []string{"push"}, true},
		{"the push fails", menu.Rollback, guestRisk{report: work, fails: failure}, []desktop.Answer{{Button: 2}}, [][]string{{"Roll Back", bundleFirst, pushFirst}}, "", []string{"push"}, false},
		{"no remote", menu.Rollback, guestRisk{report: alone}, []desktop.Answer{{Button: 1}}, [][]string{{"Roll Back", bundleFirst}}, "", []string{"bundle"}, true},
		{"stopped", menu.Delete, guestRisk{report: stopped}, []desktop.Answer{{}}, [][]string{{"Delete"}}, "It ran on after that.", nil, true},
		{"bundled, all of it", menu.Delete, guestRisk{report: work}, []desktop.Answer{{}}, [][]string{{bundleFirst, pushFirst, "Delete"}}, "", []string{"bundle"}, true},
		{
			"pushed, not all of it", menu.Delete,
			guestRisk{report: work, remains: []string{"app: 1 file was not saved"}},
			[]desktop.Answer{{Button: 1}, {Button: 0}, {Cancelled: true}},
			[][]string{{bundleFirst, pushFirst, "Delete"}, {bundleFirst, "Delete"}, {"Delete"}},
			"This could not be saved:\napp: 1 file was not saved",
			[]string{"push", "bundle"},
			false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, desk, a := working(t)
			b.risks = &tt.guest
			if _, err := a.TakeSnapshot(t.Context(), "demo", snapshot.Snapshot{Name: "one"}, nil); err != nil {
				t.Fatal(err)
			}
			if tt.verb == menu.Rollback {
				// What a rollback would undo is another test's matter: the double's guest is this host, and all of its disk
				// would be searched.
				a.Driver.(*vmtest.Memory).Fail("DialSSH", vm.ErrUnsupported)
			}
			answers := tt.answers
			desk.Answer = func(desktop.Question) (desktop.Answer, error) {
				next := answers[0]
				answers = answers[1:]
				return next, nil
			}
			err := b.act(t.Context(), menu.Action{Verb: tt.verb, Workspace: "demo", Arg: "one"})
			if (err == nil) != tt.done {
				t.Errorf("ended with %v", err)
			}
			var asked [][]string
			questions := desk.Calls().Questions
			for _, q := range questions {
				asked = append(asked, q.Buttons)
			}
			if d := cmp.Diff(tt.asked, asked); d != "" {
				t.Errorf("asked (-want +got):\n%s", d)
			}
			if last := questions[len(questions)-1]; !strings.Contains(last.Text, tt.says) {
				t.Errorf("%q is not in %q", tt.says, last.Text)
			}
			if !slices.Equal(tt.saved, tt.guest.saved) {
				t.Errorf("saved %q, want %q", tt.guest.saved, tt.saved)
			}
			_, werr := a.Workspace("demo")
			list, _ := a.Snapshots(t.Context(), "demo")
			changed := werr != nil || slices.ContainsFunc(list, func(s snapshot.Snapshot) bool { return s.Kind == snapshot.Undo })
			if changed != tt.done {
				t.Errorf("discarded: %v", changed)
			}
		})
	}
}
