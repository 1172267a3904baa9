package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/qemu"
)

const freshName = "bench-fresh"

// fresh measures new workspaces that are made from a template, from CALMenu new to a prompt. Where there can be no
// template it says why, and measures nothing.
func (s *snapshotBench) fresh(ctx context.Context) error {
	ready, err := s.template(ctx)
	if err != nil || !ready {
		return err
	}
	s.made = append(s.made, freshName)
	for i := 0; s.again(i); i++ {
		err := s.newFromTemplate(ctx)
		// It must not run on beside what is measured next.
		_, _, gone := s.c.run(ctx, "delete", freshName, "--yes", "--discard-work")
		if err := errors.Join(err, gone); err != nil {
			return err
		}
	}
	s.made = s.made[:len(s.made)-1]
	return nil
}

// template makes the template for workspaces like the main one, unless it is there.
func (s *snapshotBench) template(ctx context.Context) (bool, error) {
	d := qemu.New(qemu.Options{Dir: s.c.machines(), Common: app.CommonFiles})
	m, err := d.Machine(ctx, s.main.name)
	if err != nil {
		return false, fmt.Errorf("making a template: %w", err)
	}
	like := vm.Spec{Name: freshName, CPU: m.CPU, MemoryMiB: m.MemoryMiB, DiskGiB: snapshotDisk}
	ready, err := d.TemplateReady(ctx, like)
	if err != nil || ready {
		return ready, err
	}
	began := time.Now()
	err = d.EnsureTemplate(ctx, like, nil)
	if errors.Is(err, vm.ErrUnsupported) {
		s.b.progress("new from a template is left out: %v", err)
		return false, nil
	}
	if err == nil {
		s.got.making = append(s.got.making, time.Since(began).Seconds())
		s.b.progress("the template is made: %.1f s", last(s.got.making))
	}
	return err == nil, err
}

func (s *snapshotBench) newFromTemplate(ctx context.Context) error {
	c := *s.c
	c.env = slices.DeleteFunc(slices.Clone(c.env), func(kv string) bool { return kv == noTemplate })
	began := time.Now()
	w, err := c.newWorkspace(ctx, freshName, snapshotDisk, snapshotMemory)
	if err != nil {
		return err
	}
	made := time.Since(began).Seconds()
	started, _, err := w.usable(ctx, "start", w.name)
	if err != nil {
		return err
	}
	if err := s.c.wasResumed(ctx, w.name, true); err != nil {
		return err
	}
	first, err := w.untilSSH(ctx, "start")
	if err != nil {
		return err
	}
	s.got.template.add(made+started, made+first)
	s.b.progress("new from a template: %.1f s to a prompt, %.1f s to SSH", made+started, made+first)
	return nil
}

// wasResumed returns an error unless a machine that runs went on from saved memory, as it should, or was booted.
func (c *cal) wasResumed(ctx context.Context, name string, should bool) error {
	guest, err := c.openSSH(ctx, name)
	if err != nil {
		return err
	}
	// QEMU's way to start with a machine's saved state (qemu-system-x86_64(1)).
	if resumed := slices.Contains(strings.Fields(guest.evidence), "-incoming"); resumed != should {
		return fmt.Errorf("looking at %q: resumed is %v, not %v as is to be measured", name, resumed, should)
	}
	return nil
}
