package vmtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// Create implements vm.Lifecycle.
func (m *Memory) Create(ctx context.Context, s vm.Spec, p vm.Progress) error {
	w := m.w
	release, err := w.change(ctx, "Create", s.Name)
	if err != nil {
		return fmt.Errorf("creating %q: %w", s.Name, err)
	}
	defer release()
	if s.Image == "" {
		s.Image = w.options.Image
	}
	w.mu.Lock()
	_, taken := w.machines[s.Name]
	ready := w.images[s.Image]
	w.mu.Unlock()
	switch {
	case taken:
		return fmt.Errorf("creating: %w: %q", vm.ErrExists, s.Name)
	case !ready:
		return fmt.Errorf("creating %q: %w: %q", s.Name, vm.ErrNoImage, s.Image)
	}
	p.Report(vm.Phase{Name: "creating disk", Total: 1})
	key, err := newHostKey()
	if err == nil {
		err = errors.Join(os.MkdirAll(w.home(s.Name), 0o700), os.MkdirAll(w.ram(s.Name), 0o700))
	}
	if err != nil {
		return fmt.Errorf("creating %q: %w", s.Name, err)
	}
	p.Report(vm.Phase{Name: "creating disk", Done: 1, Total: 1})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.machines[s.Name] = &machine{spec: s, hostKey: key, kept: map[string]*keys{}}
	return nil
}

// Start implements vm.Lifecycle.
func (m *Memory) Start(ctx context.Context, name string, o vm.StartOptions, p vm.Progress) error {
	w := m.w
	release, err := w.change(ctx, "Start", name)
	if err != nil {
		return fmt.Errorf("starting %q: %w", name, err)
	}
	defer release()
	mc, err := w.stopped(name)
	if err == nil {
		err = w.checkLimit()
	}
	if err != nil {
		return fmt.Errorf("starting %q: %w", name, err)
	}
	r := &run{options: o, started: time.Now(), ended: make(chan struct{})}
	if mc.saved != nil && !o.Cold {
		p.Report(vm.Phase{Name: "resuming"})
		r.resumed, r.keys = true, mc.saved
	} else {
		p.Report(vm.Phase{Name: "booting"})
		r.keys, err = w.seedKeys(name, mc, o)
	}
	if err == nil && w.options.Dial == nil {
		r.guest, err = w.serve(name, mc, r.keys)
	}
	if err == nil && !r.resumed {
		err = w.emptyRAM(name)
	}
	if err != nil {
		if r.guest != nil {
			r.guest.Close()
		}
		return fmt.Errorf("starting %q: %w", name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	mc.run, mc.saved = r, nil
	if r.guest != nil {
		w.guests = append(w.guests, r.guest)
	}
	return nil
}

func (w *world) checkLimit() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var running []string
	for name, mc := range w.machines {
		if mc.run != nil {
			running = append(running, name)
		}
	}
	if limit := w.caps.MaxRunning; limit > 0 && len(running) >= limit {
		slices.Sort(running)
		return fmt.Errorf("%w: %s", vm.ErrLimit, strings.Join(running, ", "))
	}
	return nil
}

// seedKeys puts a boot's files into the guest and returns the keys its SSH server has then.
func (w *world) seedKeys(name string, mc *machine, o vm.StartOptions) (*keys, error) {
	k := &keys{host: mc.hostKey}
	if w.caps.SeedFiles {
		seeded, users, err := w.seed(name, o.Files)
		if err != nil {
			return nil, err
		}
		if k.users = users; seeded != nil {
			k.host = seeded
		}
	}
	if w.options.Authorized != nil {
		k.users = append(k.users, w.options.Authorized)
	}
	return k, nil
}

func (w *world) serve(name string, mc *machine, k *keys) (*SSHGuest, error) {
	return NewSSHGuest(SSHGuestOptions{
		Home: w.home(name), Memory: w.ram(name), HostKey: k.host, Authorized: k.users,
		User: w.caps.User, Password: w.caps.Password,
		OnPowerOff: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.end(mc)
		},
	})
}

// Stop implements vm.Lifecycle.
func (m *Memory) Stop(ctx context.Context, name string, how vm.Shutdown) error {
	w := m.w
	release, err := w.change(ctx, "Stop", name)
	if err != nil {
		return fmt.Errorf("stopping %q: %w", name, err)
	}
	defer release()
	w.mu.Lock()
	mc, err := w.find(name)
	if err != nil || mc.run == nil {
		w.mu.Unlock()
		return fmt.Errorf("stopping %q: %w", name, orNotRunning(err))
	}
	ended := mc.run.ended
	w.mu.Unlock()
	if how.Guest != nil {
		graceful, cancel := context.WithTimeout(ctx, how.Grace)
		defer cancel()
		// The guest's answer does not matter, and a guest that never answers must not hold this up.
		go func() { _ = how.Guest(graceful) }()
		select {
		case <-ended:
			return nil
		case <-graceful.Done():
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stopping %q: %w", name, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(mc)
	return nil
}

func orNotRunning(err error) error {
	if err != nil {
		return err
	}
	return vm.ErrNotRunning
}

// Delete implements vm.Lifecycle.
func (m *Memory) Delete(ctx context.Context, name string) error {
	release, err := m.w.change(ctx, "Delete", name)
	if err != nil {
		return fmt.Errorf("deleting %q: %w", name, err)
	}
	defer release()
	if _, err := m.w.stopped(name); err != nil {
		return fmt.Errorf("deleting %q: %w", name, err)
	}
	m.w.mu.Lock()
	delete(m.w.machines, name)
	m.w.mu.Unlock()
	if err := os.RemoveAll(filepath.Join(m.w.dir, name)); err != nil {
		return fmt.Errorf("deleting %q: %w", name, err)
	}
	return nil
}

// Machine implements vm.Lifecycle.
func (m *Memory) Machine(ctx context.Context, name string) (vm.Machine, error) {
	if err := m.w.begin(ctx, "Machine", ""); err != nil {
		return vm.Machine{}, err
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	mc, err := m.w.find(name)
	if err != nil {
		return vm.Machine{}, err
	}
	return m.w.facts(mc), nil
}

// Machines implements vm.Lifecycle.
func (m *Memory) Machines(ctx context.Context) ([]vm.Machine, error) {
	if err := m.w.begin(ctx, "Machines", ""); err != nil {
		return nil, err
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	var all []vm.Machine
	for _, mc := range m.w.machines {
		all = append(all, m.w.facts(mc))
	}
	slices.SortFunc(all, func(a, b vm.Machine) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (w *world) facts(mc *machine) vm.Machine {
	f := vm.Machine{Name: mc.spec.Name, CPU: mc.spec.CPU, MemoryMiB: mc.spec.MemoryMiB}
	if mc.run != nil {
		f.Running, f.PID, f.StartedAt = true, os.Getpid(), mc.run.started
		f.Resumed, f.Warm = mc.run.resumed, w.warmth(mc)
	}
	f.Suspended = mc.saved != nil
	f.DiskBytes = treeSize(filepath.Join(w.dir, mc.spec.Name))
	return f
}

// Resize implements vm.Lifecycle.
func (m *Memory) Resize(ctx context.Context, name string, cpu, memoryMiB int) error {
	release, err := m.w.change(ctx, "Resize", name)
	if err != nil {
		return fmt.Errorf("resizing %q: %w", name, err)
	}
	defer release()
	mc, err := m.w.stopped(name)
	if err != nil {
		return fmt.Errorf("resizing %q: %w", name, err)
	}
	if cpu < 0 || memoryMiB < 0 {
		return fmt.Errorf("resizing %q: %d processors and %d MiB cannot be", name, cpu, memoryMiB)
	}
	if mc.saved != nil {
		return hint.Errorf("Start it and shut it down first.",
			"resizing %q: it is suspended, and would not resume with other resources", name)
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if cpu > 0 {
		mc.spec.CPU = cpu
	}
	if memoryMiB > 0 {
		mc.spec.MemoryMiB = memoryMiB
	}
	return nil
}

// DialSSH implements vm.Dialer.
func (m *Memory) DialSSH(ctx context.Context, name string) (net.Conn, error) {
	if err := m.w.begin(ctx, "DialSSH", ""); err != nil {
		return nil, err
	}
	m.w.mu.Lock()
	mc, err := m.w.find(name)
	if err != nil || mc.run == nil {
		m.w.mu.Unlock()
		return nil, fmt.Errorf("reaching %q: %w", name, orNotRunning(err))
	}
	guest := mc.run.guest
	m.w.mu.Unlock()
	if guest == nil {
		return m.w.options.Dial(ctx, name)
	}
	return guest.Dial(ctx)
}

// Exposure implements vm.Inspector.
func (m *Memory) Exposure(ctx context.Context, name string) (vm.Exposure, error) {
	if err := m.w.begin(ctx, "Exposure", ""); err != nil {
		return vm.Exposure{}, err
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	mc, err := m.w.find(name)
	if err != nil || mc.run == nil {
		return vm.Exposure{}, fmt.Errorf("inspecting %q: %w", name, orNotRunning(err))
	}
	if mc.exposure != nil {
		return *mc.exposure, nil
	}
	e := vm.Exposure{Restricted: true, Evidence: "memory " + name + " restrict=on"}
	if m.w.caps.Share && mc.run.options.Outbox != "" {
		e.Shares = []vm.Share{{HostPath: mc.run.options.Outbox}}
		e.Evidence += " outbox=" + mc.run.options.Outbox
	}
	if mc.run.guest != nil {
		e.Listeners = []string{mc.run.guest.Addr()}
	}
	return e, nil
}
