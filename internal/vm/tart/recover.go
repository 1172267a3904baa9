package tart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/calmenu/calmenu/internal/vm"
)

// intent is what is written before a change of several steps, so that whoever comes after a crash can finish or undo
// it.
type intent struct {
	Op   string `json:"op"`             // "restore" or "delete"
	Undo string `json:"undo,omitempty"` // the Tart name the replaced machine gets
	Temp string `json:"temp,omitempty"` // the Tart name the new one is built under
}

const journalSuffix = ".journal.json"

// pending lists the workspaces with a change under way or left by a crash.
func (d *Driver) pending() ([]string, error) {
	entries, err := os.ReadDir(d.options.StateDir)
	if err != nil {
		return nil, fmt.Errorf("looking for unfinished changes: %w", err)
	}
	var all []string
	for _, e := range entries {
		if ws, ok := strings.CutSuffix(e.Name(), journalSuffix); ok && vm.ValidName(ws) == nil {
			all = append(all, ws)
		}
	}
	return all, nil
}

// Recover implements vm.Snapshotter. Beside what is journaled it removes copies that never got their place.
func (d *Driver) Recover(ctx context.Context, name string) error {
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("recovering %q: %w", name, err)
	}
	defer unlock()
	if err := d.finishLocked(ctx, name); err != nil {
		return fmt.Errorf("recovering %q: %w", name, err)
	}
	if err := d.dropKept(machineName(name)); err != nil {
		return fmt.Errorf("recovering %q: %w", name, err)
	}
	inv, err := d.list(ctx)
	if err != nil {
		return fmt.Errorf("recovering %q: %w", name, err)
	}
	if _, temps := inv.of(name); len(temps) > 0 {
		if _, err := d.tart(ctx, append([]string{"delete"}, temps...)...); err != nil {
			return fmt.Errorf("recovering %q: %w", name, err)
		}
	}
	return nil
}

// finishLocked finishes or undoes a journaled change by what is there. The caller holds the workspace's lock.
func (d *Driver) finishLocked(ctx context.Context, ws string) error {
	var in intent
	if known, err := readJSON(d.state(ws, journalSuffix), &in); err != nil || !known {
		return err
	}
	inv, err := d.list(ctx)
	if err != nil {
		return err
	}
	switch in.Op {
	case "restore":
		err = d.finishRestore(ctx, inv, ws, in)
	case "delete":
		err = d.finishDelete(ctx, inv, ws)
	default:
		err = fmt.Errorf("finishing an unknown change %q", in.Op)
	}
	if err != nil {
		return fmt.Errorf("finishing what was begun: %w", err)
	}
	return removeIfThere(d.state(ws, journalSuffix))
}

func (d *Driver) finishRestore(ctx context.Context, inv inventory, ws string, in intent) error {
	owner, _, temp := parseName(in.Temp)
	undoOwner, undo, _ := parseName(in.Undo)
	if owner != ws || undoOwner != ws || temp == "" || undo == "" {
		return fmt.Errorf("journal names %q and %q, which are not its own", in.Temp, in.Undo)
	}
	_, current := inv.local(machineName(ws))
	_, aside := inv.local(in.Undo)
	_, built := inv.local(in.Temp)
	switch {
	case !current && built:
		// The copy was verified before the machine was set aside.
		_, err := d.tart(ctx, "rename", in.Temp, machineName(ws))
		return err
	case !current && aside:
		_, err := d.tart(ctx, "rename", in.Undo, machineName(ws))
		return err
	case current && !aside:
		if err := removeIfThere(filepath.Join(d.dir(machineName(ws)), stampFile)); err != nil {
			return err
		}
	}
	if built && current {
		_, err := d.tart(ctx, "delete", in.Temp)
		return err
	}
	return nil
}

func (d *Driver) finishDelete(ctx context.Context, inv inventory, ws string) error {
	snapshots, temps := inv.of(ws)
	all := append(snapshots, temps...)
	if _, there := inv.local(machineName(ws)); there {
		all = append(all, machineName(ws))
	}
	for _, name := range all {
		d.at("delete: " + name)
		if _, err := d.tart(ctx, "delete", name); err != nil {
			return err
		}
	}
	d.at("delete: state")
	return errors.Join(removeIfThere(d.state(ws, ".log")), removeIfThere(d.state(ws, ".run.json")))
}
