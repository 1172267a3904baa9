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
	"strconv"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/resources"
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
)

// Start boots a stopped machine. It returns once QEMU runs the guest; SSH answers some seconds later.
func (d *Driver) Start(ctx context.Context, name string, o vm.StartOptions, p vm.Progress) error {
	m, unlock, err := d.open(ctx, name, "start")
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.mustBeStopped(ctx); err != nil {
		return fmt.Errorf("starting machine %q: %w", name, err)
	}
	if err := m.shorten(ctx, p); err != nil {
		return fmt.Errorf("starting machine %q: %w", name, err)
	}
	p.Report(vm.Phase{Name: "starting the machine"})
	if err := m.start(ctx, o); err != nil {
		return fmt.Errorf("starting machine %q: %w", name, err)
	}
	return nil
}

func (m *machine) start(ctx context.Context, o vm.StartOptions) error {
	if err := needSpace(m.dir, machineSpace, "making room for its disk"); err != nil {
		return err
	}
	if err := m.writeInitrd(o.Files); err != nil {
		return err
	}
	kvm := m.d.accel.kvm && !m.NoKVM
	err := m.startOnPort(ctx, kvm)
	if kvm && err != nil && ctx.Err() == nil {
		// Whatever KVM's trouble is, emulation has none of it. Remember it, so that no later start waits for it again.
		m.NoKVM = true
		err = m.startOnPort(ctx, false)
		if err == nil {
			err = m.save()
		}
	}
	return err
}

func (m *machine) startOnPort(ctx context.Context, kvm bool) error {
	var err error
	for range portTries {
		var port int
		if port, err = freePort(ctx); err != nil {
			return err
		}
		if err = m.spawn(ctx, launch{record: m.record, kvm: kvm, port: port}); !errors.Is(err, errPortTaken) {
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
	for _, old := range []string{socketFile, serialFile} {
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
	argv := m.acc.argv(s.commandLine(), groups...)
	path, err := lookTool(argv[0])
	if err != nil {
		return hint.Wrap(err, packageHint(argv[0]))
	}
	cmd := exec.Command(path, argv[1:]...) // not of ctx: the machine outlives the call
	cmd.Dir, cmd.Env = m.dir, toolEnv(os.Environ())
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return hint.Wrap(err, packageHint(qemuProgram))
	}
	ended := make(chan struct{})
	go func() { // reaps the machine's process should it end before this one
		_ = cmd.Wait()
		close(ended)
	}()
	if err := m.awaitMonitor(ctx, s, ended); err != nil {
		_ = cmd.Process.Kill()
		<-ended
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
		case err == nil && (!s.kvm || m.consoleSpoke()):
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
		{"lock", hint.Errorf("Another QEMU has this disk open: end it, then try again.", "the disk is in use")},
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

// writeInitrd writes the RAM disk of this start: modules, calinit, seed. It holds the guest's keys, so only QEMU may read
// it.
func (m *machine) writeInitrd(files []vm.SeedFile) error {
	var initrd bytes.Buffer
	first := modulesFile
	if m.Stock {
		first = initrdFile
	}
	head, err := os.ReadFile(filepath.Join(m.dir, first))
	if err != nil {
		return fmt.Errorf("writing its initrd: %w", err)
	}
	initrd.Write(head)
	// Archives begin at a multiple of four bytes; a compressed one may end anywhere.
	initrd.Write(make([]byte, -initrd.Len()&3))
	if !m.Stock {
		calinit, err := resources.CalInit()
		if err != nil {
			return err
		}
		if err := writeInit(&initrd, calinit); err != nil {
			return err
		}
	}
	if err := writeSeed(&initrd, withHostname(files, m.Name)); err != nil {
		return err
	}
	path := filepath.Join(m.dir, bootInitrd)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(path, initrd.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing its initrd: %w", err)
	}
	return m.acc.own(path)
}

// withHostname adds the machine's name to a seed that says nothing about it.
func withHostname(files []vm.SeedFile, name string) []vm.SeedFile {
	hosts := "127.0.0.1 localhost\n127.0.1.1 " + name + "\n::1 localhost ip6-localhost\n"
	for path, text := range map[string]string{"/etc/hostname": name + "\n", "/etc/hosts": hosts} {
		given := false
		for _, f := range files {
			given = given || f.Path == path
		}
		if !given {
			files = append(files[:len(files):len(files)], vm.SeedFile{Path: path, Mode: 0o644, Data: []byte(text)})
		}
	}
	return files
}

// Stop asks the guest to shut down, waits, and then powers the machine off. It takes no lock: it changes no file, and a
// forced stop must not wait for a patient one.
func (d *Driver) Stop(ctx context.Context, name string, how vm.Shutdown) error {
	p, err := d.runningProcess(ctx, name)
	if err != nil {
		return err
	}
	if how.Guest != nil {
		if err := politeStop(ctx, p.pid, how); err != nil {
			return fmt.Errorf("stopping machine %q: %w", name, err)
		}
	}
	if processRuns(p.pid) {
		if err := d.powerOff(ctx, name, p.pid); err != nil {
			return fmt.Errorf("stopping machine %q: %w", name, err)
		}
	}
	return nil
}

// politeStop gives the guest its grace. That the guest refuses or cannot be reached is no error: it is powered off then.
func politeStop(ctx context.Context, pid int, how vm.Shutdown) error {
	grace, cancel := context.WithTimeout(ctx, how.Grace)
	defer cancel()
	if err := how.Guest(grace); err != nil && ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil && processRuns(pid) {
		return ctx.Err()
	}
	if err := awaitEnd(grace, pid); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// powerOff ends QEMU: by its monitor, so that it writes out what it holds; if it does not answer, by force.
func (d *Driver) powerOff(ctx context.Context, name string, pid int) error {
	asked, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := qmp(asked, d.machineDir(name), "quit", nil, nil); err == nil || !processRuns(pid) {
		if err := awaitEnd(asked, pid); err == nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The number may have gone to another process meanwhile: ask the socket again whom it belongs to.
	p, err := findProcess(ctx, d.machineDir(name))
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err == nil && p.pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing process %s: %w", strconv.Itoa(pid), err)
	}
	return awaitEnd(ctx, pid)
}
