package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm"
)

// State reads the journal and the driver's facts and folds them.
func (a *App) State(ctx context.Context) (state.State, error) {
	f := state.Facts{Now: time.Now(), Alive: memoAlive()}
	var err error
	if f.Events, err = a.Journal.Events(); err != nil {
		return state.State{}, err
	}
	names, err := a.Config().Workspaces()
	if err != nil {
		return state.State{}, err
	}
	if f.Current, err = a.Current(); err != nil && !errors.Is(err, ErrNoWorkspace) {
		return state.State{}, err
	}
	machines, err := a.Driver.Machines(ctx)
	if err != nil {
		return state.State{}, fmt.Errorf("listing machines: %w", err)
	}
	byName := make(map[string]vm.Machine, len(machines))
	for _, m := range machines {
		byName[m.Name] = m
	}
	for _, n := range names {
		if _, ok := byName[n]; !ok && a.markedDeleting(n) {
			// Its machine is gone, and who was deleting it is too, or is about to delete the rest.
			if err := a.Recover(ctx, n); err != nil {
				a.Log.Warn().Str("workspace", n).Err(err).Msg("recovering")
			}
			continue
		}
		c, err := a.configured(ctx, n, byName)
		if err != nil {
			return state.State{}, err
		}
		f.Workspaces = append(f.Workspaces, c)
	}
	s := state.Fold(f)
	if u, ok := a.UpdateAvailable(); ok {
		s.Update = u.Version
	}
	s.DiskWarning = a.DiskWarning()
	return s, nil
}

func (a *App) configured(ctx context.Context, name string, machines map[string]vm.Machine) (state.Configured, error) {
	c := state.Configured{Name: name}
	w, err := a.Config().Workspace(name)
	if err != nil {
		return c, err
	}
	c.Agent, c.AgentName = w.Agent, w.Agent
	if ag, err := a.Agents().Get(w.Agent); err == nil {
		c.AgentName = ag.Name
	}
	reach := decideReach(w.Proxy.Mode, w.Network.Probe, a.lastReach(name))
	c.Network = state.Network{Policy: w.Network.Policy, Mode: reach.Mode, Tunnel: reach.Tunnel, Why: reach.Why}
	m, ok := machines[name]
	c.Machine = m
	if !ok {
		return c, nil
	}
	if c.Report, err = isolation.Load(a.Home.WorkspaceDir(name)); err != nil {
		a.Log.Warn().Str("workspace", name).Err(err).Msg("reading the isolation report")
	}
	c.Snapshots, err = a.catalog(name).List(ctx)
	if errors.Is(err, vm.ErrNotFound) {
		err = nil // deleted meanwhile
	}
	return c, err
}

// memoAlive asks the operating system once for each process.
func memoAlive() func(journal.Process) bool {
	known := map[journal.Process]bool{}
	return func(p journal.Process) bool {
		alive, ok := known[p]
		if !ok {
			alive = p.Alive()
			known[p] = alive
		}
		return alive
	}
}
