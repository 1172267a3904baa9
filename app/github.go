package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
)

// inGuest runs f over a connection into a workspace's running guest.
func (a *App) inGuest(ctx context.Context, name string, f func(c *guest.Client, w *config.Workspace) error) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return f(c, w)
}

// note journals what was done in a guest.
func (a *App) note(w *config.Workspace, format string, args ...any) error {
	return a.Journal.Append(journal.Event{
		Kind: journal.Notice, Workspace: w.Name, Detail: session.Printable(fmt.Sprintf(format, args...)),
	})
}

// Repositories lists the repositories in a workspace's ~/workspace.
func (a *App) Repositories(ctx context.Context, name string) (list []github.Status, err error) {
	err = a.inGuest(ctx, name, func(c *guest.Client, _ *config.Workspace) error {
		list, err = github.Repositories(ctx, c)
		return err
	})
	return list, err
}

// Diff shows what a commit in a repository would take; an empty name means the only one there is.
func (a *App) Diff(ctx context.Context, name, repo string) (d github.Diff, err error) {
	err = a.inGuest(ctx, name, func(c *guest.Client, _ *config.Workspace) error {
		s, err := github.One(ctx, c, repo)
		if err != nil {
			return err
		}
		d, err = github.Changes(ctx, c, s.Name)
		return err
	})
	return d, err
}

// CommitResult is a commit, and what was done with it by the workspace's settings.
type CommitResult struct {
	github.Committed
	Pushed *github.Pushed `json:"pushed,omitempty"`
	Pull   *github.Pull   `json:"pull,omitempty"`
}

// Commit commits everything in a repository, never on its default branch. It is pushed as well if push is set or the
// workspace's settings say so, and then a pull request is opened if they say so.
func (a *App) Commit(ctx context.Context, name, repo, message string, push bool) (r CommitResult, err error) {
	err = a.inGuest(ctx, name, func(c *guest.Client, w *config.Workspace) error {
		if r.Committed, err = github.Commit(ctx, c, repo, message, w.GitHub.BranchPrefix, time.Now()); err != nil {
			return err
		}
		if err := a.note(w, "committed to %s in %s", r.Branch, r.Repo); err != nil {
			return err
		}
		if !push && !w.GitHub.AutoPush {
			return nil
		}
		pushed, err := a.push(ctx, c, w, r.Repo)
		if err != nil {
			return err
		}
		r.Pushed = &pushed
		if !w.GitHub.CreatePR {
			return nil
		}
		pull, err := a.pullRequest(ctx, c, w, r.Repo, github.PullOptions{})
		if err != nil {
			return err
		}
		r.Pull = &pull
		return nil
	})
	return r, err
}

func (a *App) push(ctx context.Context, c github.Guest, w *config.Workspace, repo string) (github.Pushed, error) {
	p, err := github.Push(ctx, c, repo)
	if err != nil {
		return p, err
	}
	return p, a.note(w, "pushed %s of %s to %s", p.Branch, p.Repo, p.Remote)
}

func (a *App) pullRequest(
	ctx context.Context, c github.Guest, w *config.Workspace, repo string, o github.PullOptions,
) (github.Pull, error) {
	p, err := github.PullRequest(ctx, c, repo, o)
	if err != nil {
		return p, err
	}
	return p, a.note(w, "pull request %s", p.URL)
}

// Push pushes a repository's branch, never its default one.
func (a *App) Push(ctx context.Context, name, repo string) (r github.Pushed, err error) {
	err = a.inGuest(ctx, name, func(c *guest.Client, w *config.Workspace) error {
		r, err = a.push(ctx, c, w, repo)
		return err
	})
	return r, err
}

// PullRequest pushes a repository's branch and opens a pull request for it.
func (a *App) PullRequest(ctx context.Context, name, repo string, o github.PullOptions) (r github.Pull, err error) {
	err = a.inGuest(ctx, name, func(c *guest.Client, w *config.Workspace) error {
		r, err = a.pullRequest(ctx, c, w, repo, o)
		return err
	})
	return r, err
}

// Clone clones a repository into a workspace's ~/workspace and makes a branch there for the agent.
func (a *App) Clone(ctx context.Context, name, source string, o github.CloneOptions) (r github.Cloned, err error) {
	if _, err := github.ParseSource(source); err != nil {
		return r, err
	}
	err = a.inGuest(ctx, name, func(c *guest.Client, w *config.Workspace) error {
		if o.Prefix == "" {
			o.Prefix = w.GitHub.BranchPrefix
		}
		if r, err = github.Clone(ctx, c, source, o, time.Now()); err != nil {
			return err
		}
		return a.note(w, "cloned %s", r.Repo)
	})
	return r, err
}

// GitHubSignIn signs a workspace's guest in to GitHub with a token, which is neither kept nor logged here.
func (a *App) GitHubSignIn(ctx context.Context, name string, token io.Reader, force bool) (r github.Account, err error) {
	err = a.inGuest(ctx, name, func(c *guest.Client, w *config.Workspace) error {
		if r, err = github.SignIn(ctx, c, token, force); err != nil {
			return err
		}
		return a.note(w, "signed in to GitHub")
	})
	return r, err
}

// GitHubAccount tells whether a workspace's guest is signed in to GitHub.
func (a *App) GitHubAccount(ctx context.Context, name string) (r github.Account, err error) {
	err = a.inGuest(ctx, name, func(c *guest.Client, _ *config.Workspace) error {
		r, err = github.SignedIn(ctx, c)
		return err
	})
	return r, err
}

// GitHubSignOut has a workspace's guest forget its GitHub token.
func (a *App) GitHubSignOut(ctx context.Context, name string) error {
	return a.inGuest(ctx, name, func(c *guest.Client, w *config.Workspace) error {
		if err := github.SignOut(ctx, c); err != nil {
			return err
		}
		return a.note(w, "signed out of GitHub")
	})
}
