package vmtest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

func (s *suite) info(t *testing.T) {
	d := s.newDriver(t)
	info := d.Info()
	if info.Name == "" {
		t.Error("Info().Name is empty")
	}
	c := info.Capabilities
	if c.GuestOS != "linux" && c.GuestOS != "darwin" {
		t.Errorf("GuestOS = %q, want linux or darwin", c.GuestOS)
	}
	if c.User == "" || c.MaxRunning < 0 {
		t.Errorf("User = %q, MaxRunning = %d", c.User, c.MaxRunning)
	}
	if again := d.Info(); again != info {
		t.Errorf("Info changed from %+v to %+v", info, again)
	}
	for _, r := range d.Requirements(t.Context()) {
		if r.Name == "" || (!r.OK && (r.Detail == "" || r.Hint == "")) {
			t.Errorf("requirement %+v lacks a name, why it is not met, or what to do", r)
		}
	}
}

func (s *suite) images(t *testing.T) {
	d := s.newDriver(t)
	if d.DefaultImage() == "" {
		t.Fatal("DefaultImage is empty")
	}
	image := s.image(d)
	was, err := d.ImageReady(t.Context(), image)
	if err != nil {
		t.Fatalf("ImageReady: %v", err)
	}
	if !was {
		wantIs(t, "Create before EnsureImage", d.Create(t.Context(), s.spec("early"), nil), vm.ErrNoImage)
		wantNames(t, d)
	}
	p, calls := oneAtATime(t)
	both := []vm.Driver{d, s.Reopen(t, d)}
	for _, err := range race(both, func(d vm.Driver) error {
		if d == both[0] {
			return d.EnsureImage(t.Context(), image, p)
		}
		return d.EnsureImage(t.Context(), image, nil)
	}) {
		if err != nil {
			t.Errorf("EnsureImage: %v", err)
		}
	}
	if err := d.EnsureImage(t.Context(), image, p); err != nil {
		t.Errorf("EnsureImage of a ready image: %v", err)
	}
	t.Logf("image was ready: %v; progress reports: %d", was, calls())
	for i, d := range both {
		if ready, err := d.ImageReady(t.Context(), image); err != nil || !ready {
			t.Errorf("driver %d: ImageReady after EnsureImage = %v, %v", i, ready, err)
		}
	}
	if s.MissingImage == "" {
		return
	}
	if ready, err := d.ImageReady(t.Context(), s.MissingImage); err != nil || ready {
		t.Errorf("ImageReady(%s) = %v, %v, want false", s.MissingImage, ready, err)
	}
	sp := s.spec("none")
	sp.Image = s.MissingImage
	wantIs(t, "Create from a missing image", d.Create(t.Context(), sp, nil), vm.ErrNoImage)
	wantNames(t, d)
}

// hostile are names no driver may let near a path, an argv or a socket.
var hostile = []string{
	"", ".", "..", "-", "-rf", "--help", "a/b", "/a", "../a", "a/../b", "a b", "A", "a_b", "a.b", "a\x00b", "a\nb",
	"~", "$HOME", "a;b", "a\"b", "ä", "a:b", "a,b", "a=b", "*", "%41", "a@b", "\u202ea",
	"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddx",
}

func (s *suite) names(t *testing.T) {
	d := s.driver(t)
	s.machine(t, d, "good")
	ctx := t.Context()
	for _, bad := range hostile {
		for call, err := range everyCall(ctx, d, bad) {
			if err == nil {
				t.Errorf("%s(%q) succeeded", call, bad)
			}
		}
		if err := d.Create(ctx, s.spec(bad), nil); err == nil || hint.Of(err) == "" {
			t.Errorf("Create(%q) = %v, want an error that says what to do", bad, err)
		}
	}
	for _, bad := range slices.Concat(hostile, []string{"a-b", "aaaaaaaaaabbbbbbbbbbccccccccccddd"}) {
		calls := map[string]error{
			"CreateSnapshot": d.CreateSnapshot(ctx, "good", bad, vm.SnapshotOptions{}),
			"DeleteSnapshot": d.DeleteSnapshot(ctx, "good", bad),
			"Restore":        d.Restore(ctx, "good", bad, "undo1"),
			"Restore undo":   d.Restore(ctx, "good", "s1", bad),
		}
		for call, err := range calls {
			if err == nil {
				t.Errorf("%s with snapshot %q succeeded", call, bad)
			}
		}
	}
	wantNames(t, d, "good")
	wantSnapshots(t, d, "good")
}

// everyCall makes every call that takes the name of a machine that should be there.
func everyCall(ctx context.Context, d vm.Driver, name string) map[string]error {
	errs := map[string]error{
		"Start":          d.Start(ctx, name, vm.StartOptions{}, nil),
		"Stop":           d.Stop(ctx, name, vm.Shutdown{}),
		"Suspend":        d.Suspend(ctx, name, nil),
		"Delete":         d.Delete(ctx, name),
		"Resize":         d.Resize(ctx, name, 2, 1024),
		"CreateSnapshot": d.CreateSnapshot(ctx, name, "s1", vm.SnapshotOptions{}),
		"DeleteSnapshot": d.DeleteSnapshot(ctx, name, "s1"),
		"Restore":        d.Restore(ctx, name, "s1", "undo1"),
		"Recover":        d.Recover(ctx, name),
	}
	_, errs["Machine"] = d.Machine(ctx, name)
	_, errs["Snapshots"] = d.Snapshots(ctx, name)
	_, errs["DialSSH"] = d.DialSSH(ctx, name)
	_, errs["Exposure"] = d.Exposure(ctx, name)
	return errs
}

func (s *suite) notFound(t *testing.T) {
	d := s.driver(t)
	for call, err := range everyCall(t.Context(), d, "nobody") {
		if call == "Recover" && err == nil {
			continue // there may be remains of a creation to clear away
		}
		wantIs(t, call, err, vm.ErrNotFound)
	}
	wantNames(t, d)
}

func (s *suite) create(t *testing.T) {
	d := s.driver(t)
	other := s.Reopen(t, d)
	p, _ := oneAtATime(t)
	if err := d.Create(t.Context(), s.spec("bee"), p); err != nil {
		t.Fatalf("Create: %v", err)
	}
	s.machine(t, d, "ant")
	wantNames(t, d, "ant", "bee")
	wantNames(t, other, "ant", "bee")
	wantIs(t, "second Create", other.Create(t.Context(), s.spec("bee"), nil), vm.ErrExists)

	m, err := other.Machine(t.Context(), "bee")
	if err != nil {
		t.Fatalf("Machine: %v", err)
	}
	if m.Name != "bee" || m.Running || m.Suspended || m.PID != 0 || !m.StartedAt.IsZero() || m.DiskBytes < 0 {
		t.Errorf("facts of a new machine: %+v", m)
	}
	if m.CPU != s.Spec.CPU || m.MemoryMiB != s.Spec.MemoryMiB {
		t.Errorf("new machine has %d CPUs and %d MiB, want %d and %d", m.CPU, m.MemoryMiB, s.Spec.CPU, s.Spec.MemoryMiB)
	}
	wantIs(t, "Stop", d.Stop(t.Context(), "bee", vm.Shutdown{}), vm.ErrNotRunning)
	_, err = d.DialSSH(t.Context(), "bee")
	wantIs(t, "DialSSH", err, vm.ErrNotRunning)
	_, err = d.Exposure(t.Context(), "bee")
	wantIs(t, "Exposure", err, vm.ErrNotRunning)

	s.resize(t, d, other)
	errs := race([]vm.Driver{d, other, d}, func(d vm.Driver) error {
		return d.Create(t.Context(), s.spec("cat"), nil)
	})
	oneWins(t, "Create", errs, vm.ErrExists)
	wantNames(t, d, "ant", "bee", "cat")
	if err := other.Delete(t.Context(), "bee"); err != nil {
		t.Errorf("Delete: %v", err)
	}
	wantNames(t, d, "ant", "cat")
	wantIs(t, "second Delete", d.Delete(t.Context(), "bee"), vm.ErrNotFound)
}

func (s *suite) resize(t *testing.T, d, other vm.Driver) {
	cpu, mem := s.Spec.CPU+1, s.Spec.MemoryMiB+256
	for _, to := range [][2]int{{cpu, 0}, {0, mem}, {0, 0}} {
		if err := d.Resize(t.Context(), "ant", to[0], to[1]); err != nil {
			t.Errorf("Resize(%d, %d): %v", to[0], to[1], err)
		}
	}
	if err := d.Resize(t.Context(), "ant", -1, -1); err == nil {
		t.Error("Resize to negative values succeeded")
	}
	if m, err := other.Machine(t.Context(), "ant"); err != nil || m.CPU != cpu || m.MemoryMiB != mem {
		t.Errorf("after Resize: %+v, %v, want %d CPUs and %d MiB", m, err, cpu, mem)
	}
}

func (s *suite) cancelled(t *testing.T) {
	d := s.driver(t)
	s.machine(t, d, "calm")
	if err := d.CreateSnapshot(t.Context(), "calm", "s1", vm.SnapshotOptions{}); err != nil {
		t.Fatalf("CreateSnapshot: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]error{
		"Create":         d.Create(ctx, s.spec("never"), nil),
		"Start":          d.Start(ctx, "calm", s.Start, nil),
		"Resize":         d.Resize(ctx, "calm", s.Spec.CPU+1, 0),
		"CreateSnapshot": d.CreateSnapshot(ctx, "calm", "s2", vm.SnapshotOptions{}),
		"DeleteSnapshot": d.DeleteSnapshot(ctx, "calm", "s1"),
		"Restore":        d.Restore(ctx, "calm", "s1", "undo1"),
		"Delete":         d.Delete(ctx, "calm"),
	}
	for call, err := range calls {
		wantIs(t, call+" with an ended context", err, context.Canceled)
	}
	wantNames(t, d, "calm")
	wantSnapshots(t, d, "calm", "s1")
	isRunning(t, "calm", false, d, s.Reopen(t, d))
	if m, err := d.Machine(t.Context(), "calm"); err != nil || m.CPU != s.Spec.CPU {
		t.Errorf("machine after ended calls: %+v, %v", m, err)
	}

	// Whatever step of a creation the cancellation meets, the machine is there wholly or not at all.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	err := d.Create(ctx, s.spec("half"), func(vm.Phase) { cancel() })
	if err == nil {
		wantNames(t, d, "calm", "half")
		return
	}
	wantNames(t, d, "calm")
	if err := d.Recover(t.Context(), "half"); err != nil && !errors.Is(err, vm.ErrNotFound) {
		t.Errorf("Recover of an ended creation: %v", err)
	}
	s.machine(t, d, "half")
}
