package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/helper"
	"github.com/calmenu/calmenu/internal/host"
	"github.com/calmenu/calmenu/internal/isolation"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
)

// ErrKept is returned by Keep if another process keeps the workspace.
var ErrKept = errors.New("another process looks after this workspace")

// Hooks are told what happens while a workspace is kept. Nil hooks are not called.
type Hooks struct {
	Landed       func(w *config.Workspace, r outbox.Report)
	HookFailed   func(w *config.Workspace, f HookFailure)
	OutboxFailed func(w *config.Workspace, err error)
}

// Keep looks after one running workspace until ctx ends or its machine does: the guest's way out to the network, its
// outbox, and the isolation checks. One process does this for a workspace at a time.
func (a *App) Keep(ctx context.Context, name string, h Hooks) error {
	w, err := a.Workspace(name)
	if err != nil {
		return err
	}
	l := a.lockFile(w.Name, keepLock)
	ok, err := l.TryLock()
	if err != nil {
		return fmt.Errorf("locking the care of %q: %w", w.Name, err)
	}
	if !ok {
		return ErrKept
	}
	defer func() { _ = l.Close() }()

	k := &keeper{App: a, w: w, hooks: h, again: make(chan struct{}, 1)}
	// Hooks outlive connections and the machine; they end with who asked for all of this.
	asked := ctx
	k.after.run = func(landed []outbox.Artifact) { k.runAfter(asked, landed) }
	defer k.after.wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o, _, err := a.guestOptions(w.Name)
	if err != nil {
		return err
	}
	link := guest.NewLink(o, func(up bool, err error) {
		a.Log.Info().Str("workspace", w.Name).Bool("up", up).AnErr("cause", err).Msg("guest connection")
	})
	defer func() { _ = link.Close() }()
	a.links.Store(w.Name, link)
	defer a.links.Delete(w.Name)
	defer a.lend(ctx, w.Name, link)()
	k.net = a.openNetwork(ctx, w)
	defer k.net.close()
	settled := a.lockFile(w.Name, settledLock)
	defer func() { _ = settled.Close() }()
	networked := make(chan struct{})
	k.networked = networked
	k.settled = sync.OnceFunc(func() {
		close(networked)
		_, _ = settled.TryLockContext(ctx, lockPoll)
	})
	k.bulk = a.bulkLink(w.Name, o)
	defer func() { _ = k.bulk.Close() }()
	defer a.Rhythm.Listen(func(e host.Event) { k.heard(e, link) })()
	go a.makeTemplate(ctx, w)
	for ctx.Err() == nil {
		waitCtx, stopWaiting := context.WithCancel(ctx)
		go a.watchMachine(waitCtx, stopWaiting, w.Name)
		c, err := link.Client(waitCtx)
		stopWaiting()
		if err != nil {
			if ended(a.Driver.Machine(ctx, w.Name)) {
				return nil
			}
			if ctx.Err() != nil {
				break
			}
			return fmt.Errorf("keeping %q: %w", w.Name, err)
		}
		k.serve(ctx, c)
		// A connection that has ended is the first sign of a machine that has, or of one that was left paused by a process
		// that was killed in the middle of a snapshot.
		if err := a.Recover(ctx, w.Name); err != nil {
			a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("recovering")
		}
		if ended(a.Driver.Machine(ctx, w.Name)) {
			return nil
		}
	}
	return nil
}

// lend lets other processes of this user use the connection, until what it returns is called.
func (a *App) lend(ctx context.Context, name string, link *guest.Link) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var lending sync.WaitGroup
	var ready []guest.Cmd
	os := a.Driver.Info().Capabilities.GuestOS
	own, _ := helper.Name(os) // none is no obstacle
	if cmd, err := outbox.HelperCommand(os); err == nil {
		ready = append(ready, cmd)
	}
	lending.Go(func() {
		if err := guest.Lend(ctx, a.lentSocket(name), link.Client, own, ready...); ctx.Err() == nil {
			a.Log.Warn().Str("workspace", name).Err(err).Msg("others make connections of their own")
		}
	})
	return func() { cancel(); lending.Wait() }
}

type keeper struct {
	*App
	w     *config.Workspace
	hooks Hooks
	net   *network
	// settled is called when it is settled how the guest gets out.
	settled   func()
	networked <-chan struct{} // closed by settled
	bulk      *guest.Link     // a connection of its own for what the guest sends and receives, which may be much

	lastOutboxError string // of the outbox part alone
	after           hookQueue

	alone detachedAgents // over all connections

	stale atomic.Int64  // Unix time in nanoseconds: what was proven before it is to be proven again
	again chan struct{} // holds one: stale has changed
}

// heard has what an event of the host makes doubtful looked at anew. It waits for nothing.
func (k *keeper) heard(e host.Event, link *guest.Link) {
	if e != host.DidWake && e != host.NetworkChanged {
		return
	}
	link.Check(e == host.DidWake)
	k.net.reach.heard()
	k.bulk.Check(false) // the clock is the other's to step
	k.stale.Store(time.Now().UnixNano())
	select {
	case k.again <- struct{}{}:
	default:
	}
}

// serve does the work over one connection, until it or ctx ends.
func (k *keeper) serve(ctx context.Context, c *guest.Client) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	var wg sync.WaitGroup
	run := func(what string, rests bool, f func(context.Context, *guest.Client) error) {
		wg.Go(func() {
			if what != "network" {
				k.afterNetwork(ctx)
			}
			rhythm := k.Rhythm
			if !rests {
				rhythm = nil
			}
			// Each part restarts by itself: one that fails must not take the others with it.
			for ctx.Err() == nil {
				active, cancel, err := rhythm.Active(ctx)
				if err != nil {
					return
				}
				err = f(active, c)
				rested := active.Err() != nil
				cancel()
				if ctx.Err() != nil {
					return
				}
				if rested {
					k.Log.Info().Str("workspace", k.w.Name).Str("part", what).Msg("resting")
					continue
				}
				k.Log.Warn().Str("workspace", k.w.Name).Str("part", what).Err(err).Msg("starting again")
				select {
				case <-time.After(5 * time.Second):
				case <-ctx.Done():
				}
			}
		})
	}
	run("network", false, k.network) // the guest's connections are its own affair
	run("outbox", true, k.outbox)
	run("isolation", true, k.isolation)
	run("agents", true, k.agents)
	if k.w.Snapshots.PeriodicMinutes > 0 {
		run("periodic snapshots", true, func(ctx context.Context, c *guest.Client) error {
			return k.KeepPeriodic(ctx, k.w, c)
		})
	}
	wg.Wait()
}

// networkFirst is how long all else waits for the guest's network, after its machine has started.
const networkFirst = 3 * time.Second

// afterNetwork waits until the guest's network is there, or for networkFirst: an emulated guest that is asked for everything at
// once has nothing soon.
func (k *keeper) afterNetwork(ctx context.Context) {
	select {
	case <-k.networked:
	case <-time.After(networkFirst):
	case <-ctx.Done():
	}
}

// isolation proves the claims again and again; at once if nobody has proven them for this machine.
func (k *keeper) isolation(ctx context.Context, c *guest.Client) error {
	for {
		r, err := isolation.Load(k.Home.WorkspaceDir(k.w.Name))
		if err != nil {
			return err
		}
		m, err := k.Driver.Machine(ctx, k.w.Name)
		if err != nil {
			return err
		}
		wait := time.Until(r.Due(k.w.Isolation.CheckInterval))
		switch {
		case r.PID != m.PID:
			wait = 2 * time.Second // whoever started the machine is about to check it
		case r.Time.UnixNano() < k.stale.Load():
			wait = 0
		}
		select {
		case <-time.After(wait):
		case <-k.again:
			continue
		case <-ctx.Done():
			return nil
		}
		if now, err := isolation.Load(k.Home.WorkspaceDir(k.w.Name)); err == nil && now.Time.After(r.Time) {
			continue
		}
		_, err = k.check(ctx, k.w, c)
		switch {
		case errors.Is(err, vm.ErrNotRunning): // or another one runs by now: the connection will tell
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
		case err != nil:
			return err
		}
	}
}
