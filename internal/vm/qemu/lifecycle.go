package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// machineSpace is the free disk space, in bytes, without which no machine is created or started: a guest whose disk
// cannot grow stops in the middle of what it does.
const machineSpace = 512 << 20

// Create makes a stopped machine from a ready image. It is made beside its place and appears by one rename.
func (d *Driver) Create(ctx context.Context, s vm.Spec, p vm.Progress) error {
	image, err := d.checkSpec(s)
	if err != nil {
		return err
	}
	r, err := recipeFor(image)
	if err != nil {
		return err
	}
	ready, err := d.imageBuilt(r)
	if err != nil {
		return err
	}
	if !ready {
		return hint.Wrap(fmt.Errorf("creating machine %q: image %s: %w", s.Name, image, vm.ErrNoImage),
			"`CALMenu new` builds it; `CALMenu doctor` shows what that needs.")
	}
	unlock, err := d.lock(ctx, s.Name, "create")
	if err != nil {
		return err
	}
	defer unlock()
	switch _, err := os.Lstat(d.machineDir(s.Name)); {
	case err == nil:
		return fmt.Errorf("creating machine %q: %w", s.Name, vm.ErrExists)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("creating machine %q: %w", s.Name, err)
	}
	p.Report(vm.Phase{Name: "creating the machine"})
	if err := d.create(ctx, s, r); err != nil {
		return fmt.Errorf("creating machine %q: %w", s.Name, err)
	}
	return nil
}

func (d *Driver) checkSpec(s vm.Spec) (string, error) {
	if err := vm.ValidName(s.Name); err != nil {
		return "", err
	}
	image, err := d.imageName(s.Image)
	if err != nil {
		return "", err
	}
	if s.CPU < 1 || s.CPU > 255 || s.MemoryMiB < 256 || s.DiskGiB < 0 {
		return "", hint.Errorf("Give at least 1 processor and 256 MiB of memory.",
			"creating machine %q: %d processors, %d MiB of memory and %d GiB of disk make no machine",
			s.Name, s.CPU, s.MemoryMiB, s.DiskGiB)
	}
	return image, nil
}

func (d *Driver) create(ctx context.Context, s vm.Spec, r recipe) error {
	parent := d.workspaceDir(s.Name)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if err := removeUnfinished(parent); err != nil {
		return err
	}
	if err := needSpace(parent, machineSpace, "making its disk"); err != nil {
		return err
	}
	acc, err := vmAccount(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, machineDirName+".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // gone after the rename
	m := &machine{d: d, dir: dir, acc: acc}
	id, now := newLayerID(), time.Now().UTC()
	m.record = record{
		Version: recordVersion, Name: s.Name, Image: r.image, CPU: s.CPU, MemoryMiB: s.MemoryMiB,
		DiskGiB: max(s.DiskGiB, imageGiB), Created: now, Stock: r.stock,
		Disk: tree{Active: id, Layers: map[string]layer{id: {Created: now}}},
	}
	if err := m.furnish(d.imageDir(r)); err != nil {
		return err
	}
	// A template that is of no use costs seconds at the first start, not the machine.
	t, ready := d.findTemplate(r, s)
	if !ready || m.adopt(ctx, t, id) != nil {
		if err := m.newLayer(ctx, id, "", strconv.Itoa(m.DiskGiB)+"G"); err != nil {
			return err
		}
	}
	if err := m.save(); err != nil {
		return err
	}
	m.keepReserve()
	if err := d.fault("create:rename"); err != nil {
		return err
	}
	if err := os.Rename(dir, d.machineDir(s.Name)); err != nil {
		return err
	}
	return syncDir(parent)
}

// furnish makes the machine's directories and links the image's files into it, so that removing an image from the cache
// takes nothing from a machine.
func (m *machine) furnish(image string) error {
	if err := os.Chmod(m.dir, 0o755); err != nil {
		return err
	}
	for _, sub := range []string{layersDir, runDir} {
		path := filepath.Join(m.dir, sub)
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := m.acc.own(path); err != nil {
			return err
		}
	}
	files := []string{baseFile, kernelFile, modulesFile, registriesFile}
	if m.Stock {
		files[2] = initrdFile
	}
	for _, name := range files {
		if err := linkOrCopy(filepath.Join(image, name), filepath.Join(m.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// linkOrCopy gives a read-only file a second name, or copies it where links cannot reach: another file system, or one
// whose owner the kernel does not let us link to (fs.protected_hardlinks).
func linkOrCopy(from, to string) error {
	err := os.Link(from, to)
	if err == nil || !(errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK)) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// removeUnfinished removes what crashes left beside a machine: one that was being made, or being deleted. The caller
// holds the lock.
func removeUnfinished(parent string) error {
	for _, pattern := range []string{machineDirName + ".new-*", machineDirName + ".deleted-*"} {
		left, err := filepath.Glob(filepath.Join(parent, pattern))
		if err != nil {
			return err
		}
		for _, dir := range left {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// Delete removes a stopped machine with all its snapshots, also one whose directory is damaged.
func (d *Driver) Delete(ctx context.Context, name string) error {
	unlock, err := d.lock(ctx, name, "delete")
	if err != nil {
		return err
	}
	defer unlock()
	dir, parent := d.machineDir(name), d.workspaceDir(name)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := removeUnfinished(parent); err != nil {
			return fmt.Errorf("deleting machine %q: %w", name, err)
		}
		_ = os.Remove(parent) // if nothing else is there
		return fmt.Errorf("deleting machine %q: %w", name, vm.ErrNotFound)
	}
	if p, err := findProcess(ctx, dir); err != nil {
		return fmt.Errorf("deleting machine %q: %w", name, err)
	} else if p.pid != 0 {
		return fmt.Errorf("deleting machine %q: %w", name, vm.ErrRunning)
	}
	doomed := dir + ".deleted-" + newLayerID()
	if err := os.Rename(dir, doomed); err != nil {
		return fmt.Errorf("deleting machine %q: %w", name, err)
	}
	if err := d.fault("delete:renamed"); err != nil {
		return err
	}
	if err := removeUnfinished(parent); err != nil {
		return fmt.Errorf("deleting machine %q: %w", name, err)
	}
	_ = os.Remove(parent) // the workspace's own files may be there
	return nil
}

// Resize changes the processors and memory of a stopped machine; 0 leaves a value.
func (d *Driver) Resize(ctx context.Context, name string, cpu, memoryMiB int) error {
	m, unlock, err := d.open(ctx, name, "resize")
	if err != nil {
		return err
	}
	defer unlock()
	err = m.mustBeStopped(ctx)
	if err == nil && m.Disk.Layers[m.Disk.Active].Memory != "" {
		err = hint.Errorf("Start it and shut it down first.", "it is suspended, and would not resume with other resources")
	}
	if err != nil {
		return fmt.Errorf("resizing machine %q: %w", name, err)
	}
	if cpu != 0 {
		m.CPU = cpu
	}
	if memoryMiB != 0 {
		m.MemoryMiB = memoryMiB
	}
	if _, err := d.checkSpec(vm.Spec{Name: name, CPU: m.CPU, MemoryMiB: m.MemoryMiB}); err != nil {
		return err
	}
	return m.save()
}

// Machine returns the facts about one machine.
func (d *Driver) Machine(ctx context.Context, name string) (vm.Machine, error) {
	r, err := d.readRecord(name)
	if err != nil {
		return vm.Machine{}, err
	}
	dir := d.machineDir(name)
	p, err := findProcess(ctx, dir)
	if err != nil {
		return vm.Machine{}, fmt.Errorf("looking at machine %q: %w", name, err)
	}
	boundConsole(dir)
	facts := vm.Machine{
		Name: name, CPU: r.CPU, MemoryMiB: r.MemoryMiB,
		Running: p.pid != 0, PID: p.pid, StartedAt: p.started,
		Suspended: p.pid == 0 && r.Disk.Layers[r.Disk.Active].Memory != "",
	}
	if facts.Running {
		facts.Resumed, facts.FromTemplate, facts.Warm = resumed(p.argv), seeded(p.argv), warmth(p.argv)
	}
	facts.DiskBytes = diskUse(filepath.Join(dir, baseFile))
	facts.DiskBytes += memoryUse(dir, r.memories()...)
	if files, err := os.ReadDir(filepath.Join(dir, layersDir)); err == nil {
		for _, f := range files {
			facts.DiskBytes += diskUse(filepath.Join(dir, layersDir, f.Name()))
		}
	}
	return facts, nil
}

// Machines lists all machines by name. A damaged one is an error, not an absence.
func (d *Driver) Machines(ctx context.Context) ([]vm.Machine, error) {
	entries, err := os.ReadDir(d.opts.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing machines: %w", err)
	}
	var all []vm.Machine
	for _, e := range entries {
		if vm.ValidName(e.Name()) != nil {
			continue
		}
		m, err := d.Machine(ctx, e.Name())
		if errors.Is(err, vm.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, nil
}

func (m *machine) mustBeStopped(ctx context.Context) error {
	p, err := findProcess(ctx, m.dir)
	if err != nil {
		return err
	}
	if p.pid != 0 {
		return vm.ErrRunning
	}
	return nil
}
