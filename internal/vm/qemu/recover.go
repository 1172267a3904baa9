package qemu

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/calmenu/calmenu/internal/vm"
)

// Recover finishes or undoes what a crash left of a change to a machine, and removes what it left of a creation or
// deletion.
func (d *Driver) Recover(ctx context.Context, name string) error {
	if err := vm.ValidName(name); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, name, "recover")
	if err != nil {
		return err
	}
	defer unlock()
	if err := removeUnfinished(d.workspaceDir(name)); err != nil {
		return fmt.Errorf("recovering machine %q: %w", name, err)
	}
	m, err := d.load(ctx, name)
	if errors.Is(err, vm.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.recover(ctx); err != nil {
		return err
	}
	m.sweepMemory()
	return nil
}

// recover finishes or undoes the journaled change, if there is one. The lock is held.
func (m *machine) recover(ctx context.Context) error {
	if m.Pending == nil {
		return nil
	}
	if err := m.Pending.Next.check(); err != nil {
		return fmt.Errorf("recovering machine %q: %s: %w", m.Name, recordFile, err)
	}
	var err error
	switch m.Pending.Op {
	case opStack:
		err = m.recoverStack(ctx)
	case opDrop:
		err = m.finishDrop()
	case opMerge:
		err = m.recoverMerge()
	case opSuspend:
		err = m.recoverSuspend(ctx)
	case opResume:
		err = m.recoverResume(ctx)
	case opContinue:
		err = m.recoverContinue(ctx)
	default:
		err = fmt.Errorf("change %q is not known", m.Pending.Op)
	}
	if err != nil {
		return fmt.Errorf("recovering machine %q: %w", m.Name, err)
	}
	return nil
}

// recoverStack decides by the layer in use. A running QEMU knows it. Otherwise the new layer may hold what the guest
// wrote in it before the machine ended, so it is kept if it was finished at all: what is below it is kept as well. A
// guest that was stopped for its memory to be saved goes on first.
func (m *machine) recoverStack(ctx context.Context) error {
	p, err := findProcess(ctx, m.dir)
	if err != nil {
		return err
	}
	if p.pid != 0 {
		if m.Pending.Memory != "" {
			if err := m.goOn(ctx); err != nil {
				return err
			}
		}
		active, err := m.activeInQEMU(ctx)
		switch {
		case err != nil:
			return err
		case active == m.Pending.New:
			return m.finishStack()
		case active == m.Disk.Active:
			return m.undoStack()
		}
		return fmt.Errorf("QEMU writes to layer %s, which is not the machine's", active)
	}
	id := m.Pending.New
	backing, err := backingFile(filepath.Join(m.dir, layerFile(id)))
	if err == nil && backing == backingName(m.Pending.Next.Layers[id].Parent) {
		return m.finishStack()
	}
	return m.undoStack()
}

// activeInQEMU asks a running machine which layer it writes to.
func (m *machine) activeInQEMU(ctx context.Context) (string, error) {
	var devices []struct {
		Device   string `json:"device"`
		Inserted struct {
			File string `json:"file"`
		} `json:"inserted"`
	}
	if err := qmp(ctx, m.dir, "query-block", nil, &devices); err != nil {
		return "", err
	}
	for _, dev := range devices {
		if dev.Device == "disk" {
			return layerOf(dev.Inserted.File)
		}
	}
	return "", errors.New("QEMU has no disk")
}

// layerOf returns the layer in a file as QEMU names it: by its path or, where a path does not say all there is to say
// (as after a snapshot of a running machine), by "json:" and the block device's options.
func layerOf(file string) (string, error) {
	if options, ok := strings.CutPrefix(file, "json:"); ok {
		var disk struct {
			File struct {
				Filename string `json:"filename"`
			} `json:"file"`
		}
		if err := json.Unmarshal([]byte(options), &disk); err != nil {
			return "", fmt.Errorf("reading the name of QEMU's disk: %w", err)
		}
		file = disk.File.Filename
	}
	id := strings.TrimSuffix(filepath.Base(file), ".qcow2")
	if !layerPattern.MatchString(id) {
		return "", fmt.Errorf("QEMU's disk %q is not a layer", file)
	}
	return id, nil
}

// backingFile reads the name of a qcow2 file's backing file (docs/interop/qcow2.txt: offset at 8, length at 16). It
// does not follow links and does not wait: the file is in a directory QEMU may write to.
func backingFile(name string) (string, error) {
	f, err := openRegular(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var header [20]byte
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return "", err
	}
	offset, length := binary.BigEndian.Uint64(header[8:]), binary.BigEndian.Uint32(header[16:])
	if string(header[:4]) != "QFI\xfb" || length > 1023 || offset > 1<<20 {
		return "", fmt.Errorf("reading %s: not a qcow2 file", filepath.Base(name))
	}
	backing := make([]byte, length)
	if _, err := f.ReadAt(backing, int64(offset)); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(backing), nil
}

// openRegular opens a file of a directory QEMU may write to: no link, and nothing that opening waits for.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("opening %s: %w", filepath.Base(name), fs.ErrInvalid)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// syncRegular makes such a file durable.
func syncRegular(name string) error {
	f, err := openRegular(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
