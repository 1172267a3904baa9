package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// lockPoll is how often a process waiting for a workspace looks again; flock(2) itself cannot be cancelled.
const lockPoll = 50 * time.Millisecond

// lock takes a workspace's lock for an operation that changes it. While it waits it reports who holds the lock.
func (a *App) lock(ctx context.Context, name, verb string, p vm.Progress) (func(), error) {
	if err := vm.ValidName(name); err != nil {
		return nil, err
	}
	file := filepath.Join(a.Home.LocksDir(), name+".lock")
	l := flock.New(file, flock.SetPermissions(0o600))
	for {
		ok, err := l.TryLock()
		if err != nil {
			return nil, fmt.Errorf("locking workspace %q: %w", name, err)
		}
		if ok {
			break
		}
		holder, _ := os.ReadFile(file)
		p.Report(vm.Phase{Name: "waiting for " + holderText(string(holder))})
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, hint.Wrap(fmt.Errorf("waiting for workspace %q, which is in use by %s: %w", name,
				holderText(string(holder)), ctx.Err()), "Try again when it has finished.")
		}
	}
	// Who holds it is a help for people; the lock itself is what counts.
	_ = os.WriteFile(file, fmt.Appendf(nil, "%s (process %d)\n", verb, os.Getpid()), 0o600)
	return func() { _ = l.Close() }, nil
}

func holderText(s string) string {
	if s = strings.TrimSpace(s); s != "" {
		return s
	}
	return "another operation"
}

// operate runs one operation on a workspace: locked, journaled from begin to end, after recovery of what a crash left.
func (a *App) operate(
	ctx context.Context, name, verb string, p vm.Progress, f func(context.Context, vm.Progress) error,
) error {
	unlock, err := a.lock(ctx, name, verb, p)
	if err != nil {
		return err
	}
	defer unlock()
	defer a.leaveKept(ctx, name) // before others can change it
	op := a.Journal.Begin(name, verb)
	report := func(ph vm.Phase) {
		op.Phase(ph.Name, ph.Done, ph.Total)
		p.Report(ph)
	}
	if err = a.Driver.Recover(ctx, name); errors.Is(err, vm.ErrNotFound) {
		err = nil // a workspace that has no machine yet
	}
	if err != nil && (verb == "stop" || verb == verbDelete) {
		// What cannot be recovered must still be possible to end and to remove.
		a.Log.Error().Str("workspace", name).Err(err).Msg("recovering")
		err = nil
	}
	gone := false
	if err == nil {
		gone, err = a.recoverDelete(ctx, name)
	}
	if err == nil && gone && verb != "new" && verb != verbDelete {
		_, err = a.Config().Workspace(name) // says that there is none
	}
	if gone && verb == verbDelete {
		f = func(context.Context, vm.Progress) error { return nil }
	}
	if err == nil {
		err = a.step("operate:begun")
	}
	if err == nil {
		err = f(ctx, report)
	}
	if err == nil {
		err = a.step("operate:done")
	}
	err = sayFull(err)
	if err != nil {
		a.Log.Error().Str("workspace", name).Str("verb", verb).Err(err).Msg("operation failed")
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return op.Cancel(err)
	}
	if inVain(verb, err) {
		return op.Refuse(err)
	}
	failed := err != nil
	err = op.End(err, hint.Of(err))
	if !failed && isFull(err) {
		// It is done, and only not written down: what makes room must not need some.
		a.Log.Warn().Str("workspace", name).Str("verb", verb).Err(err).Msg("journaling")
		return nil
	}
	return err
}

// isFull tells whether something failed for want of disk space.
func isFull(err error) bool {
	return errors.Is(err, vm.ErrNoSpace) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// sayFull names a full disk as what it is, and says what to do, where that has not been said by who met it.
func sayFull(err error) error {
	if !isFull(err) {
		return err
	}
	if !errors.Is(err, vm.ErrNoSpace) {
		err = fmt.Errorf("%w: %w", vm.ErrNoSpace, err)
	}
	if hint.Of(err) != "" {
		return err
	}
	return hint.Wrap(err, "Free disk space: `CALMenu snapshot list` shows what snapshots hold, `CALMenu snapshot prune` "+
		"lets old ones go.")
}

// inVain tells whether an operation was refused before it changed anything: a workspace it would have made is there, a
// snapshot it was to go back to is not. The workspace itself is as well as before.
func inVain(verb string, err error) bool {
	return errors.Is(err, vm.ErrExists) || errors.Is(err, vm.ErrNoSnapshot) ||
		errors.Is(err, snapshot.ErrTaken) ||
		verb == "stop" && errors.Is(err, vm.ErrNotRunning)
}

// Recover finishes or undoes what a crash left of a workspace's machine, unless an operation holds the workspace: that one
// has done it.
func (a *App) Recover(ctx context.Context, name string) error {
	l := flock.New(filepath.Join(a.Home.LocksDir(), name+".lock"), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil || !ok {
		return err
	}
	defer func() { _ = l.Close() }()
	if err := a.Driver.Recover(ctx, name); err != nil && !errors.Is(err, vm.ErrNotFound) {
		return fmt.Errorf("recovering workspace %q: %w", name, err)
	}
	if _, err := a.recoverDelete(ctx, name); err != nil {
		return fmt.Errorf("recovering workspace %q: %w", name, err)
	}
	return nil
}
