package bar

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/hint"
)

// repositories is a guest's GitHub that records.
type repositories struct {
	list  []github.Status
	calls []string
}

func (r *repositories) Repositories(context.Context, string) ([]github.Status, error) {
	return r.list, nil
}

func (r *repositories) Commit(_ context.Context, name, repo, message string, push bool) (app.CommitResult, error) {
	if !push {
		return app.CommitResult{}, errors.New("not pushed")
	}
	r.calls = append(r.calls, "commit "+name+"/"+repo+": "+message)
	return app.CommitResult{Committed: github.Committed{Repo: repo, Branch: "cal/work"}}, nil
}

func (r *repositories) GitHubSignIn(_ context.Context, name string, token io.Reader, _ bool) (github.Account, error) {
	b, err := io.ReadAll(token)
	r.calls = append(r.calls, "sign in "+name+" with "+string(b))
	return github.Account{SignedIn: true, User: "octocat"}, err
}

func TestGitHubFromTheMenu(t *testing.T) {
	b, desk, _ := working(t)
	clean, one, two := github.Status{Name: "clean"}, github.Status{Name: "one", Branch: "main", Changed: 2}, github.Status{Name: "two", Untracked: 1}
	broken := github.Status{Name: "broken", Changed: 1, Problem: "no repository"}
	commit, signIn := menu.Action{Verb: menu.Commit, Workspace: "demo"}, menu.Action{Verb: menu.SignIn, Workspace: "demo"}
	for _, tt := range []struct {
		name    string
		list    []github.Status
		do      menu.Action
		answers []desktop.Answer
		asked   []desktop.QuestionKind
		calls   []string
		fails   string // part of the error; "" for none
	}{
		{"one has changes", []github.Status{clean, one, broken}, commit, []desktop.Answer{{Text: " Fix it\n\nAt last. \n"}}, []desktop.QuestionKind{desktop.Text}, []string{"commit demo/one: Fix it\n\nAt last."}, ""},
		{"several do", []github.Status{one, two}, commit, []desktop.Answer{{Choice: 1}, {Text: "more"}}, []desktop.QuestionKind{desktop.List, desktop.Text}, []string{"commit demo/two: more"}, ""},
		{"none does", []github.Status{clean, broken}, commit, nil, nil, nil, "nothing has changed"},
		{"no message", []github.Status{one}, commit, []desktop.Answer{{Text: " \n"}}, []desktop.QuestionKind{desktop.Text}, nil, "there is no message"},
		{"refused", []github.Status{one}, commit, []desktop.Answer{{Cancelled: true}}, []desktop.QuestionKind{desktop.Text}, nil, app.ErrDeclined.Error()},
		{"a token", nil, signIn, []desktop.Answer{{Text: " github_pat_x\n"}}, []desktop.QuestionKind{desktop.Password}, []string{"sign in demo with github_pat_x"}, ""},
		{"no token", nil, signIn, []desktop.Answer{{}}, []desktop.QuestionKind{desktop.Password}, nil, app.ErrDeclined.Error()},
	} {
		fake := &repositories{list: tt.list}
		b.github = fake
		desk.Script(tt.answers...)
		before := desk.Calls()
		err := b.act(t.Context(), tt.do)
		if (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && !errors.Is(err, app.ErrDeclined) && hint.Of(err) == "" {
			t.Errorf("%s: no hint", tt.name)
		}
		if !slices.Equal(fake.calls, tt.calls) {
			t.Errorf("%s: called %q, want %q", tt.name, fake.calls, tt.calls)
		}
		after := desk.Calls()
		var asked []desktop.QuestionKind
		for _, q := range after.Questions[len(before.Questions):] {
			asked = append(asked, q.Kind)
		}
		if !slices.Equal(asked, tt.asked) {
			t.Errorf("%s: asked %v, want %v", tt.name, asked, tt.asked)
		}
		if told := len(after.Notifications) - len(before.Notifications); (told == 1) != (tt.calls != nil) {
			t.Errorf("%s: told %d times", tt.name, told)
		}
	}
}
