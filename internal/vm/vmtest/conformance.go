// Package vmtest says, as tests, what every driver of internal/vm must do, and has what tests without a virtual machine
// need: an in-memory driver that obeys, and an SSH server that plays a guest.
//
// What must hold: Conformance asks for nothing that vm.Driver does not promise, and nothing here is part of the
// product.
package vmtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// Options tell Conformance how to get at a driver's machines from outside.
type Options struct {
	// WriteMark puts value on the machine's disk, ReadMark reads what is there ("" for nothing). The machine may be
	// stopped or running (ask d.Machine) and must be so again afterwards.
	WriteMark func(ctx context.Context, d vm.Driver, name, value string) error
	ReadMark  func(ctx context.Context, d vm.Driver, name string) (string, error)

	// WriteMemory puts value where only the running guest's memory holds it (a file system that is never on a disk, such
	// as /dev/shm, or a process), ReadMemory reads what is there ("" for nothing, as after every boot). They are called
	// once the guest's SSH server greets. Drivers with Capabilities.WarmSnapshot need both, others none.
	WriteMemory func(ctx context.Context, d vm.Driver, name, value string) error
	ReadMemory  func(ctx context.Context, d vm.Driver, name string) (string, error)

	// PowerOff makes the running guest shut itself down: what a caller's Shutdown.Guest does. It is called once the
	// guest's SSH server greets.
	PowerOff func(ctx context.Context, d vm.Driver, name string) error

	// Reopen returns another driver value over the same state, as a second process would have.
	Reopen func(t *testing.T, d vm.Driver) vm.Driver

	// ReadGuestFile reads a file of the running guest, for drivers that seed files.
	ReadGuestFile func(ctx context.Context, d vm.Driver, name, path string) ([]byte, error)

	// Spec is what machines are created from; its Name is replaced. Zero values: driver's image, 1 CPU, 512 MiB, 4 GiB.
	Spec vm.Spec
	// MissingImage is the name of a well-formed image that is not there; empty skips what needs one.
	MissingImage string

	// Start completes the options of every start, for guests that need seed files to be reached.
	Start vm.StartOptions
	// BootLimit is how long a guest may take until its SSH server greets; 0 is 20 s.
	BootLimit time.Duration
	// Slow is for drivers whose guests take seconds to boot: random histories are left out. What remains boots four
	// times (with a limit of N, N+1 times more), and writes or reads a stopped machine's mark eight times. With
	// WarmSnapshot it boots six times more and resumes eight times; a suspended machine's mark is never asked for.
	Slow bool
}

// suite is one run of Conformance.
type suite struct {
	Options
	newDriver func(t *testing.T) vm.Driver
}

// Conformance checks a driver against the contract of internal/vm. newDriver returns a driver with no machines; it is
// called once for each group of tests.
func Conformance(t *testing.T, newDriver func(t *testing.T) vm.Driver, o Options) {
	if o.Spec.CPU == 0 {
		o.Spec.CPU = 1
	}
	if o.Spec.MemoryMiB == 0 {
		o.Spec.MemoryMiB = 512
	}
	if o.Spec.DiskGiB == 0 {
		o.Spec.DiskGiB = 4
	}
	if o.BootLimit == 0 {
		o.BootLimit = 20 * time.Second
	}
	s := &suite{Options: o, newDriver: newDriver}
	t.Run("Info", s.info)
	t.Run("Images", s.images)
	t.Run("Names", s.names)
	t.Run("NotFound", s.notFound)
	t.Run("Create", s.create)
	t.Run("Cancelled", s.cancelled)
	t.Run("Running", s.running)
	t.Run("PowerOff", s.powerOff)
	t.Run("Limit", s.limit)
	t.Run("Snapshots", s.snapshots)
	t.Run("LiveSnapshot", s.liveSnapshot)
	t.Run("Warm", s.warm)
	if !o.Slow {
		t.Run("Histories", s.histories)
		t.Run("WarmHistories", s.warmHistories)
	}
}

// driver returns a fresh driver whose default image is ready.
func (s *suite) driver(t *testing.T) vm.Driver {
	t.Helper()
	d := s.newDriver(t)
	if err := d.EnsureImage(t.Context(), s.image(d), nil); err != nil {
		t.Fatalf("EnsureImage: %v", err)
	}
	return d
}

func (s *suite) image(d vm.Driver) string {
	if s.Spec.Image != "" {
		return s.Spec.Image
	}
	return d.DefaultImage()
}

func (s *suite) spec(name string) vm.Spec {
	sp := s.Spec
	sp.Name = name
	return sp
}

// machine creates a stopped machine.
func (s *suite) machine(t *testing.T, d vm.Driver, name string) {
	t.Helper()
	if err := d.Create(t.Context(), s.spec(name), nil); err != nil {
		t.Fatalf("Create(%s): %v", name, err)
	}
}

// boot starts a machine, sees that it is off when the test ends, and waits until its guest's SSH server greets.
func (s *suite) boot(t *testing.T, d vm.Driver, name string) {
	t.Helper()
	if err := d.Start(t.Context(), name, s.Start, nil); err != nil {
		t.Fatalf("Start(%s): %v", name, err)
	}
	s.offAtEnd(t, d, name)
	s.awaitSSH(t, d, name)
}

func (s *suite) offAtEnd(t *testing.T, d vm.Driver, name string) {
	t.Cleanup(func() {
		err := d.Stop(context.Background(), name, vm.Shutdown{})
		if err != nil && !errors.Is(err, vm.ErrNotRunning) && !errors.Is(err, vm.ErrNotFound) {
			t.Errorf("Stop(%s) at end: %v", name, err)
		}
	})
}

// awaitSSH dials until the guest's SSH server greets (RFC 4253 section 4.2).
func (s *suite) awaitSSH(t *testing.T, d vm.Driver, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.BootLimit)
	defer cancel()
	var last error
	poll(ctx, func() bool {
		last = greet(ctx, d, name)
		return last == nil
	})
	if last != nil {
		t.Fatalf("guest of %s did not greet within %s: %v", name, s.BootLimit, last)
	}
}

func greet(ctx context.Context, d vm.Driver, name string) error {
	c, err := d.DialSSH(ctx, name)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	buf := make([]byte, 8)
	for n := 0; n < len(buf); {
		m, err := c.Read(buf[n:])
		if n += m; err != nil && n < len(buf) {
			return fmt.Errorf("reading greeting after %q: %w", buf[:n], err)
		}
	}
	if string(buf) != "SSH-2.0-" {
		return fmt.Errorf("greeted with %q", buf)
	}
	return nil
}

// poll calls done every few milliseconds until it is true or ctx ends.
func poll(ctx context.Context, done func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// wantIs fails unless err is want.
func wantIs(t *testing.T, call string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", call, err, want)
	}
}

// isRunning fails unless the machine's state is as said, in d and in every other driver value given.
func isRunning(t *testing.T, name string, want bool, drivers ...vm.Driver) {
	t.Helper()
	for i, d := range drivers {
		m, err := d.Machine(context.WithoutCancel(t.Context()), name)
		if err != nil {
			t.Errorf("driver %d: Machine(%s): %v", i, name, err)
		} else if m.Running != want {
			t.Errorf("driver %d: Machine(%s).Running = %v, want %v", i, name, m.Running, want)
		}
	}
}

// machineNames lists the machines as d sees them.
func machineNames(t *testing.T, d vm.Driver) []string {
	t.Helper()
	all, err := d.Machines(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatalf("Machines: %v", err)
	}
	got := []string{}
	for _, m := range all {
		got = append(got, m.Name)
	}
	return got
}

func wantNames(t *testing.T, d vm.Driver, want ...string) {
	t.Helper()
	if got := machineNames(t, d); !slices.Equal(got, want) {
		t.Errorf("Machines = %q, want %q", got, want)
	}
}

// oneAtATime returns a Progress that fails the test when it is called by two goroutines at once.
func oneAtATime(t *testing.T) (p vm.Progress, calls func() int) {
	var inside, n atomic.Int32
	return func(ph vm.Phase) {
		if inside.Add(1) != 1 {
			t.Errorf("progress %+v reported while another report was going on", ph)
		}
		defer inside.Add(-1)
		n.Add(1)
		if ph.Name == "" || ph.Done < 0 || ph.Total < 0 || (ph.Total > 0 && ph.Done > ph.Total) {
			t.Errorf("progress %+v makes no sense", ph)
		}
	}, func() int { return int(n.Load()) }
}

// race runs f of each driver at once and returns the errors.
func race(drivers []vm.Driver, f func(vm.Driver) error) []error {
	errs := make([]error, len(drivers))
	var all sync.WaitGroup
	gate := make(chan struct{})
	for i, d := range drivers {
		all.Go(func() {
			<-gate
			errs[i] = f(d)
		})
	}
	close(gate)
	all.Wait()
	return errs
}

// oneWins fails unless exactly one error is nil and all others are loser.
func oneWins(t *testing.T, call string, errs []error, loser error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, loser) {
			t.Errorf("%s that came second = %v, want %v", call, err, loser)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d concurrent calls of %s won, want exactly one: %v", won, len(errs), call, errs)
	}
}
