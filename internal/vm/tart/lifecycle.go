package tart

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// Create implements vm.Lifecycle. The machine gets its name only when it is whole: clone would replace one of that name
// without a word (row 10).
func (d *Driver) Create(ctx context.Context, s vm.Spec, p vm.Progress) error {
	if err := vm.ValidName(s.Name); err != nil {
		return err
	}
	if s.Image == "" {
		s.Image = DefaultImage
	}
	if err := d.create(ctx, s, p); err != nil {
		return fmt.Errorf("creating %q: %w", s.Name, err)
	}
	return nil
}

func (d *Driver) create(ctx context.Context, s vm.Spec, p vm.Progress) error {
	unlock, err := d.lock(ctx, s.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.finishLocked(ctx, s.Name); err != nil {
		return err
	}
	inv, err := d.list(ctx)
	if err != nil {
		return err
	}
	if _, taken := inv.local(machineName(s.Name)); taken {
		return vm.ErrExists
	}
	if ready, err := d.ImageReady(ctx, s.Image); err != nil || !ready {
		return errors.Join(err, fmt.Errorf("%w: %q", vm.ErrNoImage, s.Image))
	}
	temp := tempName(s.Name)
	err = d.build(ctx, s, temp, p)
	if err == nil {
		_, err = d.tart(ctx, "rename", temp, machineName(s.Name))
	}
	if err != nil {
		return errors.Join(err, d.discard(ctx, temp))
	}
	return nil
}

// build makes a machine from an image under a temporary name.
func (d *Driver) build(ctx context.Context, s vm.Spec, temp string, p vm.Progress) error {
	steps := int64(3)
	p.Report(vm.Phase{Name: "copying image", Total: steps})
	d.at("create: clone")
	if _, err := d.tart(ctx, "clone", s.Image, temp); err != nil {
		return err
	}
	p.Report(vm.Phase{Name: "configuring", Done: 1, Total: steps})
	d.at("create: set")
	if err := d.configure(ctx, s, temp); err != nil {
		return err
	}
	p.Report(vm.Phase{Name: "verifying", Done: 2, Total: steps})
	d.at("create: verify")
	made, err := d.details(temp)
	if err != nil {
		return err
	}
	if (s.CPU != 0 && made.CPU != s.CPU) || (s.MemoryMiB != 0 && made.MemoryMiB != s.MemoryMiB) {
		return fmt.Errorf("verifying: it has %d processors and %d MiB, not %d and %d",
			made.CPU, made.MemoryMiB, s.CPU, s.MemoryMiB)
	}
	d.at("create: rename")
	return ctx.Err()
}

func (d *Driver) configure(ctx context.Context, s vm.Spec, temp string) error {
	image, err := d.details(temp)
	if err != nil {
		return err
	}
	if d.has(temp, savedState) {
		// A memory that was saved would not fit another address; of a suspended machine, stop only removes it (row 38).
		if _, err := d.tart(ctx, "stop", temp); err != nil {
			return err
		}
	}
	// The image's address is kept by the first clone of it (row 14), and addresses are compared within one TART_HOME only.
	set := []string{"set", temp, "--random-mac"}
	if image.OS == "darwin" {
		// Clones keep the identity of what they were cloned of; two of one run side by side is undefined (section 4).
		set = append(set, "--random-serial")
	}
	set = append(set, resources(s.CPU, s.MemoryMiB)...)
	// Tart counts gigabytes of 10^9 bytes and grows only.
	if gb := (int64(s.DiskGiB)<<30 + 1e9 - 1) / 1e9; gb > image.DiskBytes/1e9 {
		set = append(set, "--disk-size", strconv.FormatInt(gb, 10))
	}
	_, err = d.tart(ctx, set...)
	if err != nil && strings.Contains(err.Error(), "should be larger than the current disk size") {
		return nil // a sparse format's file is smaller than its disk; the rest of the settings is saved (row 42)
	}
	return err
}

func resources(cpu, memoryMiB int) (args []string) {
	if cpu != 0 {
		args = append(args, "--cpu", strconv.Itoa(cpu))
	}
	if memoryMiB != 0 {
		args = append(args, "--memory", strconv.Itoa(memoryMiB))
	}
	return args
}

// discard deletes a copy that did not get its place, if it is there. It is not the caller's context that ends this.
func (d *Driver) discard(ctx context.Context, temp string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxCommand)
	defer cancel()
	if _, err := d.tart(ctx, "delete", temp); err != nil && !errors.Is(err, vm.ErrNotFound) {
		return fmt.Errorf("removing the unfinished copy: %w", err)
	}
	return nil
}

// Stop implements vm.Lifecycle. `tart stop` is a power cut, so it comes last.
func (d *Driver) Stop(ctx context.Context, name string, how vm.Shutdown) error {
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("stopping %q: %w", name, err)
	}
	defer unlock()
	_, e, err := d.find(ctx, name)
	if err == nil {
		err = d.stop(ctx, e.Name, how)
	}
	if err != nil {
		return fmt.Errorf("stopping %q: %w", name, err)
	}
	return removeIfThere(d.state(name, ".run.json"))
}

func (d *Driver) stop(ctx context.Context, name string, how vm.Shutdown) error {
	pid, err := d.holder(name)
	if err != nil {
		return err
	}
	if pid == 0 {
		return vm.ErrNotRunning
	}
	if how.Guest != nil {
		grace, cancel := context.WithTimeout(ctx, how.Grace)
		defer cancel()
		// What the guest answers does not matter, and a guest that never answers must not hold this up.
		go func() { _ = how.Guest(grace) }()
		if d.awaitEnd(grace, name, pid) == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for range 5 {
		seconds := strconv.Itoa(max(1, int(d.options.StopTimeout/time.Second)))
		if _, err := d.tart(ctx, "stop", name, "--timeout", seconds); err != nil && !errors.Is(err, vm.ErrNotRunning) {
			return err
		}
		// After its own SIGKILL, tart does not wait (row 36).
		wait, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := d.awaitEnd(wait, name, pid)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return hint.Errorf(fmt.Sprintf("End process %d, or restart this Mac.", pid), "its process %d does not end", pid)
}

// awaitEnd waits until a process runs the machine no more.
func (d *Driver) awaitEnd(ctx context.Context, name string, pid int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if now, err := d.holder(name); err != nil || now != pid {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func sleep(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Resize implements vm.Lifecycle.
func (d *Driver) Resize(ctx context.Context, name string, cpu, memoryMiB int) error {
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("resizing %q: %w", name, err)
	}
	defer unlock()
	_, e, err := d.stopped(ctx, name)
	switch {
	case err != nil:
	case cpu < 0 || memoryMiB < 0:
		err = fmt.Errorf("%d processors and %d MiB of memory cannot be", cpu, memoryMiB)
	case e.State == "suspended":
		err = hint.Errorf("Start it and shut it down first.", "it is suspended, and would not resume with other resources")
	case cpu != 0 || memoryMiB != 0:
		_, err = d.tart(ctx, append([]string{"set", e.Name}, resources(cpu, memoryMiB)...)...)
	}
	if err != nil {
		return fmt.Errorf("resizing %q: %w", name, err)
	}
	return nil
}
