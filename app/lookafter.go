package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/app/state"
)

// A machine that runs is to be kept (Keep): without that it has no network and nothing of it lands. Where neither an agent nor
// a session does so, a process of this program is left with it (LookAfter), as Lima leaves a host agent with each of its
// instances.

// LookAfterVerb is the verb of a process that looks after one workspace.
const LookAfterVerb = "look-after"

// keeperLog is where what such a process prints goes.
const keeperLog = "keeper.log"

// The locks that tell who is with a workspace, beside the one of operations.
const (
	keepLock    = "keep"    // held by who keeps it
	keeperLock  = "keeper"  // held by the process left with it, which keeps it while nobody else does
	settledLock = "settled" // held by who keeps it from when it is settled how its guest gets out
	awaitedLock = "awaited" // held by who waits for that
)

const (
	// keptPoll is how often a keeper looks whether somebody else still keeps its workspace: what runs there has no network between
	// the two.
	keptPoll = 200 * time.Millisecond
	// keepPause follows an attempt to keep a workspace that failed.
	keepPause = 3 * time.Second
	// keeperBegins is how long a keeper may take to be there.
	keeperBegins = 2 * time.Second
	// keeperRests is how long a keeper leaves a machine alone that has just started: an emulated guest that is asked for much takes
	// twice as long to give a prompt to who has started it.
	keeperRests = time.Second
	// settles is how long is waited for a guest's network.
	settles = 15 * time.Second
	// settlePoll is how often it is looked meanwhile.
	settlePoll = 5 * time.Millisecond
)

func (a *App) lockFile(name, what string) *flock.Flock {
	return flock.New(filepath.Join(a.Home.LocksDir(), name+"."+what+".lock"), flock.SetPermissions(0o600))
}

// held tells whether somebody holds a lock of a workspace.
func (a *App) held(name, what string) bool {
	l := a.lockFile(name, what)
	defer func() { _ = l.Close() }()
	ok, err := l.TryRLock()
	return err == nil && !ok
}

// leaveKept sees to it that a workspace that runs is kept also when this process has ended. That nobody can be left with it is
// no failure of what was done.
func (a *App) leaveKept(ctx context.Context, name string) {
	if !a.keepers || a.Config().VM.Keeper == "off" || a.AgentRuns() || a.held(name, keeperLock) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	if m, err := a.Driver.Machine(ctx, name); err != nil || !m.Running {
		return
	}
	if err := a.spawn(keeperLog, LookAfterVerb, name); err != nil {
		a.Log.Warn().Str("workspace", name).Err(err).Msg("leaving a process with it")
		return
	}
	for begun := time.Now(); time.Since(begun) < keeperBegins && !a.held(name, keeperLock); {
		time.Sleep(settlePoll)
	}
}

// LeaveKept sees to it that all workspaces that run are kept also when this process has ended.
func (a *App) LeaveKept(ctx context.Context) error {
	machines, err := a.Driver.Machines(ctx)
	if err != nil {
		return fmt.Errorf("listing machines: %w", err)
	}
	for _, m := range machines {
		a.leaveKept(ctx, m.Name)
	}
	return nil
}

// awaitNetwork waits until it is settled how a guest gets out, if somebody is there to see to that: what is run right after a
// start would have no network otherwise.
func (a *App) awaitNetwork(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, settles)
	defer cancel()
	awaited := a.lockFile(name, awaitedLock)
	defer func() { _ = awaited.Close() }()
	_, _ = awaited.TryLock() // it may be held for the same already
	for !a.held(name, settledLock) && (a.held(name, keepLock) || a.held(name, keeperLock)) {
		select {
		case <-time.After(settlePoll):
		case <-ctx.Done():
			return
		}
	}
}

// LookAfter keeps a workspace whenever nobody else does, until its machine has ended, an agent has begun, which looks after all
// of them, or ctx ends. One process does this for a workspace; it returns at once if there is one. When the machine is started
// again after an update, it leaves it to the program that has taken this one's place.
func (a *App) LookAfter(ctx context.Context, name string) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	l := a.lockFile(w.Name, keeperLock)
	defer func() { _ = l.Close() }()
	soon, cancel := context.WithTimeout(ctx, time.Second) // who only looks whether somebody holds it does so for an instant
	defer cancel()
	if ok, err := l.TryLockContext(soon, lockPoll); !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return fmt.Errorf("locking the care of %q: %w", w.Name, err)
	}
	ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	go func() {
		if err := a.Journal.Watch(ctx, func() { a.endForAgent(cancel) }); err != nil {
			a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("looking after it whatever agent begins")
		}
	}()
	own := a.ownFile()
	a.rest(ctx, w.Name)
	for ctx.Err() == nil {
		err := a.Keep(ctx, w.Name, Hooks{})
		if errors.Is(err, ErrKept) {
			for ctx.Err() == nil && a.held(w.Name, keepLock) {
				time.Sleep(keptPoll)
			}
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("keeping")
			select {
			case <-time.After(keepPause):
			case <-ctx.Done():
			}
		}
		if over, err := a.endIfStopped(ctx, w.Name, l); over || err != nil {
			return err
		}
		// It has been started again.
		if own.replaced(a.ownFile()) {
			err := a.spawn(keeperLog, LookAfterVerb, w.Name)
			if err == nil {
				return l.Close() // which that one waits for
			}
			a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("leaving it to the program that has taken this one's place")
		}
		a.rest(ctx, w.Name)
	}
	return nil
}

// rest waits for keeperRests, or until somebody waits for the guest's network.
func (a *App) rest(ctx context.Context, name string) {
	for begun := time.Now(); time.Since(begun) < keeperRests && ctx.Err() == nil && !a.held(name, awaitedLock); {
		time.Sleep(settlePoll)
	}
}

// endForAgent calls end if an agent runs.
func (a *App) endForAgent(end func()) {
	events, err := a.Journal.Events()
	if err != nil {
		a.Log.Warn().Err(err).Msg("reading whether an agent has begun")
		return
	}
	if state.AgentPID(events, memoAlive()) != 0 {
		end()
	}
}

// endIfStopped gives the keeper's lock up if the machine does not run. No operation is under way meanwhile: one that starts the
// machine either finds the keeper gone or has it go on.
func (a *App) endIfStopped(ctx context.Context, name string, l *flock.Flock) (over bool, err error) {
	unlock, err := a.lock(ctx, name, LookAfterVerb, nil)
	if err != nil {
		return false, err
	}
	defer unlock()
	m, err := a.Driver.Machine(ctx, name)
	if ended(m, err) {
		return true, l.Close()
	}
	if err != nil {
		return false, fmt.Errorf("looking after %q: %w", name, err)
	}
	return false, nil
}
