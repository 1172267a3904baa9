// Package app is the application: one command per verb, shared by the menu and the command line, over the rooms below.
//
// What must hold: every command that changes a workspace holds that workspace's lock and is journaled from its begin to
// its end; commands return errors that say what failed and why, with a hint what to do; none of them talks to a screen.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/host"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// App is CALMenu as one process sees it. Its fields do not change once it is open; its configuration may (Reload).
type App struct {
	Home    config.Home
	Driver  vm.Driver
	Journal *journal.Journal
	Log     zerolog.Logger
	// Rhythm says when probes rest, as far as somebody tells it what happens to the computer: the menu-bar agent does.
	Rhythm *host.Rhythm

	keepers  bool                   // see Options
	program  func() (string, error) // this one's path; Self, but in tests
	links    sync.Map               // by workspace that this process keeps: its *guest.Link
	flags    map[string]string
	settings atomic.Pointer[settings]
	logFile  *os.File
	steps    func(step string) error // called after each step of an operation; tests end it there, as a crash would
}

// settings are what is read from config.yaml.
type settings struct {
	config *config.Config
	agents agent.List
}

// Config is the configuration in force.
func (a *App) Config() *config.Config { return a.settings.Load().config }

// Agents is the catalogue of coding agents, the user's own included, as this driver's guests run them.
func (a *App) Agents() agent.List {
	list := a.settings.Load().agents
	if a.Driver.Info().Capabilities.Emulated {
		return list.Emulated()
	}
	return list
}

// Reload reads the configuration again. If something in it is wrong, the old one stays in force.
func (a *App) Reload() error {
	cfg, err := config.Load(a.Home, os.Getenv)
	if err != nil {
		return err
	}
	if len(a.flags) > 0 {
		if cfg, err = cfg.WithFlags(a.flags); err != nil {
			return err
		}
	}
	agents, err := agent.Catalogue(cfg)
	if err != nil {
		return err
	}
	a.settings.Store(&settings{config: cfg, agents: agents})
	return nil
}

// Options say what an App is opened with.
type Options struct {
	// Driver runs the machines; nil is the host's own (see NewDriver).
	Driver vm.Driver
	// Flags are settings given on the command line, by key or flag name.
	Flags map[string]string
	// Keepers has a process of this program stay with each machine that is left running, where nobody else looks after it.
	Keepers bool
}

// Open reads the configuration and opens the journal, the log and the driver.
func Open(o Options) (*App, error) {
	home, err := config.Locate()
	if err != nil {
		return nil, err
	}
	if err := home.Ensure(); err != nil {
		return nil, err
	}
	j, err := journal.Open(home.JournalDir())
	if err != nil {
		return nil, err
	}
	a := &App{Home: home, Journal: j, Driver: o.Driver, Rhythm: host.NewRhythm(), flags: o.Flags, keepers: o.Keepers, program: Self}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	if err := a.openLog(); err != nil {
		return nil, err
	}
	if a.Driver == nil {
		if a.Driver, err = NewDriver(home, a.Config()); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Close closes the log.
func (a *App) Close() error {
	if err := a.logFile.Close(); err != nil {
		return fmt.Errorf("closing the log: %w", err)
	}
	return nil
}

const (
	logName = "calmenu.log"
	maxLog  = 4 << 20
)

// openLog opens the log for appending; a full one is set aside first. Log lines hold no token, environment or argument.
func (a *App) openLog() error {
	name := filepath.Join(a.Home.LogsDir(), logName)
	if fi, err := os.Stat(name); err == nil && fi.Size() > maxLog {
		_ = os.Rename(name, name+".1")
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	a.logFile = f
	a.Log = zerolog.New(willing{f}).With().Timestamp().Int("pid", os.Getpid()).Logger()
	return nil
}

// willing drops what cannot be written: that a disk is full is said by what needs it, and not in the midst of a terminal.
type willing struct{ io.Writer }

func (w willing) Write(p []byte) (int, error) {
	_, _ = w.Writer.Write(p)
	return len(p), nil
}

// LogFile is the path of the log.
func (a *App) LogFile() string { return filepath.Join(a.Home.LogsDir(), logName) }

// Workspace returns the configuration of a workspace; an empty name is the current one.
func (a *App) Workspace(name string) (*config.Workspace, error) {
	if name == "" {
		var err error
		if name, err = a.Current(); err != nil {
			return nil, err
		}
	}
	return a.Config().Workspace(name)
}

// ErrNoWorkspace is returned where a workspace is needed and there is none, or none is chosen.
var ErrNoWorkspace = errors.New("there is no workspace")

// Current returns the workspace that is meant when none is named: the one switched to, or the only one.
func (a *App) Current() (string, error) {
	names, err := a.Config().Workspaces()
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", hint.Wrap(ErrNoWorkspace, "Make one: CALMenu new demo")
	}
	b, err := os.ReadFile(a.currentFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading which workspace is current: %w", err)
	}
	current := strings.TrimSpace(string(b))
	for _, n := range names {
		if n == current {
			return n, nil
		}
	}
	return names[0], nil
}

// Switch makes a workspace the one that is meant when none is named.
func (a *App) Switch(name string) error {
	if _, err := a.Config().Workspace(name); err != nil {
		return err
	}
	if err := atomicfile.Write(a.currentFile(), []byte(name+"\n"), 0o600); err != nil {
		return fmt.Errorf("switching to %q: %w", name, err)
	}
	return a.Journal.Append(journal.Event{Kind: journal.Notice, Workspace: name, Detail: "switched to"})
}

func (a *App) currentFile() string { return filepath.Join(a.Home.Dir, "isolation", "current") }

func (a *App) catalog(name string) *snapshot.Catalog {
	c := snapshot.Open(a.Driver, name, a.Home.WorkspaceDir(name))
	if w, err := a.Config().Workspace(name); err == nil {
		c.UndoKeep = w.Snapshots.UndoKeep
	}
	if a.steps != nil {
		c.OnStep(a.steps)
	}
	return c
}

// step ends an operation after the named step of it, in tests.
func (a *App) step(name string) error {
	if a.steps == nil {
		return nil
	}
	return a.steps(name)
}

// OutputDir is where a workspace's artifacts land.
func (a *App) OutputDir(w *config.Workspace) string { return filepath.Join(w.Output.SyncDir, w.Name) }

// agentOf returns the agent of a workspace, or the one named.
func (a *App) agentOf(w *config.Workspace, id string) (*agent.Agent, error) {
	if id == "" {
		id = w.Agent
	}
	return a.Agents().Get(id)
}

// workspaceAgent returns a workspace and its agent, or the one named; empty names are the current workspace and its own.
func (a *App) workspaceAgent(name, id string) (*config.Workspace, *agent.Agent, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return nil, nil, err
	}
	ag, err := a.agentOf(w, id)
	return w, ag, err
}

// ensureOutput makes the folder artifacts land in.
func (a *App) ensureOutput(_ context.Context, w *config.Workspace) (string, error) {
	dir := a.OutputDir(w)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", hint.Wrap(fmt.Errorf("making the output folder: %w", err),
			"Make the folder writable, or set isolation.defaults.output.sync_dir in config.yaml.")
	}
	return dir, nil
}
