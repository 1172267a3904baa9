package session

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// fakeActions records what the hotkeys do.
type fakeActions struct {
	mu       sync.Mutex
	calls    []string
	repos    []Repository
	rows     []SnapshotRow
	agents   []AgentRow
	risk     Risk
	diff     string
	err      error         // of what changes something
	block    chan struct{} // unless nil: what changes something waits for it
	progress []vm.Phase
}

func (a *fakeActions) called(s string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, fmt.Sprintf(s, args...))
}

func (a *fakeActions) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.calls, "; ")
}

func (a *fakeActions) change(ctx context.Context, report vm.Progress, said string) (string, error) {
	for _, p := range a.progress {
		report.Report(p)
	}
	if a.block != nil {
		select {
		case <-a.block:
		case <-ctx.Done():
			a.called("cancelled")
			return "", ctx.Err()
		}
	}
	return said, a.err
}

func (a *fakeActions) Snapshot(ctx context.Context, name string, report vm.Progress) (string, error) {
	a.called("snapshot %q", name)
	return a.change(ctx, report, "Snapshot taken\x1b[2J.")
}

func (a *fakeActions) Snapshots(context.Context) ([]SnapshotRow, error) { return a.rows, nil }
func (a *fakeActions) Preview(_ context.Context, id string, _ int) ([]string, error) {
	return []string{"since " + id + ": 3 files\x1b[2J changed"}, nil
}
func (a *fakeActions) RollbackRisk(context.Context) (Risk, error) { return a.risk, nil }

func (a *fakeActions) Rollback(ctx context.Context, id string, report vm.Progress) (string, error) {
	a.called("rollback %s", id)
	return a.change(ctx, report, "Rolled back.")
}

func (a *fakeActions) Repositories(context.Context) ([]Repository, error) { return a.repos, nil }

func (a *fakeActions) Diff(_ context.Context, repo string) (string, error) {
	a.called("diff %s", repo)
	return a.diff, nil
}

func (a *fakeActions) Commit(ctx context.Context, repo, message string, report vm.Progress) (string, error) {
	a.called("commit %s %q", repo, message)
	return a.change(ctx, report, "Committed 1a2b3c4.")
}

func (a *fakeActions) Push(ctx context.Context, repo string, report vm.Progress) (string, error) {
	a.called("push %s", repo)
	return a.change(ctx, report, "Pushed.")
}

func (a *fakeActions) PullRequest(ctx context.Context, repo, title string, report vm.Progress) (string, error) {
	a.called("pr %s %q", repo, title)
	return a.change(ctx, report, "https://example.com/pr/1")
}

func (a *fakeActions) Agents(context.Context) ([]AgentRow, error) { return a.agents, nil }

func (a *fakeActions) Stop(ctx context.Context, report vm.Progress) error {
	a.called("stop")
	_, err := a.change(ctx, report, "")
	return err
}

func actions() *fakeActions {
	return &fakeActions{
		repos: []Repository{
			{Name: "app", Branch: "agent/fix", Summary: "3 files changed", Dirty: true},
			{Name: "site", Branch: "main", Summary: "2 commits not pushed", Unpushed: true},
			{Name: "lib", Branch: "main", Summary: "1 file changed", Dirty: true},
		},
		rows: []SnapshotRow{
			{ID: "s2", Name: "before lunch", Kind: "manual", Created: time.Now().Add(-time.Hour), Bytes: 12e6},
			{ID: "s1", Name: "session-2026-01-17-1430", Kind: "session", Created: time.Now().Add(-26 * time.Hour)},
		},
		agents: []AgentRow{
			{ID: "claude-code", Name: "Claude Code", Current: true, Running: true, Auth: AuthSignedIn},
			{ID: "codex", Name: "Codex", Auth: AuthSignedOut},
		},
		risk: Risk{Lines: []string{"app: 3 files uncommitted"}},
		diff: "diff --git a/x b/x\n+new\x1b]0;evil\x07\n-old\n" + strings.Repeat(" same\n", 60),
	}
}
