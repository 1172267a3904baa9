package vmtest

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/calmenu/calmenu/internal/vm"
)

// Suspend implements vm.Lifecycle.
func (m *Memory) Suspend(ctx context.Context, name string, p vm.Progress) error {
	w := m.w
	release, err := w.change(ctx, "Suspend", name)
	if err != nil {
		return fmt.Errorf("suspending %q: %w", name, err)
	}
	defer release()
	p.Report(vm.Phase{Name: "saving memory"})
	w.mu.Lock()
	defer w.mu.Unlock()
	mc, err := w.find(name)
	if err != nil || mc.run == nil {
		return fmt.Errorf("suspending %q: %w", name, orNotRunning(err))
	}
	if warm := w.warmth(mc); !warm.OK {
		return fmt.Errorf("suspending %q: %w", name, noMemory(warm))
	}
	mc.saved = mc.run.keys
	w.end(mc)
	return nil
}

// warmth tells whether a running machine's memory can be saved. The caller holds mu.
func (w *world) warmth(mc *machine) vm.Warmth {
	switch {
	case mc.run == nil:
		return vm.Warmth{}
	case !w.caps.WarmSnapshot:
		return vm.Warmth{Reason: "this driver saves none"}
	case mc.warmth != nil:
		return *mc.warmth
	case w.caps.Share && mc.run.options.Outbox != "":
		return vm.Warmth{Reason: "a folder is shared into it"}
	}
	return vm.Warmth{OK: true}
}

func noMemory(warm vm.Warmth) error { return fmt.Errorf("%w: %s", vm.ErrNoMemory, warm.Reason) }

// memoryNow tells whether a machine runs, and what of its memory a snapshot with these options holds: nil for nothing.
func (w *world) memoryNow(mc *machine, o vm.SnapshotOptions) (running bool, memory *keys) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if mc.run == nil {
		return false, mc.saved
	}
	if o.Memory {
		memory = mc.run.keys
	}
	return true, memory
}

// emptyRAM is what a boot does to a memory.
func (w *world) emptyRAM(name string) error {
	return errors.Join(os.RemoveAll(w.ram(name)), os.MkdirAll(w.ram(name), 0o700))
}

// swapRAM keeps a machine's saved memory, if there is any, for undo, and puts in its place what snapshot id holds.
func (w *world) swapRAM(mc *machine, id, undo string) error {
	name := mc.spec.Name
	if mc.saved != nil {
		if err := os.Rename(w.ram(name), w.snapRAM(name, undo)); err != nil {
			return err
		}
	}
	if mc.kept[id] == nil {
		return w.emptyRAM(name)
	}
	return errors.Join(os.RemoveAll(w.ram(name)), copyTree(w.snapRAM(name, id), w.ram(name)))
}
