package tart

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// entry is one line of `tart list --format json` (section 5); unknown keys are ignored.
type entry struct {
	Source string
	Name   string
	State  string // running, suspended or stopped
}

// inventory is what `tart list` says is there.
type inventory []entry

func (d *Driver) list(ctx context.Context) (inventory, error) {
	if d.interrupted() {
		return d.readMachines()
	}
	out, err := d.tart(ctx, "list", "--format", "json")
	if err != nil {
		return nil, fmt.Errorf("listing virtual machines: %w", err)
	}
	return parseList(out)
}

func parseList(out string) (inventory, error) {
	var all inventory
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("reading what tart list printed: %w", err)
	}
	return all, nil
}

// local returns the named local machine.
func (inv inventory) local(name string) (entry, bool) {
	i := slices.IndexFunc(inv, func(e entry) bool { return e.Source == "local" && e.Name == name })
	if i < 0 {
		return entry{}, false
	}
	return inv[i], true
}

// of returns the Tart names of everything that belongs to a workspace.
func (inv inventory) of(ws string) (snapshots, temps []string) {
	for _, e := range inv {
		if e.Source != "local" {
			continue
		}
		switch owner, snapshot, temp := parseName(e.Name); {
		case owner != ws:
		case snapshot != "":
			snapshots = append(snapshots, e.Name)
		case temp != "":
			temps = append(temps, e.Name)
		}
	}
	return snapshots, temps
}

// find returns the inventory and a workspace's machine in it. The caller holds the workspace's lock: what a crash left
// is put right first.
func (d *Driver) find(ctx context.Context, ws string) (inventory, entry, error) {
	if err := d.finishLocked(ctx, ws); err != nil {
		return nil, entry{}, err
	}
	inv, err := d.list(ctx)
	if err != nil {
		return nil, entry{}, err
	}
	e, ok := inv.local(machineName(ws))
	if !ok {
		return nil, entry{}, fmt.Errorf("%w: %q", vm.ErrNotFound, ws)
	}
	return inv, e, d.dropKept(e.Name)
}

// stopped is find for calls that need the machine not to run.
func (d *Driver) stopped(ctx context.Context, ws string) (inventory, entry, error) {
	inv, e, err := d.find(ctx, ws)
	if err != nil {
		return nil, entry{}, err
	}
	pid, err := d.holder(e.Name)
	if err != nil {
		return nil, entry{}, err
	}
	if pid != 0 {
		return nil, entry{}, fmt.Errorf("%w: %q", vm.ErrRunning, ws)
	}
	return inv, e, nil
}

// Machine implements vm.Lifecycle.
func (d *Driver) Machine(ctx context.Context, name string) (vm.Machine, error) {
	if err := vm.ValidName(name); err != nil {
		return vm.Machine{}, err
	}
	inv, err := d.whole(ctx, name)
	if err != nil {
		return vm.Machine{}, err
	}
	e, ok := inv.local(machineName(name))
	if !ok {
		return vm.Machine{}, fmt.Errorf("%w: %q", vm.ErrNotFound, name)
	}
	return d.facts(inv, name, e)
}

// Machines implements vm.Lifecycle.
func (d *Driver) Machines(ctx context.Context) ([]vm.Machine, error) {
	pending, err := d.pending()
	if err != nil {
		return nil, err
	}
	inv, err := d.whole(ctx, pending...)
	if err != nil {
		return nil, err
	}
	var all []vm.Machine
	for _, e := range inv {
		ws, snapshot, temp := parseName(e.Name)
		if e.Source != "local" || ws == "" || snapshot != "" || temp != "" {
			continue
		}
		m, err := d.facts(inv, ws, e)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted since it was listed
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b vm.Machine) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// whole lists what is there, so that every one of the named workspaces with a change under way is seen before or after
// it: never in the middle of a rollback, or where a crash left one.
func (d *Driver) whole(ctx context.Context, names ...string) (inventory, error) {
	changing := map[string]bool{}
	for _, ws := range names {
		changing[ws] = d.journaled(ws)
	}
	inv, err := d.list(ctx)
	if err != nil {
		return nil, err
	}
	again := false
	for _, ws := range names {
		if _, ok := inv.local(machineName(ws)); ok || !(changing[ws] || d.journaled(ws)) {
			continue
		}
		again = true
		if err := d.finish(ctx, ws); err != nil {
			return nil, err
		}
	}
	if !again {
		return inv, nil
	}
	return d.list(ctx)
}

func (d *Driver) journaled(ws string) bool {
	_, err := os.Stat(d.state(ws, journalSuffix))
	return err == nil
}

// finish waits for whoever changes a workspace and puts right what a crash left of such a change.
func (d *Driver) finish(ctx context.Context, ws string) error {
	unlock, err := d.lock(ctx, ws)
	if err != nil {
		return err
	}
	defer unlock()
	return d.finishLocked(ctx, ws)
}

// runRecord says how a machine was started; it counts only while that process runs it.
type runRecord struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Address is the MAC address of a machine that was suspended when it was started; empty for one that was not.
	Address string `json:"address,omitempty"`
}

// record is what is known of how the process that runs a workspace's machine was started.
func (d *Driver) record(ws string, pid int) (runRecord, bool) {
	var r runRecord
	known, err := readJSON(d.state(ws, ".run.json"), &r)
	return r, err == nil && known && pid != 0 && r.PID == pid
}

func (d *Driver) facts(inv inventory, ws string, e entry) (vm.Machine, error) {
	c, err := d.config(e.Name)
	if err != nil {
		return vm.Machine{}, err
	}
	pid, err := d.holder(e.Name)
	if err != nil {
		return vm.Machine{}, err
	}
	m := vm.Machine{
		Name: ws, Running: pid != 0, Suspended: pid == 0 && d.has(e.Name, savedState), PID: pid,
		CPU: c.CPUCount, MemoryMiB: int(c.MemorySize >> 20), DiskBytes: allocated(d.dir(e.Name)),
	}
	snapshots, _ := inv.of(ws)
	for _, s := range snapshots {
		m.DiskBytes += allocated(d.dir(s))
	}
	if pid != 0 {
		m.Warm = d.warmth(e.Name, c, pid)
	}
	if r, known := d.record(ws, pid); known {
		m.StartedAt, m.Resumed = r.Started, d.resumed(e.Name, c, r.Address)
	}
	return m, nil
}

// stamp is what a snapshot's directory says of it.
type stamp struct {
	Created time.Time `json:"created"`
}

// Snapshots implements vm.Snapshotter.
func (d *Driver) Snapshots(ctx context.Context, name string) ([]vm.Snapshot, error) {
	if err := vm.ValidName(name); err != nil {
		return nil, err
	}
	inv, err := d.whole(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, ok := inv.local(machineName(name)); !ok {
		return nil, fmt.Errorf("%w: %q", vm.ErrNotFound, name)
	}
	var all []vm.Snapshot
	names, _ := inv.of(name)
	for _, n := range names {
		_, id, _ := parseName(n)
		all = append(all, vm.Snapshot{
			ID: id, Created: d.created(n), SizeBytes: allocated(d.dir(n)), Memory: d.has(n, savedState),
		})
	}
	slices.SortFunc(all, func(a, b vm.Snapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}

// created is when a snapshot was taken: as stamped, or else as its files tell.
func (d *Driver) created(name string) time.Time {
	var s stamp
	if known, err := readJSON(filepath.Join(d.dir(name), stampFile), &s); err == nil && known {
		return s.Created
	}
	if info, err := os.Stat(filepath.Join(d.dir(name), "nvram.bin")); err == nil {
		return info.ModTime()
	}
	return time.Unix(0, 0)
}
