package qemu

import (
	"context"
	"errors"

	"github.com/calmenu/calmenu/internal/vm"
)

// stackWarm puts a new layer on a running machine's disk as stackLive does, and saves the memory of the same instant:
// the layer that becomes snapshot keep gets it. The guest runs while the memory is copied first; it is stopped only
// while what it changed since is copied after.
func (m *machine) stackWarm(ctx context.Context, p process, keep string, freeze vm.Freezer) error {
	s, err := m.newSaver(p)
	if err != nil {
		return err
	}
	defer s.close()
	id, err := m.beginWarm(ctx, s, keep)
	if err != nil {
		return errors.Join(err, m.undoStack())
	}
	w := &warmInstant{m: m, s: s, layer: id}
	do := func() error { return w.take(ctx) }
	if err = m.precopy(ctx, s); err == nil {
		if freeze == nil {
			err = do()
		} else {
			err = freeze(ctx, do)
		}
	}
	if err == nil && w.version == "" {
		err = errors.New("the snapshot was not taken")
	}
	if err == nil {
		err = s.finish(w.version, true)
	}
	if err == nil {
		err = m.d.fault("warm:described")
	}
	switch {
	case err == nil:
		return m.finish()
	case !w.switched:
		return errors.Join(err, m.goOn(ctx), m.undoStack())
	}
	// The disk is in its new layer for good. Without the memory that was asked for there is no snapshot of it.
	return errors.Join(err, m.forgetMemory(s.id), m.recover(context.WithoutCancel(ctx)))
}

// beginWarm journals the snapshot and makes its files.
func (m *machine) beginWarm(ctx context.Context, s *saver, keep string) (string, error) {
	id, err := m.beginStackWith(ctx, m.Disk.Active, keep, s.id)
	if err == nil {
		err = noSpace(s.create())
	}
	return id, err
}

func (m *machine) precopy(ctx context.Context, s *saver) error {
	if err := m.d.fault("warm:created"); err != nil {
		return err
	}
	return s.copy(ctx)
}

// warmInstant is the part of a snapshot for which the guest is stopped.
type warmInstant struct {
	m        *machine
	s        *saver
	layer    string
	taken    bool
	switched bool   // QEMU writes to the new layer, or may
	version  string // QEMU's; empty unless all was saved
}

// take stops the guest, saves what it is, and makes it go on, whatever happens.
func (w *warmInstant) take(ctx context.Context) error {
	if w.taken {
		return errors.New("the snapshot is taken already")
	}
	w.taken = true
	if err := w.m.d.fault("warm:frozen"); err != nil {
		return err
	}
	q, err := w.m.stopGuest(ctx)
	if err == nil {
		err = w.save(ctx, q)
		q.close()
	}
	// Also after an error of stopping: the guest may be stopped all the same.
	if goErr := w.m.goOn(ctx); goErr != nil {
		return errors.Join(err, goErr)
	}
	if err == nil {
		err = w.m.d.fault("warm:continued")
	}
	return err
}

func (w *warmInstant) save(ctx context.Context, q *session) error {
	steps := []struct {
		name string
		do   func() error
	}{
		// The memory first, as QEMU itself does it.
		{"warm:stopped", func() error { return w.s.copy(ctx) }},
		{"warm:copied", func() error { return w.switchLayer(ctx, q) }},
		{"warm:switched", func() error { return noSpace(q.saveState(ctx, w.s.state)) }},
	}
	for _, step := range steps {
		if err := w.m.d.fault(step.name); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return err
		}
	}
	if err := w.m.d.fault("warm:saved"); err != nil {
		return err
	}
	w.version = q.version
	return q.do(ctx, "cont", nil, nil)
}

func (w *warmInstant) switchLayer(ctx context.Context, q *session) error {
	err := q.do(ctx, "blockdev-snapshot-sync", switchTo(w.layer), nil)
	var refused *qmpError
	w.switched = err == nil || !errors.As(err, &refused)
	return err
}

// finishStack makes a journaled new layer the machine's. A snapshot that was to have memory and has none is none: its
// layer is left to be merged.
func (m *machine) finishStack() error {
	if id := m.Pending.Memory; id != "" && !m.memoryWhole(id) {
		for _, s := range m.Pending.Next.Snapshots {
			if m.Pending.Next.Layers[s.Layer].Memory == id {
				m.Pending.Next = m.Pending.Next.forget(s.ID)
			}
		}
	}
	return m.finish()
}
