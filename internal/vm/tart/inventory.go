package tart

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// partial is a file of CALMenu's own that is there from the begin of a download to its end: an interrupted one can be
// gone on with, as long as no tart command but pull and clone runs, which would remove what there is of it (section 2).
const partial = "pull.partial"

// interrupted tells whether there is something of a download to be gone on with.
func (d *Driver) interrupted() bool {
	if _, err := os.Stat(filepath.Join(d.options.StateDir, partial)); err != nil {
		return false
	}
	entries, err := os.ReadDir(filepath.Join(d.home, "tmp"))
	return err == nil && len(entries) > 0
}

// readMachines lists the local machines as `tart list` does (sections 2 and 3), without it.
func (d *Driver) readMachines() (inventory, error) {
	entries, err := os.ReadDir(filepath.Join(d.home, "vms"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing virtual machines: %w", err)
	}
	var all inventory
	for _, e := range entries {
		name := e.Name()
		if !d.has(name, "config.json") || !d.has(name, "nvram.bin") || !d.has(name, d.diskFile(name)) {
			continue
		}
		pid, err := d.holder(name)
		if err != nil {
			return nil, err
		}
		state := "stopped"
		switch {
		case pid != 0:
			state = "running"
		case d.has(name, savedState):
			state = "suspended"
		}
		all = append(all, entry{Source: "local", Name: name, State: state})
	}
	return all, nil
}

// savedState is the memory of a suspended machine.
const savedState = "state.vzvmsave"

func (d *Driver) has(name, file string) bool {
	_, err := os.Stat(filepath.Join(d.dir(name), file))
	return err == nil
}
