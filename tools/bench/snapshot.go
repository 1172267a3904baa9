package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// snapshotMemory and snapshotDisk are the guest's, in MiB and GiB, where they are not what is varied.
	snapshotMemory = 2048
	snapshotDisk   = 8
	// littleMemory and muchMemory are how much of it is in use while pauses are measured, and rewritten how much of that
	// a program changes all the time, in MiB.
	littleMemory = 128
	muchMemory   = 1024
	rewritten    = 256
)

// snapshotParts is what there is to measure, in order, and by when after the group's beginning a part is to be over: it
// then measures everything once more than not at all, but no more often.
var snapshotParts = []struct {
	name string
	by   time.Duration
	run  func(s *snapshotBench, ctx context.Context) error
}{
	{"rollback", 4 * time.Minute, (*snapshotBench).rollbacks},
	{"new from a template", 5 * time.Minute, (*snapshotBench).fresh},
	{"pause", 7 * time.Minute, (*snapshotBench).pauses},
	{"QEMU's own snapshots", 9 * time.Minute, (*snapshotBench).peers},
	{"preview", 9*time.Minute + 40*time.Second, (*snapshotBench).previews},
	{"size of the disk", 12 * time.Minute, (*snapshotBench).sizes},
}

// snapshotBench is a run of the group.
type snapshotBench struct {
	b    *bench
	c    *cal
	main workspace
	made []string
	by   time.Time // when the running part is to be over
	got  snapshotResults
}

// snapshots measures what a snapshot costs the guest and its host, and how soon a rollback is over: beside a cold boot
// by the same program, beside QEMU's own snapshots, and with disks of several sizes. A part that fails takes none of the
// others with it.
func snapshots(ctx context.Context, b *bench) (err error) {
	c, err := newCAL(b)
	if err != nil {
		return err
	}
	s := &snapshotBench{b: b, c: c}
	defer func() { err = errors.Join(err, c.remove(s.made...)) }()
	began := time.Now()
	if err := s.begin(ctx); err != nil {
		return err
	}
	var failed []error
	for _, part := range snapshotParts {
		s.by = began.Add(part.by)
		b.progress("%s, until %s", part.name, s.by.Format(time.TimeOnly))
		if err := part.run(s, ctx); err != nil {
			b.progress("%s: %v", part.name, err)
			failed = append(failed, fmt.Errorf("%s: %w", part.name, err))
		}
		if ctx.Err() != nil {
			failed = append(failed, context.Cause(ctx))
			break
		}
	}
	for _, f := range s.got.figures() {
		b.add(f)
	}
	return errors.Join(failed...)
}

// again tells whether a part has the time to do what it does once more.
func (s *snapshotBench) again(done int) bool {
	return done == 0 || done < s.b.runs && time.Now().Before(s.by)
}

// make makes a workspace, which is deleted in the end.
func (s *snapshotBench) make(ctx context.Context, name string, disk, memory int) (workspace, error) {
	s.made = append(s.made, name)
	return s.c.newWorkspace(ctx, name, disk, memory)
}

// begin makes the workspace most is measured on, and the configuration for ssh.
func (s *snapshotBench) begin(ctx context.Context) (err error) {
	s.b.progress("making a workspace (its base image too, if that is missing)")
	if s.main, err = s.make(ctx, fast, snapshotDisk, snapshotMemory); err != nil {
		return err
	}
	if _, _, err := s.c.run(ctx, "start", s.main.name); err != nil {
		return err
	}
	if _, _, err := s.c.run(ctx, "ssh-config"); err != nil {
		return err
	}
	guest, err := s.c.openSSH(ctx, s.main.name)
	if err != nil {
		return err
	}
	s.got.accelerator = accelerator(guest.evidence)
	_, err = s.main.mark(ctx, markKept)
	return err
}

// rollbacks measures cold boots, snapshots of both kinds and rollbacks to them, in turns.
func (s *snapshotBench) rollbacks(ctx context.Context) error {
	for i := 0; s.again(i); i++ {
		if err := s.boot(ctx); err != nil {
			return err
		}
		for _, kind := range []string{warm, cold} {
			if err := s.takeAndRollBack(ctx, kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// boot measures a cold boot, and a cold snapshot of the stopped machine before it.
func (s *snapshotBench) boot(ctx context.Context) error {
	w := s.main
	if _, _, err := s.c.run(ctx, "stop", w.name); err != nil {
		return err
	}
	t, err := w.take(ctx, cold)
	if err != nil {
		return err
	}
	s.got.stopped = append(s.got.stopped, t.seconds)
	if err := w.forget(ctx, t); err != nil {
		return err
	}
	prompt, _, err := w.usable(ctx, "start", w.name)
	if err != nil {
		return err
	}
	first, err := w.untilSSH(ctx, "start")
	if err != nil {
		return err
	}
	if err := s.c.wasResumed(ctx, w.name, false); err != nil {
		return err
	}
	s.got.boot.add(prompt, first)
	s.b.progress("cold boot: %.1f s to a prompt, %.1f s to SSH; a cold snapshot before it %.2f s", prompt, first, t.seconds)
	return nil
}

func (s *snapshotBench) takeAndRollBack(ctx context.Context, kind string) error {
	w := s.main
	t, err := w.take(ctx, kind)
	if err != nil {
		return err
	}
	prompt, err := w.rollback(ctx, t)
	if err != nil {
		return err
	}
	first, err := w.untilSSH(ctx, "rollback")
	if err != nil {
		return err
	}
	s.b.progress("%s: taken in %.2f s, %.1f MiB; rolled back in %.1f s to a prompt, %.1f s to SSH", kind, t.seconds,
		mib(t.size), prompt, first)
	s.got.kind(kind).add(t, prompt, first)
	return w.forget(ctx, t)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// pauses measures how long the guest stands still for a warm snapshot, after a boot that leaves little in its memory,
// then with more in use, then with a part of that changing all the time.
func (s *snapshotBench) pauses(ctx context.Context) error {
	for _, verb := range []string{"stop", "start"} {
		if _, _, err := s.c.run(ctx, verb, s.main.name); err != nil {
			return err
		}
	}
	guest, err := s.c.openSSH(ctx, s.main.name)
	if err != nil {
		return err
	}
	for _, target := range []int{littleMemory, muchMemory} {
		used, err := guest.fillMemory(ctx, target)
		if err != nil {
			return err
		}
		p := &pause{target: target, used: used}
		s.got.pauses = append(s.got.pauses, p)
		if err := s.pause(ctx, guest, p); err != nil {
			return err
		}
	}
	stop, err := guest.rewrite(ctx, rewritten)
	if err != nil {
		return err
	}
	defer stop()
	s.got.busy = &pause{target: muchMemory, changing: rewritten}
	return s.pause(ctx, guest, s.got.busy)
}

func (s *snapshotBench) pause(ctx context.Context, guest sshPeer, p *pause) error {
	t, err := startHeartbeat(guest.command(ctx, []string{"-T"}, ticking))
	if err != nil {
		return err
	}
	defer t.stop()
	for i := 0; s.again(i); i++ {
		var got taken
		stood, mood, err := t.pauseOf(ctx, func() (err error) {
			got, err = s.main.take(ctx, warm)
			return err
		})
		if err != nil {
			return err
		}
		p.add(stood, mood, got.seconds, got.size)
		s.b.progress("pause with %s: %.3f s (%.3f s without a snapshot), of %.2f s; %.1f MiB", p, stood.Seconds(),
			mood.Seconds(), got.seconds, mib(got.size))
		if err := s.main.forget(ctx, got); err != nil {
			return err
		}
	}
	return nil
}
