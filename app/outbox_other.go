package app

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm"
)

// waitingForOther is the phase in which another process brings the outbox in, whose turn it is.
const waitingForOther = "waiting for another pass over the outbox"

// lookAtOther is how often is looked how far that is.
const lookAtOther = time.Second

// followOther reports how far another process is with a workspace's outbox, as far as it tells, until stop is called.
func (a *App) followOther(ctx context.Context, name string, report vm.Progress) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		look := time.NewTicker(lookAtOther)
		defer look.Stop()
		for {
			events, err := a.Journal.Events()
			if err != nil {
				a.Log.Debug().Str("workspace", name).Err(err).Msg("looking how far another pass is")
			}
			done, total := otherPass(events, name, os.Getpid())
			report.Report(vm.Phase{Name: waitingForOther, Done: done, Total: total})
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); following.Wait() }
}

// otherPass is how far, in bytes, the pass under way is that the journal tells of and that is not of process own; 0 of 0 if
// there is none. One whose process has died is of no account: it holds nobody up.
func otherPass(events []journal.Event, name string, own int) (done, total int64) {
	under := map[string]bool{}
	for _, e := range events {
		switch {
		case e.Workspace != name || e.Verb != "sync" && !under[e.Op]:
		case e.Kind == journal.OpBegin && e.Process.PID != own:
			under[e.Op], done, total = true, 0, 0
		case e.Kind == journal.OpPhase && under[e.Op] && e.Phase == fetching:
			done, total = e.Done, e.Total
		case e.Kind == journal.OpEnd && under[e.Op]:
			delete(under, e.Op)
			done, total = 0, 0
		}
	}
	return done, total
}
