package app

import (
	"context"
	"errors"
	"maps"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/vm"
)

// AgentsReport is which agents a workspace has and launches.
type AgentsReport struct {
	Workspace string // empty: there is none yet
	Default   string // identifier of the agent that is launched
	// States are what is known of the agents, by identifier.
	States map[string]AgentState
	// Modes are the modes of the agents' permission files, by identifier.
	Modes map[string]string
}

// ReportAgents tells which agents a workspace has. A running guest is asked; whether its agents are signed in only with
// check, since each takes its own program for that. Of one that is not running, what was last known is told.
func (a *App) ReportAgents(ctx context.Context, name string, check bool, p vm.Progress) (AgentsReport, error) {
	r := AgentsReport{Default: a.Config().Agent, States: map[string]AgentState{}, Modes: map[string]string{}}
	w, err := a.Workspace(name)
	if name == "" && errors.Is(err, ErrNoWorkspace) {
		for _, ag := range a.Agents() {
			if ag.Permission != nil {
				r.Modes[ag.ID] = ag.Permission.Value
			}
		}
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.Workspace, r.Default, r.States = w.Name, w.Agent, a.CachedAgents(w.Name)
	for _, ag := range a.Agents() {
		r.Modes[ag.ID] = PermissionMode(w, &ag)
	}
	if m, err := a.Driver.Machine(ctx, w.Name); err != nil || !m.Running || !a.proven(w.Name, m) {
		return r, nil // it does not run, or has not been reached yet
	}
	p.Report(vm.Phase{Name: "asking the guest"})
	c, err := a.Connect(ctx, w)
	if err != nil {
		return r, err
	}
	defer func() { _ = c.Close() }()
	if r.States, err = a.SurveyAgents(ctx, c, w); err != nil {
		return r, err
	}
	if check {
		maps.Copy(r.States, a.askInstalled(ctx, c, w, r.States, p))
	}
	return r, ctx.Err()
}

// askInstalled asks each installed agent whether it is signed in.
func (a *App) askInstalled(
	ctx context.Context, c guestConn, w *config.Workspace, states map[string]AgentState, p vm.Progress,
) map[string]AgentState {
	asked := map[string]AgentState{}
	for _, ag := range a.Agents() {
		if ctx.Err() != nil || !states[ag.ID].Installed || len(ag.Auth.Check) == 0 {
			continue
		}
		p.Report(vm.Phase{Name: "asking " + ag.Name + " whether it is signed in"})
		asked[ag.ID] = a.RefreshAgent(ctx, c, w, &ag)
	}
	return asked
}

// AskAgent asks a workspace's guest about one agent, starting it if need be.
func (a *App) AskAgent(ctx context.Context, name, id string, p vm.Progress) (AgentState, error) {
	var s AgentState
	w, ag, err := a.workspaceAgent(name, id)
	if err != nil {
		return s, err
	}
	err = a.withGuest(ctx, w.Name, p, func(ctx context.Context, c *guest.Client, w *config.Workspace) error {
		p.Report(vm.Phase{Name: "asking " + ag.Name + " about itself"})
		s = a.RefreshAgent(ctx, c, w, ag)
		return ctx.Err()
	})
	return s, err
}
