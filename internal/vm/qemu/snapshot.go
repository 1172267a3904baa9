package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// CreateSnapshot freezes the active layer as snapshot id and puts a new, empty one on it. On a running machine QEMU
// switches to the new layer inside freeze, and its memory is saved if o asks for it.
func (d *Driver) CreateSnapshot(ctx context.Context, name, id string, o vm.SnapshotOptions) error {
	m, unlock, err := d.openForSnapshot(ctx, name, "snapshot", id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.free(id); err != nil {
		return fmt.Errorf("taking snapshot %q of %q: %w", id, name, err)
	}
	p, err := findProcess(ctx, m.dir)
	if err == nil && p.pid != 0 {
		if o.Memory {
			err = m.stackWarm(ctx, p, id, o.Freeze)
		} else {
			err = m.stackLive(ctx, id, o.Freeze)
		}
	} else if err == nil {
		err = m.stack(ctx, m.Disk.Active, id)
	}
	if err != nil {
		return fmt.Errorf("taking snapshot %q of %q: %w", id, name, err)
	}
	return nil
}

// Restore puts a new layer on snapshot id and makes it active. What was active becomes snapshot undo.
func (d *Driver) Restore(ctx context.Context, name, id, undo string) error {
	m, unlock, err := d.openForSnapshot(ctx, name, "rollback", id, undo)
	if err != nil {
		return err
	}
	defer unlock()
	target, err := m.Disk.find(id)
	if err == nil {
		err = m.free(undo)
	}
	if err == nil {
		err = m.mustBeStopped(ctx)
	}
	if err == nil {
		err = m.stack(ctx, target.Layer, undo)
	}
	if err != nil {
		return fmt.Errorf("rolling %q back to snapshot %q: %w", name, id, err)
	}
	return nil
}

// DeleteSnapshot forgets a snapshot, deletes layers nothing needs any more, and merges what only one other layer needs
// into that.
func (d *Driver) DeleteSnapshot(ctx context.Context, name, id string) error {
	m, unlock, err := d.openForSnapshot(ctx, name, "snapshot delete", id)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := m.Disk.find(id); err != nil {
		return fmt.Errorf("deleting snapshot of %q: %w", name, err)
	}
	next := m.Disk.forget(id)
	err = m.drop(next.sweep(), next)
	if err == nil {
		err = m.mergeHidden(ctx)
	}
	if err != nil {
		return fmt.Errorf("deleting snapshot %q of %q: %w", id, name, err)
	}
	return nil
}

// Snapshots lists a machine's snapshots, oldest first.
func (d *Driver) Snapshots(_ context.Context, name string) ([]vm.Snapshot, error) {
	r, err := d.readRecord(name)
	if err != nil {
		return nil, err
	}
	var all []vm.Snapshot
	for _, s := range r.Disk.Snapshots {
		// Deleting it frees the layers that then nobody needs; of one that only one other layer needs, what that holds anew:
		// they are merged.
		freed, rest := int64(0), r.Disk.forget(s.ID)
		for _, m := range rest.merges() {
			if m.Hidden != s.Layer {
				continue
			}
			dir := d.machineDir(name)
			if n, err := covered(filepath.Join(dir, layerFile(m.Hidden)), filepath.Join(dir, layerFile(m.Child))); err == nil {
				freed += n
			}
		}
		for _, id := range rest.sweep() {
			freed += diskUse(filepath.Join(d.machineDir(name), layerFile(id)))
		}
		kept := rest.memories()
		for _, id := range r.Disk.memories() {
			if !slices.Contains(kept, id) {
				freed += memoryUse(d.machineDir(name), id)
			}
		}
		warm := r.Disk.Layers[s.Layer].Memory != ""
		all = append(all, vm.Snapshot{ID: s.ID, Created: s.Created, SizeBytes: freed, Memory: warm})
	}
	return all, nil
}

func (d *Driver) openForSnapshot(ctx context.Context, name, op string, ids ...string) (*machine, func(), error) {
	for _, id := range ids {
		if err := vm.ValidSnapshotID(id); err != nil {
			return nil, nil, err
		}
	}
	return d.open(ctx, name, op)
}

// free tells whether a snapshot identifier can be given.
func (m *machine) free(id string) error {
	if _, err := m.Disk.find(id); err == nil {
		return hint.Errorf("Choose another name.", "there is a snapshot %q already", id)
	}
	return nil
}

// stack puts a new layer on parent in a stopped machine; what was active becomes snapshot keep.
func (m *machine) stack(ctx context.Context, parent, keep string) error {
	id, err := m.beginStack(ctx, parent, keep)
	if err != nil {
		return errors.Join(err, m.undoStack())
	}
	if err := m.d.fault("stack:layered " + id); err != nil {
		return err
	}
	return m.finish()
}

// stackLive does it in a running one: the layer is made first, and QEMU told to go on in it while the guest is frozen.
func (m *machine) stackLive(ctx context.Context, keep string, freeze vm.Freezer) error {
	id, err := m.beginStack(ctx, m.Disk.Active, keep)
	if err != nil {
		return errors.Join(err, m.undoStack())
	}
	switched := false
	do := func() error {
		if switched {
			return errors.New("the snapshot is taken already")
		}
		err := qmp(ctx, m.dir, "blockdev-snapshot-sync", switchTo(id), nil)
		// A refusal is certain. After any other error only QEMU knows.
		var refused *qmpError
		switched = err == nil || !errors.As(err, &refused)
		return err
	}
	if freeze == nil {
		err = do()
	} else {
		err = freeze(ctx, do)
	}
	if faultErr := m.d.fault("stack:switched " + id); faultErr != nil {
		return faultErr
	}
	switch {
	case err == nil && !switched:
		err = errors.New("the guest was frozen for nothing")
		fallthrough
	case !switched:
		return errors.Join(err, m.undoStack())
	case err != nil:
		return errors.Join(err, m.recover(context.WithoutCancel(ctx)))
	}
	return m.finish()
}

// switchTo is what blockdev-snapshot-sync is told to make QEMU go on in a layer that was made for it.
func switchTo(id string) map[string]any {
	return map[string]any{"device": "disk", "snapshot-file": layerFile(id), "format": "qcow2", "mode": "existing"}
}

// beginStack journals the change and makes the new layer's file.
func (m *machine) beginStack(ctx context.Context, parent, keep string) (string, error) {
	return m.beginStackWith(ctx, parent, keep, "")
}

// beginStackWith does it for a snapshot of a running machine whose memory is to be saved under an identifier.
func (m *machine) beginStackWith(ctx context.Context, parent, keep, memory string) (string, error) {
	if err := needSpace(m.dir, machineSpace, "making room for another layer"); err != nil {
		return "", err
	}
	id := newLayerID()
	next := m.Disk.stack(id, parent, keep, time.Now().UTC())
	if memory != "" {
		next = next.withMemory(m.Disk.Active, memory)
	}
	if err := m.begin(pending{Op: opStack, New: id, Next: next, Memory: memory}); err != nil {
		return "", err
	}
	return id, m.newLayer(ctx, id, parent, "")
}

// undoStack forgets a change whose new layer nothing has written to.
func (m *machine) undoStack() error {
	if m.Pending == nil {
		return nil
	}
	if err := m.removeLayer(m.Pending.New); err != nil {
		return err
	}
	return m.abandon()
}

// begin journals a change. From here to finish a crash is undone or finished by recover.
func (m *machine) begin(p pending) error {
	m.Pending = &p
	if err := m.save(); err != nil {
		m.Pending = nil
		return err
	}
	return m.d.fault(p.Op + ":journaled")
}

// finish makes the tree a journaled change leads to the machine's.
func (m *machine) finish() error {
	next := m.Pending.Next
	if err := m.withReserve(func() error { return m.become(next) }); err != nil {
		return err
	}
	return m.d.fault("finished")
}

// become records a tree, and that no change is pending.
func (m *machine) become(next tree) error {
	m.Disk, m.Pending = next, nil
	if err := m.save(); err != nil {
		return err
	}
	m.sweepMemory()
	m.keepReserve()
	return nil
}

// drop deletes layers and makes next the tree.
func (m *machine) drop(layers []string, next tree) error {
	if len(layers) == 0 {
		return m.withReserve(func() error { return m.become(next) })
	}
	err := m.withReserve(func() error {
		return m.begin(pending{Op: opDrop, Drop: layers, Next: next.without(layers)})
	})
	if err != nil {
		return err
	}
	return m.finishDrop()
}

func (m *machine) finishDrop() error {
	for _, id := range m.Pending.Drop {
		if err := m.removeLayer(id); err != nil {
			return err
		}
		if err := m.d.fault("drop:removed"); err != nil {
			return err
		}
	}
	return m.finish()
}

// newLayer makes an empty layer on parent. size is needed on the base image only; other layers have their parent's.
func (m *machine) newLayer(ctx context.Context, id, parent, size string) error {
	argv := []string{"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backingName(parent), layerFile(id)}
	if size != "" {
		argv = append(argv, size)
	}
	if _, err := m.acc.run(ctx, m.dir, argv...); err != nil {
		return fmt.Errorf("making a disk layer: %w", err)
	}
	return m.syncLayer(id)
}

func (m *machine) syncLayer(id string) error {
	if err := syncRegular(filepath.Join(m.dir, layerFile(id))); err != nil {
		return fmt.Errorf("writing a disk layer: %w", err)
	}
	return syncDir(filepath.Join(m.dir, layersDir))
}

func (m *machine) removeLayer(id string) error {
	if id == m.Disk.Active || slices.Contains(m.Disk.chain(), id) {
		return fmt.Errorf("removing disk layer %s: the disk needs it", id)
	}
	err := os.Remove(filepath.Join(m.dir, layerFile(id)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
