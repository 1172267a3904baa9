package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/provision"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/internal/vm"
)

// provisioner sets a workspace's guest up with the steps of the given stages that apply to it, and to an agent if its
// session begins.
func (a *App) provisioner(
	ctx context.Context, w *config.Workspace, shell provision.Shell, agentID string, stages ...string,
) (*provision.Runner, error) {
	all, err := provision.Load()
	if err != nil {
		return nil, err
	}
	id, err := guest.EnsureIdentity(a.identityDir(w.Name))
	if err != nil {
		return nil, err
	}
	caps := a.Driver.Info().Capabilities
	g := provision.Guest{OS: caps.GuestOS, Agent: agentID}
	vars := provision.StockVars(caps.Password)
	if caps.Password != "" {
		g.Facts = append(g.Facts, provision.StockPassword)
	}
	if a.sharedOutbox(w) != "" {
		g.Facts = append(g.Facts, provision.Share)
	}
	if w.Network.Transparent != "off" {
		g.Facts = append(g.Facts, provision.Transparent)
	}
	vars["authorized_key"] = strings.TrimSpace(string(id.AuthorizedKey()))
	vars["vm_info"] = strings.TrimSpace(string(a.vmInfo(w)))
	vars["timezone"] = hostTimezone("/etc/localtime")
	vars["share_tag"] = vm.OutboxTag
	if vars["proxy_commands"], err = provision.ProxyCommands(); err != nil {
		return nil, err
	}
	bundle, installed, err := a.caBundle(w)
	if err != nil {
		return nil, err
	}
	if installed {
		g.Facts = append(g.Facts, provision.CAFile)
	}
	vars["ca_hash"] = bundle.hash
	return &provision.Runner{
		Shell: shell, Steps: all.For(g, stages...), Vars: vars, Slow: caps.Emulated,
		Input: func(i provision.Input) ([]byte, error) {
			if i == provision.CABundle {
				return bundle.pem, nil
			}
			password, err := a.guestPassword(ctx, w.Name)
			if err != nil {
				return nil, err
			}
			return provision.PasswordInput(password), nil
		},
	}, nil
}

// provision sets a running guest up, and tells whether something was missing that a guest cannot do without. Steps that can
// wait, or that it can do without, are no error, and nothing that isolation is proven by. Nothing is done until before has
// returned.
func (a *App) provision(
	ctx context.Context, w *config.Workspace, c provision.Shell, before func() error, report vm.Progress,
) (changed bool, err error) {
	r, err := a.provisioner(ctx, w, c, "", provision.First, provision.Boot)
	if err != nil {
		return false, err
	}
	r.Before = before
	results, err := r.Run(ctx, report)
	a.noteSetup(w.Name, results)
	changed = slices.ContainsFunc(results, func(r provision.Result) bool {
		return r.Outcome != provision.Held && !r.Step.Optional
	})
	return changed, a.setupFailed(w.Name, err)
}

// provisionSession sets the guest up for an agent's session: what a boot takes away
// again, and what needs the network that there is by now.
func (a *App) provisionSession(
	ctx context.Context, w *config.Workspace, c provision.Shell, ag *agent.Agent, report vm.Progress,
) error {
	r, err := a.provisioner(ctx, w, c, ag.ID, provision.Session)
	if err != nil {
		return err
	}
	results, err := r.Run(ctx, report)
	a.noteSetup(w.Name, results)
	return a.setupFailed(w.Name, err)
}

func (a *App) setupFailed(name string, err error) error {
	var failed *provision.StepError
	if errors.As(err, &failed) {
		return hint.Wrap(err, "`CALMenu doctor` shows what holds; CALMenu restart "+name+" goes on with the setup.")
	}
	return err
}

// noteSetup logs what changed in a guest and what is amiss, without the guest's own words but for the reason.
func (a *App) noteSetup(name string, results []provision.Result) {
	for _, r := range results {
		switch {
		case r.Outcome == provision.Done:
			a.Log.Info().Str("workspace", name).Str("step", r.Step.ID).Msg("guest set up")
		case !r.Holds():
			a.Log.Warn().Str("workspace", name).Str("step", r.Step.ID).Str("outcome", string(r.Outcome)).
				Str("reason", r.Detail).Msg("guest setup")
		}
	}
}

// setupTime bounds the look at one guest's setup.
const setupTime = 20 * time.Second

// setups tells of each running guest whether it is set up as it should be.
func (a *App) setups(ctx context.Context) []vm.Requirement {
	names, err := a.Config().Workspaces()
	if err != nil {
		return nil // said elsewhere
	}
	var found []vm.Requirement
	for _, name := range names {
		m, err := a.Driver.Machine(ctx, name)
		if err != nil || !m.Running {
			continue
		}
		r := vm.Requirement{
			Name: "guest of " + name, Optional: true, Hint: "CALMenu restart " + name + " sets it up anew.",
		}
		if r.Detail, err = a.setup(ctx, name); err != nil {
			r.Detail = err.Error()
		} else {
			r.OK = true
		}
		found = append(found, r)
	}
	return found
}

// setup checks a running guest's setup: what is said of it if it holds, an error otherwise.
func (a *App) setup(ctx context.Context, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	w, err := a.Workspace(name)
	if err != nil {
		return "", err
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	r, err := a.provisioner(ctx, w, c, "", provision.First, provision.Boot)
	if err != nil {
		return "", err
	}
	results, err := r.Check(ctx)
	if err != nil {
		return "", err
	}
	var missing []string
	for _, r := range results {
		if !r.Holds() {
			missing = append(missing, fmt.Sprintf("%s (%s)", r.Step.ID, r.Detail))
		}
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("%d of %d steps of its setup hold, but not %s",
			len(results)-len(missing), len(results), strings.Join(missing, ", "))
	}
	return fmt.Sprintf("set up: %d of %d steps hold", len(results), len(results)), nil
}

var zonePattern = lazyre.New(`zoneinfo/([A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*)$`)

// hostTimezone is the name of this host's time zone, by the link that says so, or UTC.
func hostTimezone(link string) string {
	target, err := os.Readlink(link)
	if err != nil {
		return "UTC"
	}
	m := zonePattern.FindStringSubmatch(target)
	if m == nil {
		return "UTC"
	}
	if m[1] == "Etc/UTC" {
		return "UTC"
	}
	return m[1]
}
