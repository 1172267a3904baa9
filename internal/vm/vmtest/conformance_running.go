package vmtest

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// running checks one boot: who may start, what the machine says of itself, what is refused meanwhile, a clean end.
func (s *suite) running(t *testing.T) {
	d := s.driver(t)
	other := s.Reopen(t, d)
	s.machine(t, d, "busy")
	before := time.Now().Add(-2 * time.Second)
	errs := race([]vm.Driver{d, other, d}, func(d vm.Driver) error {
		return d.Start(t.Context(), "busy", s.Start, nil)
	})
	s.offAtEnd(t, d, "busy")
	oneWins(t, "Start", errs, vm.ErrRunning)
	isRunning(t, "busy", true, d, other, s.Reopen(t, d))
	m, err := other.Machine(t.Context(), "busy")
	if err != nil || m.PID <= 0 || m.Suspended || m.Resumed {
		t.Errorf("facts of a running machine: %+v, %v", m, err)
	}
	if !m.StartedAt.IsZero() && (m.StartedAt.Before(before) || m.StartedAt.After(time.Now().Add(2*time.Second))) {
		t.Errorf("StartedAt = %s, but it was started just now", m.StartedAt)
	}
	s.awaitSSH(t, other, "busy")
	s.refusedWhileRunning(t, d, other)
	s.seeded(t, d, "busy")
	s.exposure(t, other, "busy", "")
	s.stopCancelled(t, d, "busy")

	asked := make(chan struct{}, 8)
	err = other.Stop(t.Context(), "busy", vm.Shutdown{Grace: s.BootLimit, Guest: func(ctx context.Context) error {
		asked <- struct{}{}
		return s.PowerOff(ctx, other, "busy")
	}})
	if err != nil {
		t.Fatalf("Stop: %v", err)
	}
	if len(asked) != 1 {
		t.Errorf("Stop asked the guest %d times, want once", len(asked))
	}
	isRunning(t, "busy", false, d, other)
	wantIs(t, "second Stop", d.Stop(t.Context(), "busy", vm.Shutdown{}), vm.ErrNotRunning)
	if m, err := d.Machine(t.Context(), "busy"); err != nil || m.PID != 0 || !m.StartedAt.IsZero() {
		t.Errorf("facts after Stop: %+v, %v", m, err)
	}
	if err := d.Delete(t.Context(), "busy"); err != nil {
		t.Errorf("Delete after Stop: %v", err)
	}
	wantNames(t, other)
}

func (s *suite) refusedWhileRunning(t *testing.T, d, other vm.Driver) {
	ctx := t.Context()
	wantIs(t, "Start while running", other.Start(ctx, "busy", s.Start, nil), vm.ErrRunning)
	wantIs(t, "Delete while running", d.Delete(ctx, "busy"), vm.ErrRunning)
	wantIs(t, "Resize while running", d.Resize(ctx, "busy", 2, 0), vm.ErrRunning)
	if err := d.Restore(ctx, "busy", "s1", "undo1"); !errors.Is(err, vm.ErrRunning) && !errors.Is(err, vm.ErrNoSnapshot) {
		t.Errorf("Restore while running = %v, want %v", err, vm.ErrRunning)
	}
	wantIs(t, "Create while running", d.Create(ctx, s.spec("busy"), nil), vm.ErrExists)
	if err := d.Recover(ctx, "busy"); err != nil {
		t.Errorf("Recover while running: %v", err)
	}
	isRunning(t, "busy", true, d, other)
}

// seeded checks that the files of a start are in the guest.
func (s *suite) seeded(t *testing.T, d vm.Driver, name string) {
	if !d.Info().Capabilities.SeedFiles || s.ReadGuestFile == nil {
		return
	}
	for _, f := range s.Start.Files {
		if f.Mode.IsDir() {
			continue
		}
		got, err := s.ReadGuestFile(t.Context(), d, name, f.Path)
		if err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("seeded %s reads %d bytes, %v, want the %d it was given", f.Path, len(got), err, len(f.Data))
		}
	}
}

// exposure checks that the machine shares outbox, or nothing if that is empty.
func (s *suite) exposure(t *testing.T, d vm.Driver, name, outbox string) {
	e, err := d.Exposure(t.Context(), name)
	if err != nil || e.Evidence == "" {
		t.Fatalf("Exposure = %+v, %v, want evidence", e, err)
	}
	var want []string
	if outbox != "" {
		want = []string{outbox}
	}
	var got []string
	for _, sh := range e.Shares {
		got = append(got, sh.HostPath)
	}
	if !slices.Equal(got, want) {
		t.Errorf("shared folders = %q, want %q", got, want)
	}
	if e.Clipboard || e.Audio {
		t.Errorf("clipboard %v, audio %v: both must be off", e.Clipboard, e.Audio)
	}
	for _, l := range e.Listeners {
		if !strings.HasPrefix(l, "127.") && !strings.HasPrefix(l, "[::1]") && !filepath.IsAbs(l) {
			t.Errorf("the machine's process listens on %s, which is not this host alone", l)
		}
	}
}

// stopCancelled checks that a Stop whose context ends while it waits returns and leaves the guest running.
func (s *suite) stopCancelled(t *testing.T, d vm.Driver, name string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := d.Stop(ctx, name, vm.Shutdown{Grace: time.Hour, Guest: func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}})
	wantIs(t, "Stop whose context ended", err, context.Canceled)
	isRunning(t, name, true, d)
}

// powerOff checks the ends a guest has no say in, and the shared outbox.
func (s *suite) powerOff(t *testing.T) {
	d := s.driver(t)
	s.machine(t, d, "mute")
	o := s.Start
	outbox := ""
	if d.Info().Capabilities.Share {
		outbox = filepath.Join(t.TempDir(), "outbox")
		o.Outbox = mkdir(t, outbox)
	}
	s.offAtEnd(t, d, "mute")
	p, _ := oneAtATime(t)
	if err := d.Start(t.Context(), "mute", o, p); err != nil {
		t.Fatalf("Start: %v", err)
	}
	s.exposure(t, d, "mute", outbox)
	// The guest is asked, says yes, and never goes: after its grace it is powered off.
	asked := make(chan struct{}, 1)
	err := d.Stop(t.Context(), "mute", vm.Shutdown{Grace: 200 * time.Millisecond, Guest: func(context.Context) error {
		asked <- struct{}{}
		return nil
	}})
	if err != nil || len(asked) != 1 {
		t.Fatalf("Stop of a guest that hangs: %v, asked it %d times", err, len(asked))
	}
	isRunning(t, "mute", false, d, s.Reopen(t, d))

	// No guest to ask: at once, right after it ended, and again.
	if err := d.Start(t.Context(), "mute", s.Start, nil); err != nil {
		t.Fatalf("Start after Stop: %v", err)
	}
	if err := d.Stop(t.Context(), "mute", vm.Shutdown{}); err != nil {
		t.Fatalf("Stop without a guest: %v", err)
	}
	isRunning(t, "mute", false, d)
	s.exposureOff(t, d)
}

func (s *suite) exposureOff(t *testing.T, d vm.Driver) {
	_, err := d.Exposure(t.Context(), "mute")
	wantIs(t, "Exposure after Stop", err, vm.ErrNotRunning)
	_, err = d.DialSSH(t.Context(), "mute")
	wantIs(t, "DialSSH after Stop", err, vm.ErrNotRunning)
}

// limit checks that one machine more than the platform allows is refused with the names of those that run.
func (s *suite) limit(t *testing.T) {
	d := s.driver(t)
	most := d.Info().Capabilities.MaxRunning
	if most == 0 {
		t.Skip("this driver knows no limit")
	}
	all := []string{"one", "two", "three", "four", "five"}[:most+1]
	for _, name := range all {
		s.machine(t, d, name)
	}
	for _, name := range all[:most] {
		s.boot(t, d, name)
	}
	last := all[most]
	s.offAtEnd(t, d, last)
	err := d.Start(t.Context(), last, s.Start, nil)
	wantIs(t, "Start beyond the limit", err, vm.ErrLimit)
	for _, name := range all[:most] {
		if err != nil && !strings.Contains(err.Error()+hint.Of(err), name) {
			t.Errorf("error %q does not name %q, which runs", err, name)
		}
	}
	isRunning(t, last, false, d)
	if err := d.Stop(t.Context(), all[0], vm.Shutdown{}); err != nil {
		t.Fatalf("Stop: %v", err)
	}
	s.boot(t, d, last)
}
