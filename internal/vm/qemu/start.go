package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

const (
	// startLimit bounds how long QEMU may take until its monitor answers.
	startLimit = 30 * time.Second
	// silenceLimit is how long a guest under KVM may take for its first byte on the console, which calinit prints within a
	// second. A KVM that cannot run it never gets there.
	silenceLimit = 15 * time.Second
	// portTries is how often another port is tried when somebody took the chosen one in between.
	portTries = 5
	// consoleLimit is the size beyond which a console's log is emptied: a guest can write to it without end.
	consoleLimit = 1 << 20
)

var (
	errPortTaken = errors.New("the chosen port was taken")
	errSilent    = errors.New("the guest is silent under KVM")
	// errDiskBusy is met right after a machine ended: its monitor is gone a moment before its disk is let go.
	errDiskBusy = errors.New("another process has the disk open")
)

// Start boots a stopped machine, or resumes a suspended one. It returns once QEMU runs the guest; SSH answers some
// seconds later, or at once.
func (d *Driver) Start(ctx context.Context, name string, o vm.StartOptions, p vm.Progress) error {
	m, unlock, err := d.open(ctx, name, "start")
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.mustBeStopped(ctx); err != nil {
		return fmt.Errorf("starting machine %q: %w", name, err)
	}
	if err := m.shorten(ctx, o, p); err != nil {
		return fmt.Errorf("starting machine %q: %w", name, err)
	}
	p.Report(vm.Phase{Name: "starting the machine"})
	if err := m.start(ctx, o, p); err != nil {
		return fmt.Errorf("starting machine %q: %w", name, err)
	}
	return nil
}

func (m *machine) start(ctx context.Context, o vm.StartOptions, p vm.Progress) error {
	if err := needSpace(m.dir, machineSpace, "making room for its disk"); err != nil {
		return err
	}
	if m.Template != "" {
		if done, err := m.startFirst(ctx, o, p); done || err != nil {
			return err
		}
	}
	if m.Disk.Layers[m.Disk.Active].Memory != "" {
		if !o.Cold {
			err := m.resume(ctx, p)
			var useless *giveUp
			if !errors.As(err, &useless) {
				return err
			}
			p.Report(vm.Phase{Name: "booting: the saved memory is of no use", Detail: useless.reason})
		}
		if err := m.become(m.Disk.withMemory(m.Disk.Active, "")); err != nil {
			return err
		}
		if err := m.d.fault("cold:forgotten"); err != nil {
			return err
		}
	}
	if err := m.writeInitrd(o.Files); err != nil {
		return err
	}
	kvm := m.d.accel.kvm && !m.NoKVM
	err := m.startOnPort(ctx, launch{record: m.record, kvm: kvm, share: o.Outbox})
	if kvm && err != nil && ctx.Err() == nil {
		// Whatever KVM's trouble is, emulation has none of it. Remember it, so that no later start waits for it again.
		m.NoKVM = true
		err = m.startOnPort(ctx, launch{record: m.record, share: o.Outbox})
		if err == nil {
			err = m.save()
		}
	}
	return err
}

func (m *machine) startOnPort(ctx context.Context, s launch) error {
	var err error
	s.steady = m.d.steady && !s.kvm
	for range portTries {
		if s.port, err = freePort(ctx); err != nil {
			return err
		}
		err = m.spawn(ctx, s)
		switch {
		case errors.Is(err, errDiskBusy):
			if err := pause(ctx, time.Second/2); err != nil {
				return err
			}
		case !errors.Is(err, errPortTaken):
			return err
		}
	}
	return err
}

// freePort returns a port of 127.0.0.1 that is free now.
func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// spawn runs QEMU in a session of its own, so that neither this process's end nor its terminal's Ctrl-C reaches it, and
// waits until its monitor answers.
func (m *machine) spawn(ctx context.Context, s launch) error {
	run := filepath.Join(m.dir, runDir)
	for _, old := range append([]string{socketFile, serialFile, shareSocket}, serialSockets()...) {
		if err := os.Remove(filepath.Join(run, old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	logPath := filepath.Join(m.dir, logFile)
	output, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	var groups []int
	if s.kvm {
		groups = ownerGroup("/dev/kvm")
	}
	endShare, err := m.serveShare(s.share)
	if err != nil {
		return err
	}
	argv := m.acc.argv(s.commandLine(), groups...)
	path, err := lookTool(argv[0])
	if err != nil {
		endShare()
		return hint.Wrap(err, packageHint(argv[0]))
	}
	cmd := exec.Command(path, argv[1:]...) // not of ctx: the machine outlives the call
	cmd.Dir, cmd.Env = m.dir, toolEnv(os.Environ())
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		endShare()
		return hint.Wrap(err, packageHint(qemuProgram))
	}
	ended := make(chan struct{})
	go func() { // reaps the machine's process should it end before this one
		_ = cmd.Wait()
		close(ended)
	}()
	err = m.awaitMonitor(ctx, s, ended)
	if err == nil && s.ready != nil {
		err = s.ready(ctx)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		<-ended
		endShare()
		if errors.Is(err, errEnded) {
			return explainQEMU(logPath)
		}
		return err
	}
	return nil
}

// errEnded says that QEMU ended before its monitor answered.
var errEnded = errors.New("QEMU ended at once")

// awaitMonitor waits until QEMU runs the guest: its monitor answers, and under KVM the guest has said something.
func (m *machine) awaitMonitor(ctx context.Context, s launch, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, errors.New("QEMU does not answer"))
	defer cancel()
	var running time.Time
	for {
		var status struct {
			Status string `json:"status"`
		}
		err := qmp(ctx, m.dir, "query-status", nil, &status)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && status.Status == "internal-error":
			return errors.New("the processor cannot run the guest")
		case err == nil && (!s.kvm || s.incoming || m.consoleSpoke()):
			return nil
		case err == nil && running.IsZero():
			running = time.Now()
		case err == nil && time.Since(running) > silenceLimit:
			return errSilent
		}
		select {
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func (m *machine) consoleSpoke() bool {
	info, err := os.Lstat(filepath.Join(m.dir, runDir, serialFile))
	return err == nil && info.Size() > 0
}

// boundConsole empties a console's log that has grown large. QEMU appends to it, so it goes on from the beginning.
func boundConsole(dir string) {
	path := filepath.Join(dir, runDir, serialFile)
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > consoleLimit {
		_ = f.Truncate(0)
	}
}

// explainQEMU says why QEMU ended, from what it printed.
func explainQEMU(logPath string) error {
	text, err := os.ReadFile(logPath)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		pattern string
		err     error
	}{
		{"Could not set up host forwarding rule", errPortTaken},
		{"No space left on device", hint.Wrap(vm.ErrNoSpace, "Free some disk space.")},
		{"Cannot allocate memory", hint.Errorf("Give the workspace less memory in its vm.yaml, or stop another.",
			"the host has too little free memory")},
		{"cannot set up guest memory", hint.Errorf("Give the workspace less memory in its vm.yaml, or stop another.",
			"the host has too little free memory")},
		{"Failed to get \"write\" lock", hint.Wrap(errDiskBusy, "End the other QEMU that uses this disk, then try again.")},
	} {
		if bytes.Contains(text, []byte(f.pattern)) {
			return fmt.Errorf("%w: %s", f.err, lastLine(text))
		}
	}
	return hint.Errorf("`CALMenu doctor` checks what virtual machines need.", "%w: %s", errEnded, lastLine(text))
}

// ownerGroup returns the group of a device, for the account that is to open it.
func ownerGroup(path string) []int {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return []int{int(st.Gid)}
	}
	return nil
}
