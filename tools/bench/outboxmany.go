package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// manyRuns is how often nothing, and one file, has changed.
const manyRuns = 3

// again is one way to bring in what has been brought in before.
type again struct {
	name string
	dest string
	run  func(ctx context.Context, dest string, changed int) (seconds float64, err error)
	took [2][]float64 // where nothing has changed, and one file
}

// many brings in what has been brought in before: nothing has changed, then one file has. From a guest that is looked after
// ours has no connection to make; so it is measured with one of its own as well, and beside a peer that has none to make.
func (o *outboxBench) many(ctx context.Context) (err error) {
	dir := o.source + "/many"
	rsync := o.copiers()[0]
	ours := func(lent string) func(context.Context, string, int) (float64, error) {
		return func(ctx context.Context, dest string, changed int) (float64, error) {
			r, err := o.bringOver(ctx, lent, dir, dest)
			if first := r.answer.Landed == treeFiles; err == nil && !first && r.answer.Landed != changed {
				err = fmt.Errorf("%d files have landed, not the %d that changed", r.answer.Landed, changed)
			}
			return r.seconds, err
		}
	}
	theirs := func(c copier) func(context.Context, string, int) (float64, error) {
		return func(ctx context.Context, dest string, _ int) (float64, error) {
			cmd, err := c.run(ctx, dir, dest)
			if err != nil {
				return 0, err
			}
			return copied(cmd)
		}
	}
	ways := []*again{{name: "", run: ours(o.lent)}, {name: rsync.name, run: theirs(rsync)}}
	if o.lent != "" {
		master, end, err := o.master(ctx)
		if err != nil {
			return err
		}
		defer end()
		ways = append(ways, &again{name: "own", run: ours("")}, &again{name: "rsync over a ControlMaster", run: theirs(master)})
	}
	for _, w := range ways {
		if w.dest, err = o.fresh(); err != nil {
			return err
		}
		if _, err := w.run(ctx, w.dest, 0); err != nil {
			return err
		}
	}
	for i := range manyRuns {
		for changed := range 2 {
			if changed == 1 {
				if _, err := o.peer.output(ctx, fmt.Sprintf("echo %d >>%s/50/file.aa; sleep 0.1", i, dir)); err != nil {
					return err
				}
			}
			for _, w := range ways {
				s, err := w.run(ctx, w.dest, changed)
				if err != nil {
					return err
				}
				w.took[changed] = append(w.took[changed], s)
				o.b.progress("%d files, %d changed, %s, %s: %.2f s", treeFiles, changed, o.where, w.name, s)
			}
		}
	}
	for changed, what := range []string{"none changed", "one changed"} {
		figure := func(ours, peer *again, name, note string, target *Target) {
			o.b.add(Figure{
				Name: fmt.Sprintf("%d files, %s, %s%s", treeFiles, what, o.where, name), Value: median(ours.took[changed]), Unit: "s",
				Target: target, Note: spread(ours.took[changed]) + "; peer " + spread(peer.took[changed]) + "; " + note,
			}.against(peer.name, median(peer.took[changed])))
		}
		figure(ways[0], ways[1], "", o.connecting(), &Target{Max: 0.5, OfRatio: true})
		if o.lent != "" {
			figure(ways[0], ways[3], "", "a new process each; neither connects", nil)
			figure(ways[2], ways[1], ", not looked after", "a new process and connection each", nil)
		}
	}
	return nil
}

// master is rsync over a connection that OpenSSH keeps, until end is called.
func (o *outboxBench) master(ctx context.Context) (c copier, end func(), err error) {
	kept := *o
	kept.peer.args = append([]string{"-o", "ControlPath=" + filepath.Join(o.dir, "master")}, o.peer.args...)
	m := kept.peer.command(ctx, []string{"-M", "-N"})
	if err := m.Start(); err != nil {
		return copier{}, nil, fmt.Errorf("keeping a connection by OpenSSH: %w", err)
	}
	end = func() {
		_ = m.Cancel()
		_ = m.Wait() // it was interrupted
	}
	for range 100 {
		if out, err := kept.peer.command(ctx, []string{"-O", "check"}).CombinedOutput(); err == nil &&
			strings.Contains(string(out), "running") {
			return kept.copiers()[0], end, nil
		}
		if err := wait(ctx, settling/100); err != nil {
			end()
			return copier{}, nil, err
		}
	}
	end()
	return copier{}, nil, errors.New("keeping a connection by OpenSSH: it does not come about")
}
