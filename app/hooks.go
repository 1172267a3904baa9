package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/hook"
	"github.com/calmenu/calmenu/internal/journal"
	outbox "github.com/calmenu/calmenu/internal/sync"
)

// HookFailure is a hook that did not do what it was to do.
type HookFailure struct {
	Program  string
	Artifact outbox.Artifact
	Err      error
}

func (f HookFailure) Error() string {
	return fmt.Sprintf("%s on %s: %v", f.Program, f.Artifact.Name, f.Err)
}

// runHooks runs what a person has named for artifacts, one program at a time for a workspace, whoever of CALMenu's
// processes runs it. What failed is journaled, logged and returned; it keeps back nothing else.
func (a *App) runHooks(ctx context.Context, w *config.Workspace, landed []outbox.Artifact) ([]HookFailure, error) {
	hooks := a.Config().Hooks
	if !anyRuns(hooks, landed) {
		return nil, nil
	}
	l := a.lockFile(w.Name, "hooks")
	if ok, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil || !ok {
		return nil, fmt.Errorf("waiting for other hooks of %q: %w", w.Name, err)
	}
	defer func() { _ = l.Close() }()
	var failed []HookFailure
	for _, x := range landed {
		for _, h := range hooks {
			if !h.Runs(x.Name) {
				continue
			}
			if ctx.Err() != nil {
				return failed, fmt.Errorf("running hooks of %q: %w", w.Name, ctx.Err())
			}
			if err := a.runHook(ctx, w, h, x); err != nil {
				failed = append(failed, HookFailure{Program: h.Argv[0], Artifact: x, Err: err})
			}
		}
	}
	return failed, nil
}

// anyRuns tells whether one of the hooks is for one of the artifacts.
func anyRuns(hooks []config.Hook, landed []outbox.Artifact) bool {
	return slices.ContainsFunc(landed, func(x outbox.Artifact) bool {
		return slices.ContainsFunc(hooks, func(h config.Hook) bool { return h.Runs(x.Name) })
	})
}

func (a *App) runHook(ctx context.Context, w *config.Workspace, h config.Hook, x outbox.Artifact) error {
	kind := "file"
	if x.Bundle {
		kind = "bundle"
	}
	r := hook.Run(ctx, h, hook.Artifact{
		Path: x.Path, Name: x.Name, Workspace: w.Name, Agent: x.Agent, SHA256: x.SHA256, Size: x.Size, Kind: kind,
		Repository: x.Repository, Commit: x.Commit,
	})
	e := journal.Event{Kind: journal.Hook, Workspace: w.Name, Path: x.Path, Detail: h.Argv[0]}
	log := a.Log.Info()
	if r.Err != nil {
		e.Error, e.Hint = r.Err.Error(), "What it printed is in "+a.LogFile()+"."
		log = a.Log.Warn().Err(r.Err)
	}
	// Its arguments are not logged: a person may have put what they like into them.
	log.Str("workspace", w.Name).Str("program", h.Argv[0]).Str("artifact", x.Name).Dur("took", r.Took).
		Str("output", r.Output).Msg("hook")
	if err := a.Journal.Append(e); err != nil {
		a.Log.Warn().Err(err).Msg("journaling a hook")
	}
	return hint.Wrap(r.Err, e.Hint)
}

// hookQueue runs hooks beside what brings artifacts in, in the order these come.
type hookQueue struct {
	run func([]outbox.Artifact)

	mu      sync.Mutex // guards what follows
	waiting []outbox.Artifact
	running bool
	all     sync.WaitGroup
}

// add has hooks run on artifacts. It does not wait for them.
func (q *hookQueue) add(landed []outbox.Artifact) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, landed...)
	if q.running || len(q.waiting) == 0 {
		return
	}
	q.running = true
	q.all.Go(q.work)
}

func (q *hookQueue) work() {
	for {
		q.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		q.running = len(batch) > 0
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		q.run(batch)
	}
}

// wait returns when nothing is left to run.
func (q *hookQueue) wait() { q.all.Wait() }
