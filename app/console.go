package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// sessionActions are what a session's hotkeys do: the same commands as the menu's and the command line's.
type sessionActions struct {
	*App
	w    *config.Workspace
	desk desktop.Desktop // nil where there is none

	mu    sync.Mutex // guards what follows
	agent *agent.Agent
	conn  *guest.Client // the session's own; it changes when the guest comes back
}

var _ session.Actions = (*sessionActions)(nil)

func (s *sessionActions) attached(c *guest.Client, ag *agent.Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.agent = c, ag
}

func (s *sessionActions) current() (*guest.Client, *agent.Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn, s.agent
}

func (s *sessionActions) Snapshot(ctx context.Context, name string, report vm.Progress) (string, error) {
	_, ag := s.current()
	taken, err := s.TakeSnapshot(ctx, s.w.Name, snapshot.Snapshot{Name: strings.TrimSpace(name), Agent: ag.ID}, report)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Snapshot %q taken", taken.Name), nil
}

func (s *sessionActions) Snapshots(ctx context.Context) ([]session.SnapshotRow, error) {
	list, err := s.App.Snapshots(ctx, s.w.Name)
	rows := make([]session.SnapshotRow, 0, len(list))
	for _, sn := range list {
		rows = append(rows, session.SnapshotRow{
			ID: sn.ID, Name: sn.Name, Kind: string(sn.Kind), Created: sn.Created, Bytes: sn.SizeBytes, Warm: sn.Warm,
		})
	}
	return rows, err
}

func (s *sessionActions) Rollback(ctx context.Context, id string, report vm.Progress) (string, error) {
	r, err := s.App.Rollback(ctx, s.w.Name, id, report)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Rolled back to %q; CALMenu rollback --undo brings back what was", r.To.Name), nil
}

func (s *sessionActions) Stop(ctx context.Context, report vm.Progress) error {
	err := s.App.Stop(ctx, s.w.Name, report)
	if errors.Is(err, vm.ErrNotRunning) {
		return nil
	}
	return err
}

// Agents lists the catalogue with what is known of each without asking the guest for long.
func (s *sessionActions) Agents(ctx context.Context) ([]session.AgentRow, error) {
	c, current := s.current()
	running, err := session.Sessions(ctx, c)
	if err != nil {
		return nil, err
	}
	rows := make([]session.AgentRow, 0, len(s.App.Agents()))
	list, known := s.App.Agents(), s.CachedAgents(s.w.Name)
	for i := range list {
		ag := &list[i]
		state, asked := known[ag.ID]
		rows = append(rows, session.AgentRow{
			ID: ag.ID, Name: ag.Name, Current: ag.ID == current.ID, Running: running[ag.ID], Auth: s.knownAuth(s.w.Name, ag),
			Absent: asked && !state.Installed && !running[ag.ID],
		})
	}
	return rows, nil
}
