package bar

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/host"
)

// watchHost tells what happens to the computer as far as any program can know it; a shell tells more, from its desktop.
func (b *Agent) watchHost(ctx context.Context) {
	host.Watch(ctx, os.Getenv, b.app.Rhythm.Tell, func(err error) {
		b.app.Log.Info().Err(err).Msg("watching the computer")
	})
}

// heard has the facts looked at when the computer may have changed them unseen.
func (b *Agent) heard(e host.Event) {
	b.app.Log.Info().Str("event", e.String()).Msg("computer")
	switch e {
	case host.DidWake, host.NetworkChanged, host.UserSwitchedTo, host.ScreenUnlocked, host.LowPowerOff:
		b.Refresh()
	}
}

// KeepAwake gives the agent the means to keep the computer from sleeping while nobody is at it. why is shown to people who
// ask what keeps it awake. It must be called before Run.
func (b *Agent) KeepAwake(hold func(ctx context.Context, why string) (release func(), err error)) {
	b.awake.hold = hold
}

// awake keeps the computer from sleeping by itself while agents work. A person can always send it to sleep.
type awake struct {
	hold func(ctx context.Context, why string) (release func(), err error) // nil: it sleeps as it likes

	mu      sync.Mutex // guards what follows
	release func()     // nil while it is not held
	failed  bool       // told of already
}

// idleAgent is the agent that is a shell: it works only while somebody types.
const idleAgent = "shell"

// works says whether an agent is at work in a session: attached to a terminal or autonomous, and not waiting for a person.
func works(s state.State) bool {
	return slices.ContainsFunc(s.Workspaces, func(w state.Workspace) bool {
		return w.Life == state.Running && slices.ContainsFunc(w.Sessions, func(x state.Session) bool {
			return x.Agent != idleAgent && !x.Waiting
		})
	})
}

// look holds the computer awake, or lets go of it, as the state asks for.
func (a *awake) look(s state.State, warn func() *zerolog.Event) {
	if a.hold == nil {
		return
	}
	if !works(s) {
		a.letGo()
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.release != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	release, err := a.hold(ctx, "A coding agent is at work in a virtual machine")
	if err != nil {
		if !a.failed {
			warn().Err(err).Msg("the computer may go to sleep while an agent works")
		}
		a.failed = true
		return
	}
	a.release, a.failed = release, false
}

// letGo lets the computer sleep.
func (a *awake) letGo() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.release != nil {
		a.release()
		a.release = nil
	}
}
