package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// CreateSnapshot implements vm.Snapshotter.
func (m *Memory) CreateSnapshot(ctx context.Context, name, id string, o vm.SnapshotOptions) error {
	w := m.w
	if err := vm.ValidSnapshotID(id); err != nil {
		return err
	}
	release, err := w.change(ctx, "CreateSnapshot", name)
	if err != nil {
		return fmt.Errorf("taking snapshot of %q: %w", name, err)
	}
	defer release()
	mc, err := w.canSnapshot(name, id, o)
	if err != nil {
		return fmt.Errorf("taking snapshot of %q: %w", name, err)
	}
	running, memory := w.memoryNow(mc, o)
	taken := false
	take := func() error {
		taken = true
		// A guest may have removed its home directory altogether; an empty disk is a disk.
		if err := os.MkdirAll(w.home(name), 0o700); err != nil {
			return err
		}
		err := copyTree(w.home(name), w.snap(name, id))
		if err == nil && memory != nil {
			err = copyTree(w.ram(name), w.snapRAM(name, id))
		}
		return err
	}
	if running && o.Freeze != nil {
		if err = o.Freeze(ctx, take); err == nil && !taken {
			err = errNoFreeze
		}
	} else {
		err = take()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("taking snapshot of %q: %w", name, err), w.removeSnapshot(name, id))
	}
	w.record(mc, id, memory)
	return nil
}

// canSnapshot returns the named machine unless it cannot be snapshotted so.
func (w *world) canSnapshot(name, id string, o vm.SnapshotOptions) (*machine, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mc, err := w.find(name)
	if err != nil {
		return nil, err
	}
	if running := mc.run != nil; running && (!w.caps.LiveSnapshot || o.Memory && !w.caps.LiveWarmSnapshot) {
		return nil, vm.ErrRunning
	} else if warm := w.warmth(mc); running && o.Memory && !warm.OK {
		return nil, noMemory(warm)
	}
	if mc.has(id) {
		return nil, fmt.Errorf("snapshot %q exists already", id)
	}
	return mc, nil
}

// removeSnapshot removes a snapshot's content.
func (w *world) removeSnapshot(name, id string) error {
	return errors.Join(os.RemoveAll(w.snap(name, id)), os.RemoveAll(w.snapRAM(name, id)))
}

func (mc *machine) has(id string) bool {
	return slices.ContainsFunc(mc.snaps, func(s vm.Snapshot) bool { return s.ID == id })
}

// record lists a snapshot whose content is there; memory is nil for one of a disk alone.
func (w *world) record(mc *machine, id string, memory *keys) {
	size := treeSize(w.snap(mc.spec.Name, id)) + treeSize(w.snapRAM(mc.spec.Name, id))
	w.mu.Lock()
	defer w.mu.Unlock()
	if memory != nil {
		mc.kept[id] = memory
	}
	mc.snaps = append(mc.snaps, vm.Snapshot{ID: id, Created: time.Now(), SizeBytes: size, Memory: memory != nil})
}

// Snapshots implements vm.Snapshotter.
func (m *Memory) Snapshots(ctx context.Context, name string) ([]vm.Snapshot, error) {
	if err := m.w.begin(ctx, "Snapshots", ""); err != nil {
		return nil, err
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	mc, err := m.w.find(name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(mc.snaps), nil
}

// Restore implements vm.Snapshotter.
func (m *Memory) Restore(ctx context.Context, name, id, undo string) error {
	w := m.w
	if err := errors.Join(vm.ValidSnapshotID(id), vm.ValidSnapshotID(undo)); err != nil {
		return err
	}
	release, err := w.change(ctx, "Restore", name)
	if err != nil {
		return fmt.Errorf("rolling back %q: %w", name, err)
	}
	defer release()
	mc, err := w.stopped(name)
	switch {
	case err != nil:
	case !mc.has(id):
		err = fmt.Errorf("%w: %q", vm.ErrNoSnapshot, id)
	case mc.has(undo):
		err = fmt.Errorf("snapshot %q exists already", undo)
	}
	if err != nil {
		return fmt.Errorf("rolling back %q: %w", name, err)
	}
	err = swapTree(w.snap(name, id), w.home(name), w.snap(name, undo))
	if err == nil && (mc.saved != nil || mc.kept[id] != nil) {
		err = w.swapRAM(mc, id, undo)
	}
	if err != nil {
		return fmt.Errorf("rolling back %q: %w", name, err)
	}
	w.record(mc, undo, mc.saved)
	w.mu.Lock()
	defer w.mu.Unlock()
	mc.saved = mc.kept[id]
	return nil
}

// swapTree puts a copy of a directory in the place of another, which gets a new name.
func swapTree(from, at, aside string) error {
	next := at + ".next"
	err := copyTree(from, next)
	if err == nil {
		err = os.MkdirAll(at, 0o700)
	}
	if err == nil {
		err = os.Rename(at, aside)
	}
	if err == nil {
		err = os.Rename(next, at)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(next))
	}
	return nil
}

// DeleteSnapshot implements vm.Snapshotter.
func (m *Memory) DeleteSnapshot(ctx context.Context, name, id string) error {
	w := m.w
	if err := vm.ValidSnapshotID(id); err != nil {
		return err
	}
	release, err := w.change(ctx, "DeleteSnapshot", name)
	if err != nil {
		return fmt.Errorf("deleting snapshot of %q: %w", name, err)
	}
	defer release()
	w.mu.Lock()
	mc, err := w.find(name)
	if err == nil && !mc.has(id) {
		err = fmt.Errorf("%w: %q", vm.ErrNoSnapshot, id)
	}
	if err == nil {
		mc.snaps = slices.DeleteFunc(mc.snaps, func(s vm.Snapshot) bool { return s.ID == id })
		delete(mc.kept, id)
	}
	w.mu.Unlock()
	if err == nil {
		err = w.removeSnapshot(name, id)
	}
	if err != nil {
		return fmt.Errorf("deleting snapshot of %q: %w", name, err)
	}
	return nil
}

// Recover implements vm.Snapshotter: nothing of a Memory outlives a crash.
func (m *Memory) Recover(ctx context.Context, name string) error {
	if err := vm.ValidName(name); err != nil {
		return err
	}
	return m.w.begin(ctx, "Recover", name)
}

// copyTree copies directories, regular files and links with their modes; sockets and the like are no part of a disk.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(target, info.Mode().Perm()|0o700)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case d.Type().IsRegular():
			return copyFile(p, target, info)
		}
		return nil
	})
}

func copyFile(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

// treeSize sums the sizes of the regular files below root, as far as they can be read.
func treeSize(root string) (sum int64) {
	_ = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

var errNoFreeze = errors.New("file systems were not frozen")
