package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/session"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
)

// Saved is what became of one repository that was to be saved.
type Saved struct {
	github.Rescued
	Path  string `json:"path,omitempty"` // of the bundle on this machine
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// Save saves every repository with work at risk, or the one of that path: pushed to a rescue branch, or (bundle) as a file
// that has landed in the output folder. Each was verified where it now is. One that fails does not keep the others from
// being saved; the error then says so.
func (a *App) Save(ctx context.Context, name, path string, bundle bool, p vm.Progress) ([]Saved, error) {
	all, _, err := a.save(ctx, name, path, bundle, p)
	return all, err
}

// SaveAll saves every repository with work at risk before the guest's state is discarded. What it cannot save is in
// remains, a line each: secrets where it pushes, files in no repository, what is unknown. An error means that nothing
// may be discarded.
func (a *App) SaveAll(ctx context.Context, name string, bundle bool, p vm.Progress) (all []Saved, remains []string, err error) {
	all, survey, err := a.save(ctx, name, "", bundle, p)
	if err != nil {
		return all, nil, err
	}
	return all, remaining(survey, all), nil
}

func (a *App) save(
	ctx context.Context, name, path string, bundle bool, p vm.Progress,
) (all []Saved, survey github.Survey, err error) {
	failed := 0
	err = a.inGuest(ctx, name, func(c *guest.Client, w *config.Workspace) error {
		p.Report(vm.Phase{Name: "looking for work at risk"})
		if survey, err = a.lookThrough(ctx, c, w, a.surveyOptions()); err != nil {
			return err
		}
		for _, r := range survey.Repos {
			if path == "" && !r.AtRisk() || path != "" && r.Path != path && r.Path != "workspace/"+path {
				continue
			}
			p.Report(vm.Phase{Name: "saving " + session.Printable(r.Path)})
			// No two of them at the same time: the branch and the file are named by it, to the second.
			s, err := a.saveOne(ctx, c, w, survey.Home, r, bundle, time.Now().Add(time.Duration(len(all))*time.Second))
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				failed++
				s.Error, s.Hint = err.Error(), hint.Of(err)
			} else if err := a.note(w, "rescued %s to %s", r.Path, s.Branch); err != nil {
				return err
			}
			all = append(all, s)
		}
		if path != "" && len(all) == 0 {
			return hint.Wrap(fmt.Errorf("%w: %q", github.ErrNoRepository, path), "See: CALMenu risk "+w.Name)
		}
		return nil
	})
	if err == nil && failed > 0 {
		err = hint.Wrap(fmt.Errorf("%d of %d repositories could not be saved", failed, len(all)),
			"CALMenu shell opens a shell in the guest to look.")
	}
	return all, survey, err
}

func (a *App) saveOne(
	ctx context.Context, c *guest.Client, w *config.Workspace, home string, r github.Repo, bundle bool, now time.Time,
) (s Saved, err error) {
	if bundle {
		s.Rescued, err = github.Bundle(ctx, c, home, r, w.GitHub.BranchPrefix, now)
	} else {
		s.Rescued, err = github.Rescue(ctx, c, home, r, w.GitHub.BranchPrefix, now)
	}
	s.Repo = r.Path
	if err == nil && bundle {
		s.Path, err = a.land(ctx, w, s.Rescued)
	}
	return s, err
}

const (
	landTries = 10
	landEvery = time.Second
)

// land brings a bundle in by the outbox, whose limits hold, and checks that it is what was made. Whoever else looks after
// the outbox may be first.
func (a *App) land(ctx context.Context, w *config.Workspace, r github.Rescued) (string, error) {
	for range landTries {
		report, err := a.syncOnce(ctx, w, nil)
		if err != nil {
			return "", err
		}
		landed, err := outbox.ReadManifest(a.outboxState(w.Name))
		if err != nil {
			return "", err
		}
		if i := slices.IndexFunc(landed, func(x outbox.Artifact) bool { return x.Name == r.Bundle }); i >= 0 {
			if err := a.flushOutbox(ctx, w); err != nil {
				return "", err
			}
			if landed[i].SHA256 != r.SHA256 {
				return "", fmt.Errorf("what landed as %s is not what was bundled", session.Printable(landed[i].Path))
			}
			return landed[i].Path, github.CheckBundle(landed[i].Path, r)
		}
		for _, x := range report.Refused {
			if x.Name == r.Bundle {
				return "", hint.Wrap(fmt.Errorf("the outbox refuses %s: %s", x.Name, x.Reason),
					"outbox.max_file and its neighbours in vm.yaml are the limits.")
			}
		}
		select {
		case <-time.After(landEvery):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return "", errors.New("the bundle does not land: it is in the guest's ~/output")
}

// remaining tells what is still at risk once repositories were saved.
func remaining(s github.Survey, all []Saved) []string {
	var lines []string
	saved := map[string]Saved{}
	for _, x := range all {
		saved[x.Repo] = x
	}
	rest := s
	rest.Repos = nil
	for _, r := range s.Repos {
		x, ok := saved[r.Path]
		if !ok {
			rest.Repos = append(rest.Repos, r)
			continue
		}
		title := session.Printable(r.Path)
		for _, l := range r.Unsaved() {
			lines = append(lines, title+": "+l)
		}
		if n := x.LeftOut.Count; n > 0 {
			lines = append(lines, fmt.Sprintf("%s: %s not saved, such as %s", title, english.Plural(n, "file was", "files were"),
				session.Printable(x.LeftOut.Names[0])))
		}
	}
	return append(lines, rest.Lines()...)
}
