package bar

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/hint"
)

// gitHub is what the menu does with the repositories of a guest; *app.App is one.
type gitHub interface {
	Repositories(ctx context.Context, name string) ([]github.Status, error)
	Commit(ctx context.Context, name, repo, message string, push bool) (app.CommitResult, error)
	GitHubSignIn(ctx context.Context, name string, token io.Reader, force bool) (github.Account, error)
}

// commit asks for a message, and for the repository where several have changes, and commits and pushes them.
func (b *Agent) commit(ctx context.Context, name string) error {
	all, err := b.github.Repositories(ctx, name)
	if err != nil {
		return err
	}
	var changed []github.Status
	var choices []string
	for _, s := range all {
		if n := s.Changed + s.Untracked; n > 0 && s.Problem == "" {
			changed = append(changed, s)
			choices = append(choices, fmt.Sprintf("%s (%s, %d changed)", s.Name, s.Branch, n))
		}
	}
	repo := 0
	switch len(changed) {
	case 0:
		return hint.Errorf("An agent's changes are below ~/workspace in the VM.", "committing in %q: nothing has changed", name)
	case 1:
	default:
		ans, err := b.ask(ctx, desktop.Question{
			Kind: desktop.List, Title: "Commit in " + name, Text: "Which repository?", Choices: choices,
		})
		if err != nil {
			return err
		}
		repo = ans.Choice
	}
	ans, err := b.ask(ctx, desktop.Question{Kind: desktop.Text, Title: "Commit and push", Text: "Message for " + choices[repo]})
	if err != nil {
		return err
	}
	message := strings.TrimSpace(ans.Text)
	if message == "" {
		return hint.Errorf("Say in a line what was changed.", "committing in %s: there is no message", changed[repo].Name)
	}
	r, err := b.github.Commit(ctx, name, changed[repo].Name, message, true)
	if err != nil {
		return err
	}
	n := desktop.Notification{Title: "Committed and pushed", Body: fmt.Sprintf("%s: %s", r.Repo, r.Branch)}
	if r.Pull != nil {
		n.OnClick = func() { b.Do(menu.Action{Verb: menu.OpenPage, Workspace: name, Arg: r.Pull.URL}) }
	}
	b.notify(n)
	return nil
}

// signIn asks for a token and hands it to the guest; it is kept nowhere on this side.
func (b *Agent) signIn(ctx context.Context, name string) error {
	ans, err := b.ask(ctx, desktop.Question{
		Kind: desktop.Password, Title: "Sign in to GitHub in " + name,
		Text: "A fine-grained personal access token for the repositories that agents are to reach:",
	})
	if err != nil {
		return err
	}
	token := strings.TrimSpace(ans.Text)
	if token == "" {
		return app.ErrDeclined
	}
	account, err := b.github.GitHubSignIn(ctx, name, strings.NewReader(token), false)
	if err != nil {
		return err
	}
	b.notify(desktop.Notification{Title: "Signed in to GitHub", Body: fmt.Sprintf("%s: %s", name, account.User)})
	return nil
}
