//go:build linux

package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// These tests run a real QEMU with a guest of 16 bytes, which counts in memory and boots at once: what memory is, and
// whether it goes on, can be seen from outside.

// counterAt is where in memory the guest counts.
const counterAt = 2 << 20

// counterKernel returns a Multiboot kernel (its specification, 3.1) that does nothing but count, in 64 bits.
func counterKernel() []byte {
	code := []byte{
		0x83, 0x05, 0, 0, 0x20, 0, 1, // add dword [counterAt], 1
		0x83, 0x15, 4, 0, 0x20, 0, 0, // adc dword [counterAt+4], 0
		0xeb, 0xf0, // again
	}
	const magic, flags, at, header = 0x1badb002, 1 << 16, 1 << 20, 32
	var k []byte
	end := uint32(at + header + len(code))
	for _, v := range []uint32{magic, flags, 1<<32 - magic - flags, at, at, end, end, at + header} {
		k = binary.LittleEndian.AppendUint32(k, v)
	}
	return append(k, code...)
}

// counting returns a driver with a running machine "m" that counts.
func counting(t *testing.T) *Driver {
	t.Helper()
	needVM(t)
	d := tinyDriver(t)
	r, err := recipeFor(ImageName)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(d.imageDir(r), kernelFile), counterKernel(), 0o644))
	create(t, d, "m")
	startCounting(t, d)
	return d
}

func startCounting(t *testing.T, d *Driver) {
	t.Helper()
	t.Cleanup(func() {
		err := d.Stop(context.Background(), "m", vm.Shutdown{})
		if err != nil && !errors.Is(err, vm.ErrNotRunning) && !errors.Is(err, vm.ErrNotFound) {
			t.Error(err)
		}
	})
	must(t, d.Start(t.Context(), "m", vm.StartOptions{}, nil))
}

// count returns what the machine has counted to.
func count(t *testing.T, d *Driver) uint64 {
	t.Helper()
	p, err := findProcess(t.Context(), d.machineDir("m"))
	must(t, err)
	r, err := d.readRecord("m")
	must(t, err)
	ram, err := openGuestRAM(p.pid, int64(r.MemoryMiB)<<20)
	must(t, err)
	defer ram.Close()
	var b [8]byte
	_, err = ram.ReadAt(b[:], counterAt)
	must(t, err)
	return binary.LittleEndian.Uint64(b[:])
}

// counts waits until the machine counts, and returns a number it has passed.
func counts(t *testing.T, d *Driver) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	was := count(t, d)
	for {
		if now := count(t, d); now > was {
			return now
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			t.Fatalf("the machine does not count on from %d", was)
		}
	}
}

// savedCount returns the number in a memory that was saved.
func savedCount(t *testing.T, d *Driver, id string) uint64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.machineDir("m"), memoryDir, id, ramFile))
	must(t, err)
	return binary.LittleEndian.Uint64(text[counterAt:])
}

func facts(t *testing.T, d *Driver) vm.Machine {
	t.Helper()
	m, err := d.Machine(t.Context(), "m")
	must(t, err)
	return m
}

func TestSuspendAndResume(t *testing.T) {
	d := counting(t)
	if m := facts(t, d); !m.Running || m.Suspended || m.Resumed || !m.Warm.OK {
		t.Errorf("running: %+v", m)
	}
	for range 3 {
		before := counts(t, d)
		must(t, d.Suspend(t.Context(), "m", nil))
		if m := facts(t, d); m.Running || !m.Suspended || m.DiskBytes < 1<<20 {
			t.Errorf("suspended: %+v", m)
		}
		if err := d.Resize(t.Context(), "m", 2, 0); err == nil {
			t.Error("a suspended machine was resized")
		}
		if err := d.Suspend(t.Context(), "m", nil); !errors.Is(err, vm.ErrNotRunning) {
			t.Errorf("suspended twice: %v", err)
		}
		must(t, d.Start(t.Context(), "m", vm.StartOptions{}, nil))
		if m := facts(t, d); !m.Running || m.Suspended || !m.Resumed || !m.Warm.OK {
			t.Errorf("resumed: %+v", m)
		}
		if after := counts(t, d); after <= before {
			t.Errorf("counted to %d, after resuming to %d", before, after)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(d.machineDir("m"), memoryDir)); len(left) != 0 {
		t.Errorf("memory nothing refers to: %v", left)
	}
}

func TestLiveWarmSnapshot(t *testing.T) {
	d := counting(t)
	ctx := t.Context()
	for i := range 5 {
		counts(t, d)
		must(t, d.CreateSnapshot(ctx, "m", fmt.Sprint("s", i), vm.SnapshotOptions{Memory: true}))
	}
	counts(t, d)
	all, err := d.Snapshots(ctx, "m")
	must(t, err)
	r, err := d.readRecord("m")
	must(t, err)
	var last uint64
	for i, s := range all {
		if !s.Memory || s.SizeBytes < 8<<10 {
			t.Errorf("snapshot %+v has no memory", s)
		}
		c := savedCount(t, d, r.Disk.Layers[r.Disk.Snapshots[i].Layer].Memory)
		if c <= last {
			t.Errorf("snapshot %s counted to %d, the one before it to %d", s.ID, c, last)
		}
		last = c
	}
	// Back to the last but one, by the way a rollback goes, and from its undo snapshot back again.
	before := counts(t, d)
	must(t, d.Suspend(ctx, "m", nil))
	must(t, d.Restore(ctx, "m", "s3", "undo"))
	if m := facts(t, d); !m.Suspended {
		t.Errorf("rolled back: %+v", m)
	}
	must(t, d.Start(ctx, "m", vm.StartOptions{}, nil))
	counts(t, d)
	must(t, d.Suspend(ctx, "m", nil))
	must(t, d.Restore(ctx, "m", "undo", "undo2"))
	r, err = d.readRecord("m")
	must(t, err)
	if c := savedCount(t, d, r.Disk.Layers[r.Disk.Active].Memory); c < before {
		t.Errorf("the undo snapshot holds %d, saved after %d", c, before)
	}
	// A snapshot of a suspended machine has its memory, by reference.
	must(t, d.CreateSnapshot(ctx, "m", "asleep", vm.SnapshotOptions{}))
	must(t, d.Start(ctx, "m", vm.StartOptions{}, nil))
	if after := counts(t, d); after < before {
		t.Errorf("counted to %d, after undoing the rollback to %d", before, after)
	}
	must(t, d.Stop(ctx, "m", vm.Shutdown{}))
	all, err = d.Snapshots(ctx, "m")
	must(t, err)
	for _, s := range all {
		if !s.Memory {
			t.Errorf("snapshot %s has no memory", s.ID)
		}
		must(t, d.DeleteSnapshot(ctx, "m", s.ID))
	}
	if left, _ := os.ReadDir(filepath.Join(d.machineDir("m"), memoryDir)); len(left) != 0 {
		t.Errorf("memory nothing refers to: %v", left)
	}
}
