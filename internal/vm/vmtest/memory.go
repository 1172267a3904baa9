package vmtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/vm"
)

// MemoryOptions shape an in-memory driver. The zero value is a Linux-like driver that can do everything.
type MemoryOptions struct {
	// Capabilities replace DefaultCapabilities.
	Capabilities *vm.Capabilities
	// Image is the default image's name; empty is "memory/base". It is not ready before EnsureImage.
	Image string
	// Dial replaces the built-in SSH guest for all machines.
	Dial func(ctx context.Context, name string) (net.Conn, error)
	// Authorized opens the built-in SSH guest, beside the keys of StartOptions.Files and of ~/.ssh/authorized_keys.
	Authorized ssh.PublicKey
}

// DefaultCapabilities are those of a Memory made without any.
func DefaultCapabilities() vm.Capabilities {
	return vm.Capabilities{
		LiveSnapshot: true, WarmSnapshot: true, LiveWarmSnapshot: true, SeedFiles: true, GuestOS: "linux", User: "cal",
	}
}

// Memory is a driver whose machines are directories of this process: the guest's disk is a home directory, its SSH
// server a SSHGuest, its snapshots copies. State dies with the process; Reopen gives a second driver over it.
//
// The guest's memory is a directory too, which its commands find as CAL_GUEST_MEMORY: a boot empties it, a suspended
// machine and a warm snapshot keep it, and with it the keys the guest's SSH server had. Processes are not kept.
type Memory struct{ w *world }

var _ vm.Driver = (*Memory)(nil)

type world struct {
	dir     string
	options MemoryOptions
	caps    vm.Capabilities

	mu       sync.Mutex // guards all below
	images   map[string]bool
	machines map[string]*machine
	busy     map[string]chan struct{} // by machine name: held by the one call that changes it
	next     map[string][]func(context.Context) error
	calls    []string
	guests   []*SSHGuest // all there ever were
}

type machine struct {
	spec     vm.Spec
	snaps    []vm.Snapshot
	kept     map[string]*keys // by snapshot that holds memory
	run      *run             // nil when stopped
	saved    *keys            // of a suspended machine
	hostKey  ssh.Signer
	exposure *vm.Exposure
	warmth   *vm.Warmth
}

// keys are what a running guest's SSH server keeps in memory.
type keys struct {
	host  ssh.Signer
	users []ssh.PublicKey
}

type run struct {
	options vm.StartOptions
	started time.Time
	resumed bool
	keys    *keys
	guest   *SSHGuest // nil with MemoryOptions.Dial
	ended   chan struct{}
}

// NewMemory makes a driver with no machines. Its machines end with the test.
func NewMemory(t testing.TB, o MemoryOptions) *Memory {
	t.Helper()
	if o.Image == "" {
		o.Image = "memory/base"
	}
	w := &world{
		dir: t.TempDir(), options: o, caps: DefaultCapabilities(),
		images: map[string]bool{}, machines: map[string]*machine{},
		busy: map[string]chan struct{}{}, next: map[string][]func(context.Context) error{},
	}
	if o.Capabilities != nil {
		w.caps = *o.Capabilities
	}
	t.Cleanup(w.close)
	return &Memory{w: w}
}

// Reopen returns another driver over the same machines, as a second process would have.
func (m *Memory) Reopen() *Memory { return &Memory{w: m.w} }

// OnNext runs f before the next call of the named method ("Start", "CreateSnapshot", ...) does anything; an error of f
// fails that call without effect. Functions queue up, one for each call.
func (m *Memory) OnNext(call string, f func(context.Context) error) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.w.next[call] = append(m.w.next[call], f)
}

// Fail makes the next call of the named method return err without effect.
func (m *Memory) Fail(call string, err error) {
	m.OnNext(call, func(context.Context) error { return err })
}

// Calls lists the calls that change something, in order, each as "Method name".
func (m *Memory) Calls() []string {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return slices.Clone(m.w.calls)
}

// Home is the host directory that is the machine's disk: the home directory of its user.
func (m *Memory) Home(name string) string { return m.w.home(name) }

// RAM is the host directory that is the machine's memory.
func (m *Memory) RAM(name string) string { return m.w.ram(name) }

// PowerOffGuest ends a running machine as its guest's own shutdown would.
func (m *Memory) PowerOffGuest(name string) error {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	mc := m.w.machines[name]
	if mc == nil || mc.run == nil {
		return vm.ErrNotRunning
	}
	m.w.end(mc)
	return nil
}

// SetExposure makes Exposure report e for a machine from now on; nil goes back to the truth.
func (m *Memory) SetExposure(name string, e *vm.Exposure) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if mc := m.w.machines[name]; mc != nil {
		mc.exposure = e
	}
}

// SetWarmth makes a machine's Warm be this from now on, and Suspend act on it; nil goes back to the truth.
func (m *Memory) SetWarmth(name string, warm *vm.Warmth) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if mc := m.w.machines[name]; mc != nil {
		mc.warmth = warm
	}
}

// Info implements vm.Driver.
func (m *Memory) Info() vm.Info { return vm.Info{Name: "memory", Capabilities: m.w.caps} }

// Requirements implements vm.Driver: nothing is needed.
func (m *Memory) Requirements(context.Context) []vm.Requirement {
	return []vm.Requirement{{Name: "memory", OK: true, Detail: "nothing is needed"}}
}

// DefaultImage implements vm.Images.
func (m *Memory) DefaultImage() string { return m.w.options.Image }

// EnsureImage implements vm.Images.
func (m *Memory) EnsureImage(ctx context.Context, image string, p vm.Progress) error {
	if err := m.w.begin(ctx, "EnsureImage", image); err != nil {
		return fmt.Errorf("preparing image %q: %w", image, err)
	}
	m.w.mu.Lock()
	ready := m.w.images[image]
	m.w.images[image] = true
	m.w.mu.Unlock()
	if !ready {
		p.Report(vm.Phase{Name: "preparing image", Done: 1, Total: 1})
	}
	return nil
}

// ImageReady implements vm.Images.
func (m *Memory) ImageReady(ctx context.Context, image string) (bool, error) {
	if err := m.w.begin(ctx, "ImageReady", ""); err != nil {
		return false, err
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.w.images[image], nil
}

// begin runs what OnNext left for a call, records calls that change something, and honours an ended context.
func (w *world) begin(ctx context.Context, call, subject string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	var hook func(context.Context) error
	if q := w.next[call]; len(q) > 0 {
		hook, w.next[call] = q[0], q[1:]
	}
	if subject != "" {
		w.calls = append(w.calls, call+" "+subject)
	}
	w.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx)
}

// change begins a call that changes the named machine and keeps all others out until release.
func (w *world) change(ctx context.Context, call, name string) (release func(), err error) {
	if err := vm.ValidName(name); err != nil {
		return nil, err
	}
	if err := w.begin(ctx, call, name); err != nil {
		return nil, err
	}
	w.mu.Lock()
	lock := w.busy[name]
	if lock == nil {
		lock = make(chan struct{}, 1)
		w.busy[name] = lock
	}
	w.mu.Unlock()
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// find returns the named machine. The caller holds mu.
func (w *world) find(name string) (*machine, error) {
	if err := vm.ValidName(name); err != nil {
		return nil, err
	}
	mc := w.machines[name]
	if mc == nil {
		return nil, fmt.Errorf("%w: %q", vm.ErrNotFound, name)
	}
	return mc, nil
}

// stopped returns the named machine if it does not run.
func (w *world) stopped(name string) (*machine, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mc, err := w.find(name)
	if err != nil {
		return nil, err
	}
	if mc.run != nil {
		return nil, fmt.Errorf("%w: %q", vm.ErrRunning, name)
	}
	return mc, nil
}

// end ends a running machine. The caller holds mu.
func (w *world) end(mc *machine) {
	if mc.run == nil {
		return
	}
	if mc.run.guest != nil {
		mc.run.guest.Close()
	}
	close(mc.run.ended)
	mc.run = nil
}

func (w *world) close() {
	w.mu.Lock()
	for _, mc := range w.machines {
		w.end(mc)
	}
	guests := w.guests
	w.mu.Unlock()
	for _, g := range guests {
		g.Wait()
	}
}

func (w *world) home(name string) string     { return filepath.Join(w.dir, name, "home") }
func (w *world) ram(name string) string      { return filepath.Join(w.dir, name, "ram") }
func (w *world) snap(name, id string) string { return filepath.Join(w.dir, name, "snap-"+id) }

// snapRAM is the memory a warm snapshot holds.
func (w *world) snapRAM(name, id string) string { return filepath.Join(w.dir, name, "ram-"+id) }

// guestPath maps a path in the guest to the host: below the user's home it is on the disk, elsewhere beside it.
func (w *world) guestPath(name, guest string) string {
	base := "/home"
	if w.caps.GuestOS == "darwin" {
		base = "/Users"
	}
	guest = path.Clean("/" + guest)
	if rest, ok := strings.CutPrefix(guest, path.Join(base, w.caps.User)); ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(w.home(name), filepath.FromSlash(rest))
	}
	return filepath.Join(w.dir, name, "root", filepath.FromSlash(guest))
}

// seed puts files into the guest and returns the SSH keys among them.
func (w *world) seed(name string, files []vm.SeedFile) (host ssh.Signer, users []ssh.PublicKey, err error) {
	for _, f := range files {
		to := w.guestPath(name, f.Path)
		if f.Data == nil && f.Mode.IsDir() {
			if err := os.MkdirAll(to, f.Mode.Perm()); err != nil {
				return nil, nil, fmt.Errorf("seeding %s: %w", f.Path, err)
			}
			continue
		}
		err := os.MkdirAll(filepath.Dir(to), 0o700)
		if old, readErr := os.ReadFile(to); err == nil && (readErr != nil || !bytes.Equal(old, f.Data)) {
			err = os.WriteFile(to, f.Data, f.Mode.Perm())
		}
		if err != nil {
			return nil, nil, fmt.Errorf("seeding %s: %w", f.Path, err)
		}
		switch base := path.Base(f.Path); {
		case strings.HasPrefix(base, "ssh_host_") && strings.HasSuffix(base, "_key"):
			if host, err = ssh.ParsePrivateKey(f.Data); err != nil {
				return nil, nil, fmt.Errorf("reading seeded host key %s: %w", f.Path, err)
			}
		case strings.Contains(f.Path, "authorized_keys"):
			users = append(users, parseAuthorized(f.Data)...)
		}
	}
	return host, users, nil
}

// newHostKey makes the host key of a guest that was seeded with none.
func newHostKey() (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating host key: %w", err)
	}
	return ssh.NewSignerFromKey(key)
}
