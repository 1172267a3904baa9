package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// FirstWorkspace is the workspace a newcomer starts with.
const FirstWorkspace = "demo"

// Prepare makes this machine ready for a first session: what is missing is an error with a hint, the base image is made,
// and there is a workspace. It returns the workspace to go on with.
func (a *App) Prepare(ctx context.Context, p vm.Progress) (string, error) {
	var missing []string
	advice := ""
	for _, r := range a.Driver.Requirements(ctx) {
		if !r.OK && !r.Optional {
			missing = append(missing, fmt.Sprintf("%s (%s)", r.Name, r.Detail))
			if advice == "" {
				advice = r.Hint
			}
		}
	}
	if len(missing) > 0 {
		return "", hint.Errorf(advice, "this machine lacks %s", strings.Join(missing, ", "))
	}
	name, err := a.Current()
	if err == nil {
		return name, a.Driver.EnsureImage(ctx, a.Driver.DefaultImage(), p)
	}
	if !errors.Is(err, ErrNoWorkspace) {
		return "", err
	}
	if err := a.New(ctx, FirstWorkspace, nil, p); err != nil && !errors.Is(err, vm.ErrExists) {
		return "", err
	}
	return FirstWorkspace, a.Switch(FirstWorkspace)
}

// AgentRuns tells whether a menu-bar or headless agent of this home runs.
func (a *App) AgentRuns() bool {
	l := flock.New(filepath.Join(a.Home.LocksDir(), "agent.lock"), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil || !ok {
		return err == nil
	}
	_ = l.Close()
	return false
}

// SpawnAgent starts the menu-bar agent as a process of its own that outlives this one, unless one runs. Its output goes to
// a log file.
func (a *App) SpawnAgent() error {
	if a.AgentRuns() {
		return nil
	}
	if err := a.spawn("agent.log"); err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	return nil
}

// spawn starts this program once more, as a process of its own that outlives this one. What it says goes to a file of the
// logs.
func (a *App) spawn(log string, args ...string) error {
	self, err := a.program()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(a.Home.LogsDir(), log), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// Step is one step of the story, done.
type Step struct {
	What   string        `json:"what"`
	Detail string        `json:"detail"`
	Took   time.Duration `json:"took"`
}

// madeUp is what the story's agent builds: a file of 256 KiB nobody has seen before, whose hash it prints.
const madeUp = `set -e; mkdir -p "$HOME/output" "$HOME/workspace/story"
head -c 262144 /dev/urandom >"$HOME/workspace/story/build.tmp"
date >"$HOME/workspace/story/notes.txt"
cp "$HOME/workspace/story/build.tmp" "$HOME/output/story.bin"
sha256sum <"$HOME/output/story.bin" | cut -d' ' -f1`

// rehash prints the hash of what the story's agent built, if it is still there.
const rehash = `sha256sum <"$HOME/output/story.bin" | cut -d' ' -f1; cat "$HOME/workspace/story/notes.txt"`

// Story plays the whole loop without a person: VM, isolation, agent, artifact, snapshot, wreck, rollback. Each step is told
// when it is done. What it proves is proven: a hash that differs or a file that is not there ends it with an error.
func (a *App) Story(ctx context.Context, name string, p vm.Progress, tell func(Step)) error {
	s := &story{app: a, name: name, progress: p, tell: tell}
	for _, step := range []struct {
		what string
		run  func(context.Context) (string, error)
	}{
		{"start the VM", s.start},
		{"prove its isolation", s.isolation},
		{"the agent builds a file", s.build},
		{"the artifact lands, checked", s.land},
		{"take a snapshot", s.snapshot},
		{"the agent runs rm -rf ~", s.wreck},
		{"roll back", s.rollback},
		{"everything is back", s.check},
	} {
		began := time.Now()
		detail, err := step.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		tell(Step{What: step.what, Detail: detail, Took: time.Since(began)})
	}
	return nil
}

type story struct {
	app      *App
	name     string
	progress vm.Progress
	tell     func(Step)

	hash string
	snap snapshot.Snapshot
}

func (s *story) inGuest(ctx context.Context, script string) (string, error) {
	w, err := s.app.Workspace(s.name)
	if err != nil {
		return "", err
	}
	c, err := s.app.Connect(ctx, w)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	r, err := c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", script}, Limit: 64 << 10})
	if err != nil {
		return "", err
	}
	if r.Exit != 0 {
		return "", fmt.Errorf("the agent ended with exit code %d: %s", r.Exit, strings.TrimSpace(string(r.Stderr)))
	}
	return strings.TrimSpace(string(r.Stdout)), nil
}

func (s *story) start(ctx context.Context) (string, error) {
	if err := s.app.Start(ctx, s.name, s.progress); err != nil {
		return "", err
	}
	m, err := s.app.Driver.Machine(ctx, s.name)
	return fmt.Sprintf("%s, process %d", s.app.Driver.Info().Name, m.PID), err
}

func (s *story) isolation(context.Context) (string, error) {
	r, err := isolation.Load(s.app.Home.WorkspaceDir(s.name))
	if err != nil {
		return "", err
	}
	if r.Level == isolation.Broken {
		return "", fmt.Errorf("%w: %s", ErrBroken, r.Reason)
	}
	return fmt.Sprintf("%s, %d of %d claims", r.Level, r.Passed(), len(r.Results)), nil
}

func (s *story) build(ctx context.Context) (string, error) {
	out, err := s.inGuest(ctx, madeUp)
	s.hash = out
	return "~/output/story.bin in the guest, SHA-256 " + clipHash(out), err
}

func (s *story) land(ctx context.Context) (string, error) {
	// The agent that looks after the workspace may land it first; then there is nothing left to do but look.
	if _, _, err := s.app.Sync(ctx, s.name, s.progress); err != nil {
		return "", err
	}
	list, err := s.app.Artifacts(s.name)
	if err != nil {
		return "", err
	}
	for _, x := range list {
		if x.Name == "story.bin" && x.SHA256 == s.hash {
			return fmt.Sprintf("%s, same hash, version %d", x.Path, x.Version), nil
		}
	}
	return "", fmt.Errorf("story.bin with SHA-256 %s did not land", s.hash)
}

func (s *story) snapshot(ctx context.Context) (string, error) {
	var err error
	s.snap, err = s.app.TakeSnapshot(ctx, s.name, snapshot.Snapshot{
		Name: "story " + time.Now().Format("2006-01-02 15:04:05"),
	}, s.progress)
	return fmt.Sprintf("%q, while the VM runs", s.snap.Name), err
}

func (s *story) wreck(ctx context.Context) (string, error) {
	left, err := s.inGuest(ctx, `rm -rf "$HOME" 2>/dev/null; find "$HOME" -type f 2>/dev/null | wc -l`)
	return left + " files left in the guest's home", err
}

func (s *story) rollback(ctx context.Context) (string, error) {
	r, err := s.app.Rollback(ctx, s.name, s.snap.ID, s.progress)
	return fmt.Sprintf("to %q; what it replaced is kept as %q", r.To.Name, r.Undo.Name), err
}

func (s *story) check(ctx context.Context) (string, error) {
	out, err := s.inGuest(ctx, rehash)
	if err != nil {
		return "", err
	}
	if hash, _, _ := strings.Cut(out, "\n"); hash != s.hash {
		return "", fmt.Errorf("story.bin came back with SHA-256 %s instead of %s", hash, s.hash)
	}
	return "same files, same hash " + clipHash(s.hash), nil
}

func clipHash(h string) string {
	if len(h) > 12 {
		return h[:12] + "..."
	}
	return h
}
