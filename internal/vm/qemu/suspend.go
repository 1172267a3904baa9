package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// Suspend saves a running machine's memory and ends it.
func (d *Driver) Suspend(ctx context.Context, name string, p vm.Progress) error {
	m, unlock, err := d.open(ctx, name, "suspend")
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.suspend(ctx, p); err != nil {
		return fmt.Errorf("suspending machine %q: %w", name, err)
	}
	return nil
}

// suspend does not wait for the disk: memory is believed without that until the host's next boot.
func (m *machine) suspend(ctx context.Context, p vm.Progress) error {
	running, err := findProcess(ctx, m.dir)
	if err != nil {
		return err
	}
	if running.pid == 0 {
		return vm.ErrNotRunning
	}
	s, err := m.newSaver(running)
	if err != nil {
		return err
	}
	defer s.close()
	p.Report(vm.Phase{Name: "saving the memory"})
	if err := m.begin(pending{Op: opSuspend, Memory: s.id, Next: m.Disk.withMemory(m.Disk.Active, s.id)}); err != nil {
		return errors.Join(err, m.goOnWithout(ctx))
	}
	if err := m.saveStopped(ctx, s); err != nil {
		return errors.Join(err, m.goOnWithout(ctx))
	}
	p.Report(vm.Phase{Name: "ending the machine"})
	return m.endSuspended(context.WithoutCancel(ctx), running.pid)
}

// saveStopped stops the guest and saves its memory, whole.
func (m *machine) saveStopped(ctx context.Context, s *saver) error {
	if err := s.create(); err != nil {
		return noSpace(err)
	}
	q, err := m.stopGuest(ctx)
	if err != nil {
		return err
	}
	defer q.close()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"suspend:stopped", func() error { return s.copy(ctx) }},
		{"suspend:copied", func() error { return noSpace(q.saveState(ctx, s.state)) }},
		{"suspend:saved", func() error { return s.finish(q.version, false) }},
		{"suspend:described", ctx.Err},
	} {
		if err := m.d.fault(step.name); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return err
		}
	}
	return nil
}

// endSuspended ends a machine whose memory is saved.
func (m *machine) endSuspended(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if err := m.d.powerOff(ctx, m.Name, pid); err != nil {
		return err
	}
	if err := m.d.fault("suspend:ended"); err != nil {
		return err
	}
	return m.finish()
}

// endTimeout bounds ending a machine that has nothing more to do.
const endTimeout = 30 * time.Second

// stopGuest stops a running guest in the middle of what it does, and returns the monitor for what is to be done then.
func (m *machine) stopGuest(ctx context.Context) (*session, error) {
	q, err := openSession(ctx, m.dir)
	if err != nil {
		return nil, err
	}
	status, err := q.status(ctx)
	if err == nil && status != "running" {
		err = fmt.Errorf("%w: the guest is not running: %s", vm.ErrNoMemory, status)
	}
	if err == nil {
		err = q.do(ctx, "stop", nil, nil)
	}
	if err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

// goOnWithout gives up a suspension: what was saved is not the guest's memory any more as soon as that goes on.
func (m *machine) goOnWithout(ctx context.Context) error {
	if m.Pending == nil {
		return nil // nothing was begun
	}
	if err := m.forgetMemory(m.Pending.Memory); err != nil {
		return err
	}
	if err := m.goOn(ctx); err != nil {
		return err
	}
	return m.abandon()
}

// abandon forgets a journaled change that has changed nothing but memory's files.
func (m *machine) abandon() error {
	m.Pending = nil
	if err := m.save(); err != nil {
		return err
	}
	m.sweepMemory()
	return nil
}

// goOn makes a guest that is stopped go on, if its process is there. It does not end with ctx: nobody else would do it.
func (m *machine) goOn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), qmpTimeout)
	defer cancel()
	for {
		p, err := findProcess(ctx, m.dir)
		if err != nil || p.pid == 0 {
			return err
		}
		if err = m.tryGoOn(ctx); err == nil {
			return nil
		}
		// A migration that was given up may take a moment to end.
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("making the guest go on: %w", err)
		}
	}
}

func (m *machine) tryGoOn(ctx context.Context) error {
	q, err := openSession(ctx, m.dir)
	if err != nil {
		return err
	}
	defer q.close()
	status, err := q.status(ctx)
	if err != nil || status == "running" {
		return err
	}
	if status == "finish-migrate" {
		_ = q.do(ctx, "migrate_cancel", nil, nil)
	}
	return q.do(ctx, "cont", nil, nil)
}

// recoverSuspend keeps memory that is whole, if the guest did not go on since, and otherwise makes the guest go on.
func (m *machine) recoverSuspend(ctx context.Context) error {
	whole := m.memoryWhole(m.Pending.Memory)
	p, err := findProcess(ctx, m.dir)
	switch {
	case err != nil:
		return err
	case !whole:
		return m.goOnWithout(ctx)
	case p.pid == 0:
		return m.finish()
	}
	return m.endSuspended(ctx, p.pid)
}
