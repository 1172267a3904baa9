package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// peers measures what one would use without CALMenu, on a copy of the same guest: a copy of the disk's file, QEMU's
// snapshots of a stopped machine's disk, and its snapshots with memory.
func (s *snapshotBench) peers(ctx context.Context) (err error) {
	if _, _, err := s.c.run(ctx, "start", s.main.name); err != nil { // pauses may have failed
		return err
	}
	p, err := s.c.plainLike(ctx, s.main)
	if err != nil {
		return err
	}
	for i := 0; s.again(i); i++ {
		if err := s.copyDisk(ctx, p.disk()); err != nil {
			return err
		}
	}
	for i := 0; s.again(i); i++ {
		if err := s.peerCold(ctx, p); err != nil {
			return err
		}
	}
	r, err := p.start(ctx)
	if err != nil {
		return err
	}
	defer r.stop()
	for _, target := range []int{littleMemory, muchMemory} {
		if err := s.peerWarm(ctx, r, target); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshotBench) copyDisk(ctx context.Context, disk string) error {
	began := time.Now()
	to := filepath.Join(filepath.Dir(disk), "copy.qcow2")
	out, err := exec.CommandContext(ctx, "cp", "--sparse=always", disk, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copying a disk: %w: %s", err, lastLines(string(out), 3))
	}
	s.got.copied = append(s.got.copied, time.Since(began).Seconds())
	size, err := diskUse(to)
	if err != nil {
		return err
	}
	s.got.copySize = append(s.got.copySize, mib(size))
	return os.Remove(to)
}

// peerCold has qemu-img take a snapshot of the stopped machine, go back to it, and boots.
func (s *snapshotBench) peerCold(ctx context.Context, p *plain) error {
	began := time.Now()
	if err := qemuImg(ctx, "snapshot", "-c", "bench", p.disk()); err != nil {
		return err
	}
	s.got.qemuImg = append(s.got.qemuImg, time.Since(began).Seconds())
	began = time.Now()
	if err := qemuImg(ctx, "snapshot", "-a", "bench", p.disk()); err != nil {
		return err
	}
	r, err := p.start(ctx)
	if err != nil {
		return err
	}
	defer r.stop()
	s.got.qemuImgBoot = append(s.got.qemuImgBoot, time.Since(began).Seconds())
	s.b.progress("qemu-img snapshot: taken in %.2f s, back at a prompt in %.1f s", last(s.got.qemuImg), last(s.got.qemuImgBoot))
	if err := r.powerOff(ctx); err != nil {
		return err
	}
	return qemuImg(ctx, "snapshot", "-d", "bench", p.disk())
}

// peerWarm has QEMU save its machine into the disk's file, and load it again.
func (s *snapshotBench) peerWarm(ctx context.Context, r *running, target int) error {
	if _, err := r.guest.fillMemory(ctx, target); err != nil {
		return err
	}
	of := &saved{target: target}
	s.got.saved = append(s.got.saved, of)
	for i := 0; s.again(i); i++ {
		if err := s.saveAndLoad(ctx, r, of); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshotBench) saveAndLoad(ctx context.Context, r *running, of *saved) error {
	t, err := startHeartbeat(r.guest.command(ctx, []string{"-T"}, ticking))
	if err != nil {
		return err
	}
	var took time.Duration
	stood, _, err := t.pauseOf(ctx, func() error {
		began := time.Now()
		err := r.human("savevm bench")
		took = time.Since(began)
		return err
	})
	t.stop()
	if err != nil {
		return err
	}
	answer, err := r.command("query-block", nil)
	if err != nil {
		return err
	}
	size, err := savedSize(answer)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.human("loadvm bench"); err != nil {
		return err
	}
	if _, err := r.guest.output(ctx, "cat "+bootIDFile); err != nil {
		return err
	}
	of.add(stood.Seconds(), took.Seconds(), time.Since(began).Seconds(), mib(size))
	s.b.progress("savevm with %d MiB in use: %.2f s, pause %.2f s; loadvm to a prompt %.2f s", of.target, took.Seconds(),
		stood.Seconds(), last(of.load))
	return r.human("delvm bench")
}

func last(values []float64) float64 { return values[len(values)-1] }
