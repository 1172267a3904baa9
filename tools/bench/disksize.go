package main

import (
	"context"
	"fmt"
	"strings"
)

// disksCompared are the disks of the guests whose snapshots are compared: the first, which the others are put beside, is
// the smallest a workspace may have.
var disksCompared = []disk{{gib: 4}, {gib: 8}, {gib: 32}, {gib: 8, data: 1024}}

// comparedMemory is what these guests have, in MiB. They run at the same time.
const comparedMemory = 1024

// sizes measures snapshots of guests that differ in their disks alone, which run side by side and are measured in turns.
func (s *snapshotBench) sizes(ctx context.Context) error {
	var all []workspace
	for _, of := range disksCompared {
		w, err := s.sized(ctx, of)
		if err != nil {
			return err
		}
		all = append(all, w)
		s.got.disks = append(s.got.disks, &diskCost{disk: of})
	}
	for i := 0; s.again(i); i++ {
		var said []string
		for n, w := range all {
			cost := s.got.disks[n]
			if err := cost.measure(ctx, w); err != nil {
				return fmt.Errorf("%s: %w", cost.disk, err)
			}
			said = append(said, fmt.Sprintf("%s: %.2f s, %.1f s", cost.disk, last(cost.create), last(cost.rollback)))
		}
		s.b.progress("cold snapshot and warm rollback with %s", strings.Join(said, "; "))
	}
	return nil
}

// sized makes and starts a workspace with a disk.
func (s *snapshotBench) sized(ctx context.Context, of disk) (workspace, error) {
	s.b.progress("making a workspace with a %s", of)
	w, err := s.make(ctx, fmt.Sprintf("bench-%d-%d", of.gib, of.data), of.gib, comparedMemory)
	if err != nil {
		return w, err
	}
	if _, _, err := s.c.run(ctx, "start", w.name); err != nil {
		return w, err
	}
	if of.data > 0 {
		if err := w.write(ctx, of.data); err != nil {
			return w, err
		}
	}
	_, err = w.mark(ctx, markKept)
	return w, err
}

// write puts data on the disk. What is cached of it goes with a boot: the guests' memory must not differ.
func (w workspace) write(ctx context.Context, mib int) error {
	if _, err := w.ssh(ctx, fmt.Sprintf("head -c %dM /dev/urandom >bench-data; sync", mib)); err != nil {
		return err
	}
	for _, verb := range []string{"stop", "start"} {
		if _, _, err := w.c.run(ctx, verb, w.name); err != nil {
			return err
		}
	}
	return nil
}

// measure takes a cold snapshot and a warm one, and goes back to that.
func (d *diskCost) measure(ctx context.Context, w workspace) error {
	t, err := w.take(ctx, cold)
	if err != nil {
		return err
	}
	if err := w.forget(ctx, t); err != nil {
		return err
	}
	d.create = append(d.create, t.seconds)
	if t, err = w.take(ctx, warm); err != nil {
		return err
	}
	prompt, err := w.rollback(ctx, t)
	if err != nil {
		return err
	}
	d.rollback = append(d.rollback, prompt)
	return w.forget(ctx, t)
}
