package bar

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/vm"
)

// endTakes is how long the end of the login session waits for the agent: the system ends the process anyway, and a
// computer that is being shut down must not be held up.
const endTakes = 10 * time.Second

// asks are the questions that are open; a quit closes them.
type asks struct {
	mu     sync.Mutex // guards what follows
	ctx    context.Context
	cancel context.CancelFunc
}

var errQuitting = errors.New("CALMenu is quitting")

// context returns what questions end with.
func (a *asks) context() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx == nil {
		a.ctx, a.cancel = context.WithCancel(context.Background())
	}
	return a.ctx
}

// end closes the questions that are open or wait for their turn. Later ones are asked.
func (a *asks) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel != nil {
		a.cancel()
	}
	a.ctx, a.cancel = nil, nil
}

// ask shows a question. One that is refused, or closed because CALMenu quits, is app.ErrDeclined.
func (b *Agent) ask(ctx context.Context, q desktop.Question) (desktop.Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, end := range []context.Context{b.asks.context(), b.over} {
		defer context.AfterFunc(end, func() { cancel(errQuitting) })()
	}
	ans, err := b.desk.Ask(ctx, q)
	switch {
	case errors.Is(context.Cause(ctx), errQuitting), errors.Is(err, desktop.ErrClosed):
		return desktop.Answer{Cancelled: true}, app.ErrDeclined
	case err == nil && ans.Cancelled:
		err = app.ErrDeclined
	}
	return ans, err
}

// askQuit ends the agent. If machines run it asks what becomes of them, unless that is configured. Questions that are open
// are closed: what they are about does not happen.
func (b *Agent) askQuit(ctx context.Context) error {
	b.asks.end()
	how := b.app.Config().VM.KeepRunningOnQuit
	running := b.running()
	if len(running) > 0 && how == "ask" {
		ans, err := b.ask(ctx, desktop.Question{
			Kind: desktop.Confirm, Title: "Quit CALMenu?",
			Text:    fmt.Sprintf("Running: %s. Agents in them can go on without the menu.", strings.Join(running, ", ")),
			Buttons: []string{"Keep Running", "Stop Them"},
		})
		if err != nil {
			return err
		}
		how = []string{"keep", "stop"}[ans.Button]
	}
	if how == "stop" {
		if err := b.stopAll(ctx, running); err != nil {
			return err
		}
	}
	b.asks.end() // those that have come since
	b.quit()
	return nil
}

// running lists the workspaces whose machines run, as far as the agent knows.
func (b *Agent) running() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, w := range b.last.Workspaces {
		if w.Life == state.Running {
			names = append(names, w.Name)
		}
	}
	return names
}

func (b *Agent) stopAll(ctx context.Context, names []string) error {
	var all sync.WaitGroup
	failed := make([]error, len(names))
	for i, n := range names {
		all.Go(func() {
			if err := b.app.Stop(ctx, n, nil); err != nil && !errors.Is(err, vm.ErrNotRunning) {
				failed[i] = err
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// End is the agent's clean-up, however the program ends: logout, shutdown, a signal, a quit. Where the person has chosen
// once and for all that machines stop, they are stopped; one who is asked each time cannot be asked now, and they go on.
// It waits no longer than ten seconds, for nothing that needs the main thread, and does nothing once Run has returned.
func (b *Agent) End() {
	ctx, cancel := context.WithTimeout(context.Background(), endTakes)
	defer cancel()
	b.endWithin(ctx)
}

func (b *Agent) endWithin(ctx context.Context) {
	select {
	case <-b.ended:
		return
	default:
	}
	if b.desk != nil {
		_ = b.desk.Close() // ends questions and notifications, which nobody will answer
	}
	if b.over.Err() == nil && b.app.Config().VM.KeepRunningOnQuit == "stop" {
		if err := b.stopAll(ctx, b.running()); err != nil {
			b.app.Log.Warn().Err(err).Msg("stopping machines at the end of the login session")
		}
	}
	b.quit()
	select {
	case <-b.ended:
	case <-ctx.Done():
		b.app.Log.Warn().Msg("the login session ends while work goes on: the next start finishes or undoes it")
	}
}
