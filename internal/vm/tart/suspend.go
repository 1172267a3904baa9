package tart

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// Suspend implements vm.Lifecycle. A machine that cannot be suspended is killed by the attempt (row 57), so that all
// that speaks against it is asked for first.
func (d *Driver) Suspend(ctx context.Context, name string, p vm.Progress) error {
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("suspending %q: %w", name, err)
	}
	defer unlock()
	_, e, err := d.find(ctx, name)
	if err == nil {
		err = d.suspend(ctx, name, e.Name, p)
	}
	if err != nil {
		return fmt.Errorf("suspending %q: %w", name, err)
	}
	return removeIfThere(d.state(name, ".run.json"))
}

func (d *Driver) suspend(ctx context.Context, ws, name string, p vm.Progress) error {
	pid, err := d.holder(name)
	if err != nil {
		return err
	}
	if pid == 0 {
		return vm.ErrNotRunning
	}
	c, err := d.config(name)
	if err != nil {
		return err
	}
	if warm := d.warmth(name, c, pid); !warm.OK {
		return fmt.Errorf("%w: %s", vm.ErrNoMemory, warm.Reason)
	}
	p.Report(vm.Phase{Name: "saving memory"})
	d.at("suspend: ask")
	if _, err := d.tart(ctx, "suspend", name); err != nil {
		return err
	}
	d.at("suspend: wait")
	if err := d.awaitEnd(ctx, name, pid); err != nil {
		return err // it goes on by itself: the machine is suspended some time later
	}
	d.at("suspend: check")
	return d.checkSaved(ctx, ws, name, pid)
}

// suspendFailed begins what `tart run` prints before it ends with exit code 1 for not having saved the memory.
const suspendFailed = "Failed to suspend the VM: "

// checkSaved sees that a machine which was told to suspend has its memory saved, and saved wholly.
func (d *Driver) checkSaved(ctx context.Context, ws, name string, pid int) error {
	var said string
	if _, ours := d.record(ws, pid); ours {
		said = readTail(d.state(ws, ".log"), 4<<10) // of a machine started by hand there is none
	}
	_, reason, failed := strings.Cut(said, suspendFailed)
	if d.has(name, savedState) {
		if !failed {
			return nil
		}
		d.at("suspend: discard")
		if _, err := d.tart(ctx, "stop", name); err != nil { // of a suspended machine, that forgets the memory (row 38)
			return fmt.Errorf("discarding a memory that was saved in part: %w", err)
		}
	}
	if !failed {
		reason = said
	}
	err := explain(&cliError{"run", 1, reason})
	if hint.Of(err) == "" {
		err = hint.Wrap(err, "Start it again: it boots from its disk.")
	}
	return fmt.Errorf("the machine ended, and its memory is lost: %w", err)
}

// warmth tells whether the memory of a machine that runs can be saved, from the arguments of its process, whoever
// started it (section 8, rows 57 and 59).
func (d *Driver) warmth(name string, c config, pid int) vm.Warmth {
	no := func(format string, args ...any) vm.Warmth { return vm.Warmth{Reason: fmt.Sprintf(format, args...)} }
	switch {
	case c.OS != "darwin":
		return no("only macOS guests can be suspended")
	case !d.hostSince(14):
		return no("saving memory needs macOS 14 or newer on this Mac")
	case d.has(name, savedState):
		return no("it is still resuming")
	}
	argv, err := processArgs(pid)
	if err != nil {
		return no("the arguments of its process cannot be read: %v", err)
	}
	if reason := unsuspendable(argv); reason != "" {
		return no("%s", reason)
	}
	// A machine whose memory does not get on the disk is killed as well.
	free, known := d.options.FreeSpace(d.home)
	if need := uint64(max(c.MemorySize, 0)); known && free < need {
		return no("its memory takes up to %.1f GB of disk space, and %.1f GB are free",
			float64(need)/1e9, float64(free)/1e9)
	}
	return vm.Warmth{OK: true}
}

// unsuspendable says why a machine that was started so cannot be suspended; empty if it can.
func unsuspendable(argv []string) string {
	if len(argv) < 2 || argv[1] != "run" {
		return "its process is no `tart run`"
	}
	suspendable := false
	for option := range runOptions(argv) {
		switch option {
		case "--dir":
			return "a folder is shared into it"
		case "--suspendable":
			suspendable = true
		}
	}
	if !suspendable {
		return "it was started without --suspendable: restart it"
	}
	return ""
}

// resumed tells whether a machine that runs went on from saved memory. Address is the one it was suspended with: tart
// gives a machine another one, and forgets its memory, when a machine with the same one runs already (row 60).
func (d *Driver) resumed(name string, c config, address string) bool {
	return address != "" && c.MACAddress == address && !d.has(name, savedState)
}

// keptState is a second name for the saved memory of a machine that is being started: tart deletes the first when it
// has restored it, and then the machine may be refused all the same.
const keptState = "cal-state.kept"

func (d *Driver) keepMemory(name string) error {
	if err := os.Link(filepath.Join(d.dir(name), savedState), filepath.Join(d.dir(name), keptState)); err != nil {
		return fmt.Errorf("keeping its memory: %w", err)
	}
	return nil
}

// dropKept removes what keepMemory kept. What a crash left goes unused: the machine may have run on from it, and then
// its disk fits it no more.
func (d *Driver) dropKept(name string) error {
	return removeIfThere(filepath.Join(d.dir(name), keptState))
}

// memoryBack gives a machine that could not be started the memory it had. One that ran, be it for an instant, does not
// get it: only a refusal ends `tart run` with an exit code of its own.
func (d *Driver) memoryBack(name, address string, cause error) error {
	var refused *cliError
	if !errors.As(cause, &refused) || refused.code <= 0 || d.has(name, savedState) {
		return nil
	}
	c, err := d.config(name)
	if err != nil || c.MACAddress != address {
		return err
	}
	err = os.Link(filepath.Join(d.dir(name), keptState), filepath.Join(d.dir(name), savedState))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keeping its memory: %w", err)
	}
	return nil
}

// startSuspended resumes a suspended machine, or boots it: if it shall be cold, or if its memory cannot be resumed. The
// memory is given up only for a machine that runs.
func (d *Driver) startSuspended(
	ctx context.Context, ws string, args []string, c config, cold bool, p vm.Progress,
) error {
	name := machineName(ws)
	d.at("start: keep memory")
	if err := d.keepMemory(name); err != nil {
		return err
	}
	phase := vm.Phase{Name: "starting"}
	if !cold {
		d.at("start: resume")
		p.Report(vm.Phase{Name: "resuming"})
		err := d.launchPatiently(ctx, ws, args, c.MACAddress)
		if err == nil {
			d.at("start: resumed")
			d.reportReset(name, c.MACAddress, p)
			return d.dropKept(name)
		}
		if !unrestorable(err) {
			return errors.Join(err, d.dropKept(name))
		}
		phase = vm.Phase{Name: "booting without its memory", Detail: "it could not be resumed: " + err.Error()}
	}
	p.Report(phase)
	d.at("start: forget memory")
	_, err := d.tart(ctx, "stop", name) // of a suspended machine, that only removes its memory (row 38)
	if err == nil {
		d.at("start: boot")
		err = d.launchPatiently(ctx, ws, args, "")
	}
	if err != nil {
		err = errors.Join(err, d.memoryBack(name, c.MACAddress, err))
	}
	return errors.Join(err, d.dropKept(name))
}

// unrestorable tells whether a machine was refused for its memory, and not for what refuses a boot, too.
func unrestorable(err error) bool {
	var refused *cliError
	if !errors.As(err, &refused) || !strings.Contains(refused.text, "restoring VM state from a snapshot") {
		return false
	}
	for _, other := range []error{vm.ErrLimit, vm.ErrRunning, vm.ErrNotFound, vm.ErrNoSpace} {
		if errors.Is(err, other) {
			return false
		}
	}
	return !strings.Contains(refused.text, "Failed to lock auxiliary storage")
}

// reportReset tells p of a machine that was suspended and did not resume: its address is that of one which runs
// (row 60).
func (d *Driver) reportReset(name, address string, p vm.Progress) {
	if c, err := d.config(name); err == nil && c.MACAddress != address {
		p.Report(vm.Phase{
			Name: "booting without its memory", Detail: "another machine runs that went on from the same memory",
		})
	}
}
