package tart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// Start implements vm.Lifecycle.
func (d *Driver) Start(ctx context.Context, name string, o vm.StartOptions, p vm.Progress) error {
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return fmt.Errorf("starting %q: %w", name, err)
	}
	defer unlock()
	_, _, err = d.stopped(ctx, name)
	if err == nil {
		err = d.start(ctx, name, o, p)
	}
	if err != nil {
		return fmt.Errorf("starting %q: %w", name, err)
	}
	return nil
}

func (d *Driver) start(ctx context.Context, name string, o vm.StartOptions, p vm.Progress) error {
	c, err := d.config(machineName(name))
	if err != nil {
		return err
	}
	args, err := d.runArguments(name, c, o)
	if err != nil {
		return err
	}
	if d.has(machineName(name), savedState) {
		return d.startSuspended(ctx, name, args, c, o.Cold, p)
	}
	p.Report(vm.Phase{Name: "starting"})
	return d.launchPatiently(ctx, name, args, "")
}

func (d *Driver) runArguments(name string, c config, o vm.StartOptions) ([]string, error) {
	args := []string{"run", machineName(name), "--no-graphics", "--no-audio", "--no-clipboard"}
	if o.Outbox != "" {
		if err := checkOutbox(o.Outbox); err != nil {
			return nil, err
		}
		args = append(args, "--dir", o.Outbox+":tag="+vm.OutboxTag)
	} else if c.OS == "darwin" && d.hostSince(14) {
		// What was not started so is killed by an attempt to suspend it (row 57); of a Linux guest it is refused (row 59).
		args = append(args, "--suspendable")
	}
	if d.options.CutNetwork {
		args = append(args, "--net-softnet", "--net-softnet-block=0.0.0.0/0")
	}
	return args, nil
}

// launchPatiently launches a machine that is not held by an earlier run of it for long. Address is that of a suspended
// machine that shall resume, and empty for one that shall boot.
func (d *Driver) launchPatiently(ctx context.Context, name string, args []string, address string) error {
	wait := d.options.Retry
	for tries := 5; ; tries-- {
		err := d.launch(ctx, name, args, address)
		if err != nil && address != "" {
			err = errors.Join(err, d.memoryBack(machineName(name), address, err))
		}
		// The lock of a machine that was killed a moment ago is not always free at once (section 8).
		if err == nil || tries == 1 || !strings.Contains(err.Error(), "Failed to lock auxiliary storage") {
			return d.nameRunning(ctx, err)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}

// checkOutbox refuses what --dir would take for something else (section 7).
func checkOutbox(dir string) error {
	const what = "Choose another folder for output.sync_dir in config.yaml."
	if !filepath.IsAbs(dir) || strings.ContainsAny(dir, ":,\x00") {
		return hint.Errorf(what, "sharing %q: Tart takes absolute paths without colons and commas only", dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("sharing the outbox: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("sharing %q: it is not a folder", dir)
	}
	return nil
}

// nameRunning adds the machines that run to an error about their number.
func (d *Driver) nameRunning(ctx context.Context, err error) error {
	if !errors.Is(err, vm.ErrLimit) {
		return err
	}
	inv, listErr := d.list(ctx)
	if listErr != nil {
		return err
	}
	running := d.runningGuests(inv)
	if len(running) == 0 {
		return hint.Wrap(err, "Two macOS virtual machines of other programs or users run: Apple allows no third.")
	}
	return hint.Wrap(fmt.Errorf("%w: %s", err, strings.Join(running, ", ")),
		fmt.Sprintf("Apple allows two running macOS virtual machines on one Mac: stop %s.", strings.Join(running, " or ")))
}

// launch starts `tart run` in a session of its own and returns once the machine has started. Its process outlives this
// one; its output goes to a file, so that it never meets a broken pipe.
func (d *Driver) launch(ctx context.Context, name string, args []string, address string) error {
	logPath := d.state(name, ".log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("making its log: %w", err)
	}
	defer log.Close()
	socket := filepath.Join(d.dir(machineName(name)), "control.sock")
	before, _ := os.Lstat(socket) // one may linger from an earlier run
	// Not CommandContext: the machine does not end with the call that started it.
	cmd := d.command(context.WithoutCancel(ctx), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return asCLIError("run", err, "")
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	pid := cmd.Process.Pid
	// Before anything can come of it, so that whoever finds the machine knows how it was started.
	if err := writeJSON(d.state(name, ".run.json"), runRecord{PID: pid, Started: started, Address: address}); err != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		return errors.Join(fmt.Errorf("recording its process: %w", err), <-ended)
	}
	// A memory is there until it is restored, which takes as long as it is large.
	restoring := func() bool { return address != "" && d.has(machineName(name), savedState) }
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var held time.Time
	for {
		select {
		case err := <-ended:
			return endedEarly(err, readTail(logPath, 4<<10))
		case <-ctx.Done():
			if now, err := d.holder(machineName(name)); address != "" && err == nil && now == pid && !restoring() {
				return nil // it has resumed: to kill it now would lose its memory
			}
			_ = syscall.Kill(-pid, syscall.SIGKILL)
			return errors.Join(ctx.Err(), <-ended)
		case <-tick.C:
		}
		if now, err := d.holder(machineName(name)); err != nil || now != pid || restoring() {
			continue // the lock of TART_HOME may keep it waiting
		}
		if held.IsZero() {
			held = time.Now()
		}
		// A refusal comes while the machine is seen running already (row 30); the control socket comes after it.
		if after, err := os.Lstat(socket); (err == nil && replaced(before, after)) || time.Since(held) > d.options.Settle {
			return nil
		}
	}
}

// replaced tells whether a file was made anew since before, which is nil if there was none.
func replaced(before, after os.FileInfo) bool {
	return before == nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime())
}

// endedEarly says why a machine ended instead of starting: its text tells more than its exit code (rows 27-31).
func endedEarly(err error, text string) error {
	if err == nil {
		return fmt.Errorf("it ended at once: %q", text)
	}
	return explain(asCLIError("run", err, text))
}
