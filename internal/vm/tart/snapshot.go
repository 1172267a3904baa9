package tart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// details are what a copy must have in common with its original.
type details struct {
	OS        string
	CPU       int
	MemoryMiB int
	DiskBytes int64 // of the image file
	NVRAM     int64
	Memory    int64  // of the saved state; 0 if the machine is not suspended
	Address   string // of a suspended machine: its memory resumes with no other
}

// details reads a machine's files, which is what `tart get` does and many times faster than to start it.
func (d *Driver) details(name string) (details, error) {
	c, err := d.config(name)
	if err != nil {
		return details{}, err
	}
	got := details{OS: c.OS, CPU: c.CPUCount, MemoryMiB: int(c.MemorySize >> 20)}
	for file, size := range map[string]*int64{d.diskFile(name): &got.DiskBytes, "nvram.bin": &got.NVRAM} {
		info, err := os.Stat(filepath.Join(d.dir(name), file))
		if err != nil {
			return details{}, fmt.Errorf("reading facts of %s: %w", name, err)
		}
		*size = info.Size()
	}
	if info, err := os.Stat(filepath.Join(d.dir(name), savedState)); err == nil {
		got.Memory, got.Address = info.Size(), c.MACAddress
	}
	return got, nil
}

// copyMachine clones a machine to a temporary name and checks that the copy is whole: with its memory if it is
// suspended, which tart copies on a best-effort basis (section 4).
func (d *Driver) copyMachine(ctx context.Context, from, temp string) error {
	if _, err := d.tart(ctx, "clone", from, temp); err != nil {
		return err
	}
	want, err := d.details(from)
	if err != nil {
		return err
	}
	got, err := d.details(temp)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("verifying the copy: it has %+v, not %+v", got, want)
	}
	return nil
}

// stampNow marks a machine's directory as a snapshot taken now.
func (d *Driver) stampNow(name string) error {
	if err := writeJSON(filepath.Join(d.dir(name), stampFile), stamp{Created: time.Now()}); err != nil {
		return fmt.Errorf("dating the snapshot: %w", err)
	}
	return nil
}

// CreateSnapshot implements vm.Snapshotter: a clone of the stopped or suspended machine, which on APFS copies nothing.
// Of a suspended one the memory is cloned too (row 13).
func (d *Driver) CreateSnapshot(ctx context.Context, name, id string, _ vm.SnapshotOptions) error {
	if err := vm.ValidSnapshotID(id); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("taking snapshot of %q: %w", name, err)
	}
	defer unlock()
	inv, e, err := d.stopped(ctx, name)
	if err == nil {
		err = d.takeSnapshot(ctx, inv, e.Name, name, id)
	}
	if err != nil {
		return fmt.Errorf("taking snapshot of %q: %w", name, err)
	}
	return nil
}

func (d *Driver) takeSnapshot(ctx context.Context, inv inventory, from, ws, id string) error {
	if _, taken := inv.local(snapshotName(ws, id)); taken {
		return fmt.Errorf("%w: snapshot %q", vm.ErrExists, id)
	}
	temp := tempName(ws)
	d.at("snapshot: clone")
	err := d.copyMachine(ctx, from, temp)
	if err == nil {
		d.at("snapshot: stamp")
		err = d.stampNow(temp)
	}
	if err == nil {
		d.at("snapshot: rename")
		_, err = d.tart(ctx, "rename", temp, snapshotName(ws, id))
	}
	if err != nil {
		return errors.Join(err, d.discard(ctx, temp))
	}
	d.at("snapshot: done")
	return nil
}

// Restore implements vm.Snapshotter. A copy of the snapshot is built beside the machine and verified; then the machine
// becomes the undo snapshot and the copy takes its name.
func (d *Driver) Restore(ctx context.Context, name, id, undo string) error {
	if err := errors.Join(vm.ValidSnapshotID(id), vm.ValidSnapshotID(undo)); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("rolling back %q: %w", name, err)
	}
	defer unlock()
	inv, _, err := d.stopped(ctx, name)
	if err == nil {
		err = d.restore(ctx, inv, name, id, undo)
	}
	if err != nil {
		return fmt.Errorf("rolling back %q: %w", name, err)
	}
	return nil
}

func (d *Driver) restore(ctx context.Context, inv inventory, ws, id, undo string) error {
	if _, known := inv.local(snapshotName(ws, id)); !known {
		return fmt.Errorf("%w: %q", vm.ErrNoSnapshot, id)
	}
	if _, taken := inv.local(snapshotName(ws, undo)); taken {
		return fmt.Errorf("%w: snapshot %q", vm.ErrExists, undo)
	}
	in := intent{Op: "restore", Undo: snapshotName(ws, undo), Temp: tempName(ws)}
	d.at("restore: journal")
	if err := writeJSON(d.state(ws, journalSuffix), in); err != nil {
		return fmt.Errorf("journaling: %w", err)
	}
	if err := d.swap(ctx, ws, snapshotName(ws, id), in); err != nil {
		return errors.Join(err, d.finishLocked(context.WithoutCancel(ctx), ws))
	}
	return removeIfThere(d.state(ws, journalSuffix))
}

func (d *Driver) swap(ctx context.Context, ws, snapshot string, in intent) error {
	d.at("restore: clone")
	if err := d.copyMachine(ctx, snapshot, in.Temp); err != nil {
		return err
	}
	d.at("restore: stamp")
	if err := d.stampNow(machineName(ws)); err != nil {
		return err
	}
	// The last moment to turn back; from the first rename on, only forward.
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxCommand)
	defer cancel()
	d.at("restore: set aside")
	if _, err := d.tart(ctx, "rename", machineName(ws), in.Undo); err != nil {
		return err
	}
	d.at("restore: put in place")
	if _, err := d.tart(ctx, "rename", in.Temp, machineName(ws)); err != nil {
		return err
	}
	d.at("restore: done")
	return nil
}

// DeleteSnapshot implements vm.Snapshotter.
func (d *Driver) DeleteSnapshot(ctx context.Context, name, id string) error {
	if err := vm.ValidSnapshotID(id); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("deleting snapshot of %q: %w", name, err)
	}
	defer unlock()
	inv, _, err := d.find(ctx, name)
	if err == nil {
		if _, known := inv.local(snapshotName(name, id)); !known {
			err = fmt.Errorf("%w: %q", vm.ErrNoSnapshot, id)
		} else {
			d.at("drop: delete")
			if _, err = d.tart(ctx, "delete", snapshotName(name, id)); err == nil {
				d.at("drop: done")
			}
		}
	}
	if err != nil {
		return fmt.Errorf("deleting snapshot of %q: %w", name, err)
	}
	return nil
}

// Delete implements vm.Lifecycle. The machine itself goes last, so that it is listed until nothing of it is left.
func (d *Driver) Delete(ctx context.Context, name string) error {
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("deleting %q: %w", name, err)
	}
	defer unlock()
	inv, _, err := d.stopped(ctx, name)
	if err == nil {
		d.at("delete: journal")
		err = writeJSON(d.state(name, journalSuffix), intent{Op: "delete"})
		if err == nil {
			err = d.finishLocked(ctx, name)
		} else if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = d.finishDelete(ctx, inv, name) // what makes room must not need some
		}
	}
	if err != nil {
		return fmt.Errorf("deleting %q: %w", name, err)
	}
	return nil
}
