package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// Preview tells what a rollback to a snapshot would undo.
func (s *sessionActions) Preview(ctx context.Context, id string, columns int) ([]string, error) {
	c, _ := s.current()
	p, err := s.previewOver(ctx, c, s.w.Name, id)
	if err != nil {
		return nil, err
	}
	return p.Lines(columns), nil
}

// RollbackRisk tells what would be lost with the guest's disk.
func (s *sessionActions) RollbackRisk(ctx context.Context) (session.Risk, error) {
	c, _ := s.current()
	survey, err := s.lookThrough(ctx, c, s.w, s.quickLook())
	if err != nil {
		return session.Risk{}, err
	}
	unknown := strings.Join(github.Capped(survey.Reasons, 3), "; ")
	return session.Risk{Lines: github.Capped(survey.Losses(), RiskLines), Unknown: unknown}, nil
}

func (s *sessionActions) Repositories(ctx context.Context) ([]session.Repository, error) {
	c, _ := s.current()
	list, err := github.Repositories(ctx, c)
	if err != nil {
		return nil, err
	}
	repos := make([]session.Repository, 0, len(list))
	for _, r := range list {
		repos = append(repos, session.Repository{
			Name: r.Name, Branch: r.Branch, Summary: summary(r),
			Dirty: r.Changed+r.Untracked > 0, Unpushed: r.Ahead > 0 || r.Head != "" && r.Upstream == "",
		})
	}
	return repos, nil
}

// summary is a repository in a few words.
func summary(r github.Status) string {
	if r.Problem != "" {
		return r.Problem
	}
	var parts []string
	if n := r.Changed + r.Untracked; n > 0 {
		parts = append(parts, english.Plural(n, "file", "")+" changed")
	}
	switch {
	case r.Ahead > 0:
		parts = append(parts, english.Plural(r.Ahead, "commit", "")+" not pushed")
	case r.Head != "" && r.Upstream == "":
		parts = append(parts, "branch not pushed")
	}
	if len(parts) == 0 {
		return "nothing to commit or push"
	}
	return strings.Join(parts, ", ")
}

func (s *sessionActions) Diff(ctx context.Context, repo string) (string, error) {
	c, _ := s.current()
	d, err := github.Changes(ctx, c, repo)
	if err != nil {
		return "", err
	}
	text := english.Plural(d.Count, "file", "") + ":\n" + strings.Join(d.Files, "\n") + "\n\n" + d.Text
	if d.Truncated {
		text += "\n(too long to show whole)\n"
	}
	return text, nil
}

func (s *sessionActions) Commit(ctx context.Context, repo, message string, _ vm.Progress) (string, error) {
	c, _ := s.current()
	done, err := github.Commit(ctx, c, repo, message, s.w.GitHub.BranchPrefix, time.Now())
	if err != nil {
		return "", err
	}
	said := fmt.Sprintf("Committed %s to %s of %s", english.Plural(done.Files, "file", ""), done.Branch, repo)
	if done.NewBranch {
		said += ", a new branch since the default one is not committed to"
	}
	return said, nil
}

func (s *sessionActions) Push(ctx context.Context, repo string, _ vm.Progress) (string, error) {
	c, _ := s.current()
	p, err := github.Push(ctx, c, repo)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Pushed %s of %s to %s", p.Branch, repo, p.Remote), nil
}

// PullRequest pushes the branch first: a request for what only the guest has would be one for something else.
func (s *sessionActions) PullRequest(ctx context.Context, repo, title string, report vm.Progress) (string, error) {
	report.Report(vm.Phase{Name: "pushing " + repo})
	if _, err := s.Push(ctx, repo, nil); err != nil {
		return "", err
	}
	c, _ := s.current()
	report.Report(vm.Phase{Name: "opening it"})
	p, err := github.PullRequest(ctx, c, repo, github.PullOptions{Title: strings.TrimSpace(title)})
	if err != nil {
		return "", err
	}
	if s.desk == nil {
		return p.URL, nil
	}
	if err := s.desk.CopyText(ctx, p.URL); err != nil {
		s.Log.Warn().Err(err).Msg("copying a pull request's address")
		return p.URL, nil
	}
	return p.URL + " (copied)", nil
}
