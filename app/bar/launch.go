package bar

import (
	"context"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/snapshot"
)

// launch opens a terminal on an agent. Where it is configured, and the VM runs so that its facts are known, the launch is
// confirmed in a dialog first, and the session does not ask again.
func (b *Agent) launch(ctx context.Context, w state.Workspace, agent string) error {
	argv := []string{"session", w.Name, "--agent", agent, "--pause"}
	_, waits := w.WaitOf(agent)
	if waits {
		return b.terminal(ctx, w.Name, append(argv, "--yes")...)
	}
	if b.app.Config().Session.Confirm == "dialog" && w.Life == state.Running {
		f, asks, err := b.app.LaunchFacts(ctx, w.Name, agent)
		if err != nil {
			return err
		}
		if asks {
			if err := b.confirmLaunch(ctx, f); err != nil {
				return err
			}
		}
		argv = append(argv, "--yes")
	}
	return b.terminal(ctx, w.Name, argv...)
}

func (b *Agent) confirmLaunch(ctx context.Context, f session.Facts) error {
	ans, err := b.ask(ctx, desktop.Question{
		Kind: desktop.Confirm, Title: "CAL Isolation Check", Text: session.Summary(f),
		Buttons: []string{"Launch", "Backup First"}, Cancel: "Quit",
	})
	if err != nil || ans.Button == 0 {
		return err
	}
	_, err = b.app.TakeSnapshot(ctx, f.Workspace, snapshot.Snapshot{Reason: "before launching " + f.Agent}, nil)
	return err
}
