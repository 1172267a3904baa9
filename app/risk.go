package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/vm"
)

// RiskReport is what would be lost with a workspace's guest, as far as it is known.
type RiskReport struct {
	Workspace string `json:"workspace"`
	AtRisk    bool   `json:"at_risk"`
	// Live: the guest was looked through just now, and can save its work. Otherwise it is what was found last.
	Live bool `json:"live"`
	// Running: the machine runs, whether its guest answers or not.
	Running bool `json:"running"`
	// Found is when the guest was looked through; zero if it never was.
	Found time.Time `json:"found,omitzero"`
	// Doubt says in a sentence why more may be at risk than Lines tell; empty: they are all.
	Doubt  string        `json:"doubt,omitempty"`
	Lines  []string      `json:"lines"` // for people, one per repository; safe to print
	Survey github.Survey `json:"survey"`
}

// patience bounds the attempt to reach a guest that runs; on a busy host, an emulated one is slow to answer.
func (a *App) patience() time.Duration {
	if a.Driver.Info().Capabilities.Emulated {
		return time.Minute
	}
	return askTime
}

// RiskLines is how many lines of a report a person is shown in a terminal.
const RiskLines = 20

// ErrAtRisk is returned where work would be lost and nobody has agreed to that. It is an ErrDeclined.
var ErrAtRisk error = refusal("work in it is at risk")

// refusal is an ErrDeclined in other words.
type refusal string

func (e refusal) Error() string { return string(e) }

func (e refusal) Is(target error) bool { return target == ErrDeclined }

// Text tells a person what is at risk: so many lines at most, then why it may be more.
func (r RiskReport) Text(most int) []string {
	lines := github.Capped(r.Survey.Losses(), most)
	if r.Doubt != "" {
		lines = append(lines[:len(lines):len(lines)], r.Doubt)
	}
	return lines
}

// CanPush tells whether a repository with work at risk has a remote outside the guest that can save it.
func (r RiskReport) CanPush() bool {
	return r.Live && slices.ContainsFunc(r.Survey.AtRiskRepos(), func(x github.Repo) bool {
		return slices.ContainsFunc(x.Remotes, func(m github.Remote) bool { return !m.Local })
	})
}

// CanBundle tells whether there is a repository with work at risk, in a guest that can save it.
func (r RiskReport) CanBundle() bool { return r.Live && len(r.Survey.AtRiskRepos()) > 0 }

// How long a guest may be looked through: when somebody wants to know, when somebody waits to have it discarded, and when
// it is about to end. An emulated one starts ten processes a second.
func (a *App) surveyOptions() github.SurveyOptions { return a.lookFor(time.Minute, 10*time.Minute) }

func (a *App) quickLook() github.SurveyOptions { return a.lookFor(20*time.Second, 2*time.Minute) }

func (a *App) lastLook() github.SurveyOptions { return a.lookFor(10*time.Second, 30*time.Second) }

func (a *App) lookFor(real, emulated time.Duration) github.SurveyOptions {
	if a.Driver.Info().Capabilities.Emulated {
		return github.SurveyOptions{Timeout: emulated}
	}
	return github.SurveyOptions{Timeout: real}
}

// lookThrough surveys a guest and keeps what it finds for when the guest does not run.
func (a *App) lookThrough(
	ctx context.Context, c github.Guest, w *config.Workspace, o github.SurveyOptions,
) (github.Survey, error) {
	s, err := github.LookThrough(ctx, c, o)
	if err != nil {
		return s, err
	}
	return s, github.Save(a.Home.WorkspaceDir(w.Name), s)
}

// SurveyBeforeEnd looks through a guest that is about to be stopped or suspended, or whose session has ended, and keeps
// what it finds. It takes seconds, and no more than half of what is left until ctx's deadline: what it could not find out
// counts as work at risk later, and holds nothing up now.
func (a *App) SurveyBeforeEnd(ctx context.Context, c *guest.Client, w *config.Workspace) {
	o := a.lastLook()
	if end, ok := ctx.Deadline(); ok {
		o.Timeout = max(min(o.Timeout, time.Until(end)/2), time.Millisecond)
	}
	if _, err := a.lookThrough(ctx, c, w, o); err != nil {
		a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("looking for work at risk before the end")
	}
}

// AtRisk finds out what would be lost with a workspace's guest, for somebody who waits: by looking through it if it runs
// and answers, and otherwise from what was found last. What is too old or unknown is at risk. The error is that of the
// workspace or of ctx, and never just that the guest could not be asked.
func (a *App) AtRisk(ctx context.Context, name string) (RiskReport, error) {
	return a.atRisk(ctx, name, a.quickLook())
}

// Risk is AtRisk with all the time a guest may need.
func (a *App) Risk(ctx context.Context, name string) (RiskReport, error) {
	return a.atRisk(ctx, name, a.surveyOptions())
}

func (a *App) atRisk(ctx context.Context, name string, o github.SurveyOptions) (RiskReport, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return RiskReport{}, err
	}
	askCtx, cancel := context.WithTimeout(ctx, a.patience())
	c, err := a.Connect(askCtx, w)
	cancel()
	if err == nil {
		defer func() { _ = c.Close() }()
		var s github.Survey
		if s, err = a.lookThrough(ctx, c, w, o); err == nil {
			r := a.report(w, s)
			r.Live, r.Running = true, true
			return r, nil
		}
	}
	if ctx.Err() != nil {
		return RiskReport{}, err
	}
	return a.lastRisk(w, err)
}

// LastRisk is what is known without asking the guest.
func (a *App) LastRisk(ctx context.Context, name string) (RiskReport, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return RiskReport{}, err
	}
	m, err := a.Driver.Machine(ctx, w.Name)
	if err == nil && !m.Running {
		err = vm.ErrNotRunning
	}
	return a.lastRisk(w, err)
}

// lastRisk reports what was found last. why is why the guest cannot be asked: nil if it runs, and was not.
func (a *App) lastRisk(w *config.Workspace, why error) (RiskReport, error) {
	if errors.Is(why, vm.ErrNotFound) {
		return a.report(w, github.Survey{}), nil // there is no machine that could hold anything
	}
	kept, err := github.Load(a.Home.WorkspaceDir(w.Name))
	if err != nil {
		a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("reading what was found at risk")
	}
	s := kept.Survey
	var doubt string
	switch {
	case why == nil:
		doubt = "it runs"
	case !errors.Is(why, vm.ErrNotRunning):
		doubt = "it cannot be asked: " + why.Error()
	default:
		events, err := a.Journal.Events()
		if err != nil {
			return RiskReport{}, err
		}
		var never bool
		if doubt, never = ranOn(events, w.Name, s.Time); never {
			return a.report(w, github.Survey{}), nil
		}
	}
	if doubt != "" {
		s = kept.Stale(doubt)
	}
	r := a.report(w, s)
	r.Running = !errors.Is(why, vm.ErrNotRunning)
	return r, nil
}

// report makes a report of a survey.
func (a *App) report(w *config.Workspace, s github.Survey) RiskReport {
	r := RiskReport{Workspace: w.Name, AtRisk: s.AtRisk(), Found: s.Time, Lines: s.Lines(), Survey: s}
	if r.Lines == nil {
		r.Lines = []string{}
	}
	if !s.Unknown {
		return r
	}
	reasons := make([]string, 0, len(s.Reasons))
	for _, x := range s.Reasons {
		reasons = append(reasons, github.Clean(x, 200))
	}
	why := strings.Join(github.Capped(reasons, 3), "; ")
	switch {
	case s.Time.IsZero():
		r.Doubt = fmt.Sprintf("Whether it is all that is at risk in %s is unknown: %s.", w.Name, why)
	default:
		r.Doubt = fmt.Sprintf("More may be at risk in %s than was found %s: %s.", w.Name,
			humanize.RelTime(s.Time, time.Now(), "ago", "from now"), why)
	}
	return r
}
