package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/calmenu/calmenu/internal/vm"
)

// mergeHidden moves the content of layers that no snapshot names any more into the only layer that needs them, so that
// chains stay short. A layer that a running machine has open, or a merge for which the disk has no room, waits for the
// next deletion: it costs space, not correctness.
func (m *machine) mergeHidden(ctx context.Context) error {
	p, err := findProcess(ctx, m.dir)
	if err != nil {
		return err
	}
	for {
		all := m.Disk.merges()
		if p.pid != 0 {
			open := m.Disk.chain()
			all = slices.DeleteFunc(all, func(c merge) bool { return slices.Contains(open, c.Child) })
		}
		if len(all) == 0 {
			return nil
		}
		err := m.merge(ctx, all[0])
		if errors.Is(err, vm.ErrNoSpace) || isFull(err) {
			return nil // what was begun is put right by whatever changes the machine next
		}
		if err != nil {
			return err
		}
	}
}

// hiddenLimit is how many layers that are only waiting to be merged a machine boots with: each costs a table look-up for
// every read that goes through it. Who resumes a machine waits for a second or two, not for a boot, so the merging is put
// off further then.
const (
	hiddenLimit       = 8
	hiddenResumeLimit = 64
)

// shorten merges what snapshots deleted from a running machine left, before its next start, once there is much of it. A
// merge that fails has changed nothing and keeps nobody from starting.
func (m *machine) shorten(ctx context.Context, o vm.StartOptions, p vm.Progress) error {
	limit := hiddenLimit
	if !o.Cold && m.Disk.Layers[m.Disk.Active].Memory != "" {
		limit = hiddenResumeLimit
	}
	if len(m.Disk.merges()) <= limit {
		return nil
	}
	p.Report(vm.Phase{Name: "merging the layers of deleted snapshots"})
	if err := m.mergeHidden(ctx); err != nil && (ctx.Err() != nil || m.Pending != nil) {
		return err
	}
	return nil
}

// mergeFile is where a child's next content is made.
func mergeFile(id string) string { return layersDir + "/" + id + ".merge" }

// merge builds the child's next content beside it, compares the two, and replaces one by the other in one rename.
func (m *machine) merge(ctx context.Context, c merge) error {
	size := diskUse(filepath.Join(m.dir, layerFile(c.Child))) + diskUse(filepath.Join(m.dir, layerFile(c.Hidden)))
	if err := needSpace(m.dir, uint64(size)+machineSpace, "merging disk layers"); err != nil {
		return err
	}
	if err := m.begin(pending{Op: opMerge, Merge: &c, Next: m.Disk.merged(c)}); err != nil {
		return err
	}
	if err := m.buildMerged(ctx, c); err != nil {
		return errors.Join(fmt.Errorf("merging disk layers: %w", err), m.recoverMerge())
	}
	if err := os.Rename(filepath.Join(m.dir, mergeFile(c.Child)), filepath.Join(m.dir, layerFile(c.Child))); err != nil {
		return errors.Join(err, m.recoverMerge())
	}
	if err := syncDir(filepath.Join(m.dir, layersDir)); err != nil {
		return err
	}
	if err := m.d.fault("merge:swapped"); err != nil {
		return err
	}
	return m.finishMerge()
}

func (m *machine) buildMerged(ctx context.Context, c merge) error {
	beside := mergeFile(c.Child)
	steps := [][]string{
		{"cp", "--sparse=always", "--reflink=auto", "--", layerFile(c.Child), beside},
		// In its safe mode, rebase copies into the file what its old backing files have and its new one has not.
		{"qemu-img", "rebase", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backingName(c.Onto), beside},
		{"qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", layerFile(c.Child), beside},
	}
	for _, argv := range steps {
		if _, err := m.acc.run(ctx, m.dir, argv...); err != nil {
			return err
		}
		if err := m.d.fault("merge:" + filepath.Base(argv[0]) + " " + argv[1]); err != nil {
			return err
		}
	}
	return syncRegular(filepath.Join(m.dir, beside))
}

// recoverMerge tells by the child's file whether the swap happened.
func (m *machine) recoverMerge() error {
	c := m.Pending.Merge
	if c == nil {
		return errors.New("the journal names no merge")
	}
	backing, err := backingFile(filepath.Join(m.dir, layerFile(c.Child)))
	if err != nil {
		return err
	}
	if backing == backingName(c.Onto) {
		return m.finishMerge()
	}
	if err := os.Remove(filepath.Join(m.dir, mergeFile(c.Child))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	m.Pending = nil
	return m.withReserve(m.save)
}

// finishMerge records the merged tree and deletes the file of the layer that went into another.
func (m *machine) finishMerge() error {
	hidden, next := m.Pending.Merge.Hidden, m.Pending.Next
	m.Disk = next
	err := m.withReserve(func() error { return m.begin(pending{Op: opDrop, Drop: []string{hidden}, Next: next}) })
	if err != nil {
		return err
	}
	return m.finishDrop()
}
