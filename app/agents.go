package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// guestConn is what work on a guest's agents needs of the connection into it; *guest.Client is one.
type guestConn interface {
	session.Guest
	Stream(ctx context.Context, c guest.Cmd, stdout, stderr io.Writer) (int, error)
}

// AgentState is what is known of one agent in one guest.
type AgentState struct {
	Installed bool         `json:"installed"`
	Version   string       `json:"version,omitempty"`
	Auth      agent.Status `json:"auth"`
	// Detail says why something is not known, in words.
	Detail string    `json:"detail,omitempty"`
	Time   time.Time `json:"time"` // of the answer
	// AuthTime is when the agent was last asked whether it is signed in; zero: never.
	AuthTime time.Time `json:"auth_time,omitzero"`
}

// agentsFile is where the last answers about a workspace's agents are kept on the host.
const agentsFile = "agents.json"

type agentsRecord struct {
	PID    int                   `json:"pid"` // of the machine that answered
	Agents map[string]AgentState `json:"agents"`
}

// maxAgentsFile is far more than a catalogue's states take.
const maxAgentsFile = 1 << 20

// CachedAgents returns what was last known of a workspace's agents, by identifier, without asking the guest. Answers of an
// earlier run of the machine tell what was there then; what is not in it was never asked for.
func (a *App) CachedAgents(name string) map[string]AgentState {
	r, err := a.agentsRecord(name)
	if err != nil {
		a.Log.Warn().Str("workspace", name).Err(err).Msg("reading what is known of its agents")
	}
	return r.Agents
}

func (a *App) agentsRecord(name string) (agentsRecord, error) {
	r := agentsRecord{Agents: map[string]AgentState{}}
	f, err := os.Open(filepath.Join(a.Home.WorkspaceDir(name), agentsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer func() { _ = f.Close() }()
	read := r
	if err := json.NewDecoder(io.LimitReader(f, maxAgentsFile)).Decode(&read); err != nil {
		return r, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	if read.Agents == nil {
		read.Agents = map[string]AgentState{}
	}
	return read, nil
}

// remember keeps answers about a workspace's agents. A failure costs only the memory, so it is logged.
func (a *App) remember(ctx context.Context, name string, states map[string]AgentState) {
	r, err := a.agentsRecord(name)
	if err == nil {
		var m vm.Machine
		if m, err = a.Driver.Machine(ctx, name); err == nil {
			r.PID = m.PID
		}
	}
	maps.Copy(r.Agents, states)
	b, merr := json.Marshal(r)
	if err = errors.Join(err, merr); err == nil {
		err = atomicfile.Write(filepath.Join(a.Home.WorkspaceDir(name), agentsFile), b, 0o600)
	}
	if err != nil {
		a.Log.Warn().Str("workspace", name).Err(err).Msg("keeping what is known of its agents")
	}
}

// answerTime bounds one question to an agent's own program. Under emulation node alone takes many seconds to start.
func (a *App) answerTime() time.Duration {
	if a.Driver.Info().Capabilities.Emulated {
		return 90 * time.Second
	}
	return 20 * time.Second
}

// SurveyAgents finds out in one command which agents a guest has, in which version, and remembers it. Whether they are
// signed in is left as it was last known: asking takes each agent's own program (AgentState).
func (a *App) SurveyAgents(ctx context.Context, c guestConn, w *config.Workspace) (map[string]AgentState, error) {
	list := a.Agents()
	found, err := a.survey(ctx, c, list)
	if err != nil {
		return nil, err
	}
	known := a.CachedAgents(w.Name)
	now := time.Now()
	states := make(map[string]AgentState, len(list))
	for i := range list {
		id := list[i].ID
		f, there := found[id]
		s := AgentState{Installed: there, Version: f.Version, Time: now}
		if before := known[id]; there {
			s.Auth, s.AuthTime, s.Detail = before.Auth, before.AuthTime, before.Detail
			if s.Version == "" {
				s.Version = before.Version
			}
		}
		states[id] = s
	}
	a.remember(ctx, w.Name, states)
	return states, nil
}

// survey asks which agents of a list are installed.
func (a *App) survey(ctx context.Context, c guestConn, list agent.List) (map[string]agent.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, a.answerTime())
	defer cancel()
	res, err := c.Output(ctx, guest.Cmd{Argv: agent.SurveyCommand(list), Limit: 64 << 10})
	if err != nil {
		return nil, fmt.Errorf("looking for agents in the guest: %w", err)
	}
	return agent.ParseSurvey(list, res.Stdout), nil
}

// AgentState asks a guest whether an agent is installed, in which version, and, by the agent's own command, whether it is
// signed in. What the guest does not answer in time is unknown, and Detail says so; unknown is not yes.
func (a *App) AgentState(ctx context.Context, c guestConn, ag *agent.Agent) AgentState {
	s := AgentState{Time: time.Now()}
	found, err := a.survey(ctx, c, agent.List{*ag})
	if err != nil {
		s.Detail = session.Printable(err.Error())
		return s
	}
	f, there := found[ag.ID]
	if !there {
		return s
	}
	s.Installed, s.Version = true, f.Version
	if s.Version == "" && len(ag.Version) > 0 {
		if res, err := a.ask(ctx, c, ag.Version); err == nil && res.Exit == 0 {
			s.Version = agent.ParseVersion(res.Stdout)
		}
	}
	if len(ag.Auth.Check) == 0 {
		s.Detail = "it has no command that tells whether it is signed in"
		return s
	}
	res, err := a.ask(ctx, c, ag.Auth.Check)
	s.AuthTime = time.Now()
	s.Auth = ag.Auth.Judge(res.Exit, bytes.Join([][]byte{res.Stdout, res.Stderr}, []byte("\n")), err != nil)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		s.Detail = fmt.Sprintf("its status command did not answer within %s", a.answerTime())
	case err != nil:
		s.Detail = session.Printable(err.Error())
	case s.Auth == agent.Unknown:
		s.Detail = "its status command gave no clear answer"
	}
	return s
}

// ask runs a command of an agent's with its input at the end, and a time limit.
func (a *App) ask(ctx context.Context, c guestConn, argv []string) (guest.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, a.answerTime())
	defer cancel()
	res, err := c.Output(ctx, guest.Cmd{Argv: agent.InGuest(argv), Limit: 64 << 10})
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return res, err
}

// RefreshAgent asks the guest about one agent (AgentState) and remembers the answer.
func (a *App) RefreshAgent(ctx context.Context, c guestConn, w *config.Workspace, ag *agent.Agent) AgentState {
	s := a.AgentState(ctx, c, ag)
	if ctx.Err() == nil {
		a.remember(ctx, w.Name, map[string]AgentState{ag.ID: s})
	}
	return s
}

// withGuest starts a workspace and runs f over a connection into its guest, which has its way out to the network
// meanwhile.
func (a *App) withGuest(
	ctx context.Context, name string, p vm.Progress, f func(context.Context, *guest.Client, *config.Workspace) error,
) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	if err := a.Start(ctx, w.Name, p); err != nil {
		return err
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	var care sync.WaitGroup
	care.Go(func() { a.keepUnlessKept(ctx, w.Name) })
	defer care.Wait()
	defer cancel()
	return f(ctx, c, w)
}
