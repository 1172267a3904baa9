package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/vm"
)

// Saved memory lies in memory/<id>: the guest's RAM as a sparse file, the state of its devices as QEMU writes it, and,
// written last, a description. It belongs to CALMenu's account: QEMU is shown it and cannot change it. A layer refers
// to the memory the guest had at the instant that froze the layer; several may refer to one, and it goes with the last.
const (
	memoryDir      = "memory"
	ramFile        = "ram"
	stateFile      = "state"
	memoryFile     = "memory.json"
	memoryFileSize = 1 << 20
)

// savedMemory is memory.json.
type savedMemory struct {
	QEMU    string    `json:"qemu"`    // its version
	Machine []string  `json:"machine"` // what must be the same for the memory to make sense: launch.shape
	RAM     int64     `json:"ram"`     // bytes, holes included
	Created time.Time `json:"created"`
	// Boot is the host's boot in which it was saved; Synced says that it was on the disk before this was written.
	Boot   string `json:"boot"`
	Synced bool   `json:"synced"`
}

// shape returns the arguments of a command line on which saved memory depends: all that make up the machine the guest
// sees, and nothing of where its disk and network lead to.
func (s launch) shape() []string {
	var all []string
	argv := s.commandLine()
	for i := 0; i+1 < len(argv); i++ {
		switch argv[i] {
		case "-accel", "-cpu", "-M", "-m", "-smp", "-object", "-device":
			all = append(all, argv[i]+" "+argv[i+1])
		}
	}
	if s.kvm { // the guest was shown the host's processor
		all = append(all, "host "+hostCPU())
	}
	return all
}

func (m *machine) memoryPath(id, file string) string {
	return filepath.Join(m.dir, memoryDir, id, file)
}

// readMemory reads a memory's description.
func (m *machine) readMemory(id string) (savedMemory, error) {
	f, err := os.Open(m.memoryPath(id, memoryFile))
	if err != nil {
		return savedMemory{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, memoryFileSize))
	if err != nil {
		return savedMemory{}, err
	}
	var s savedMemory
	if err := json.Unmarshal(text, &s); err != nil {
		return savedMemory{}, fmt.Errorf("reading %s: %w", memoryFile, err)
	}
	return s, nil
}

// memoryWhole tells whether a memory was saved to its end.
func (m *machine) memoryWhole(id string) bool {
	_, err := m.readMemory(id)
	return err == nil
}

// unusable says, for people, why a memory cannot be resumed in a machine as s is, or nothing.
func (m *machine) unusable(saved savedMemory, s launch) string {
	switch {
	case !slices.Equal(saved.Machine, s.shape()):
		return "it was saved in a machine with another processor, memory size or accelerator"
	case !saved.Synced && saved.Boot != bootID():
		return "it had not reached the disk before this computer restarted"
	case saved.RAM != int64(s.MemoryMiB)<<20:
		return "its size is not the machine's"
	}
	return ""
}

// saver is memory that is being saved from a running machine.
type saver struct {
	m     *machine
	id    string
	shape []string
	guest *os.File // the guest's memory itself
	size  int64
	ram   *os.File
	state *os.File
}

// newSaver prepares for saving a running machine's memory: everything that can fail without touching the guest does so
// here. ErrNoMemory if its memory cannot be saved, ErrNoSpace if there is no room for it.
func (m *machine) newSaver(p process) (*saver, error) {
	if w := warmth(p.argv); !w.OK {
		return nil, fmt.Errorf("%w: %s", vm.ErrNoMemory, w.Reason)
	}
	s := &saver{m: m, id: newLayerID(), size: int64(m.MemoryMiB) << 20}
	// The running machine's own, whatever accelerator a start would choose now.
	s.shape = launch{
		record: m.record, kvm: slices.Contains(p.argv, "kvm"), without: lacks(p.argv),
	}.shape()
	var err error
	if s.guest, err = openGuestRAM(p.pid, s.size); err != nil {
		return nil, fmt.Errorf("%w: %w", vm.ErrNoMemory, err)
	}
	if err := needSpace(m.dir, uint64(fileUse(s.guest))+machineSpace, "saving the memory"); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// create makes the memory's files. From here on it must be the journal's, so that a crash does not leave it behind.
func (s *saver) create() error {
	dir := filepath.Join(s.m.dir, memoryDir, s.id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.ram, err = os.OpenFile(filepath.Join(dir, ramFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := s.ram.Truncate(s.size); err != nil {
		return err
	}
	s.state, err = os.OpenFile(filepath.Join(dir, stateFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	return err
}

// copy makes the saved RAM what the guest's is now.
func (s *saver) copy(ctx context.Context) error {
	return noSpace(matchRAM(ctx, s.guest, s.ram, s.size))
}

// finish describes the memory: only from then on is it one. synced waits for the disk.
func (s *saver) finish(version string, synced bool) error {
	if synced {
		if err := errors.Join(s.ram.Sync(), s.state.Sync()); err != nil {
			return noSpace(fmt.Errorf("writing the memory out: %w", err))
		}
	}
	text, err := json.MarshalIndent(savedMemory{
		QEMU: version, Machine: s.shape, RAM: s.size, Created: time.Now().UTC(), Boot: bootID(), Synced: synced,
	}, "", "  ")
	if err != nil {
		return err
	}
	err = atomicfile.Write(s.m.memoryPath(s.id, memoryFile), append(text, '\n'), 0o600)
	if err == nil && synced {
		err = errors.Join(syncDir(filepath.Join(s.m.dir, memoryDir)), syncDir(s.m.dir))
	}
	return noSpace(err)
}

func (s *saver) close() {
	for _, f := range []*os.File{s.guest, s.ram, s.state} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// noSpace makes a full disk vm.ErrNoSpace.
func noSpace(err error) error {
	if isFull(err) {
		return fmt.Errorf("saving the memory: %w: %w", vm.ErrNoSpace, err)
	}
	return err
}

// forgetMemory makes a memory none at once, before the guest goes on from where it was saved.
func (m *machine) forgetMemory(id string) error {
	err := os.Remove(m.memoryPath(id, memoryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sweepMemory removes memory that nothing refers to. What it fails to remove is removed by a later one.
func (m *machine) sweepMemory() {
	entries, err := os.ReadDir(filepath.Join(m.dir, memoryDir))
	if err != nil {
		return
	}
	kept := m.memories()
	for _, e := range entries {
		if !slices.Contains(kept, e.Name()) {
			_ = os.RemoveAll(filepath.Join(m.dir, memoryDir, e.Name()))
		}
	}
}

// memories returns the memory a machine and the change it is in refer to.
func (r record) memories() []string {
	all := r.Disk.memories()
	if r.Template != "" {
		all = append(all, r.Template)
	}
	if r.Pending != nil {
		all = append(all, r.Pending.Next.memories()...)
		if r.Pending.Memory != "" {
			all = append(all, r.Pending.Memory)
		}
	}
	return all
}

// memoryUse returns the disk space some memory takes.
func memoryUse(dir string, ids ...string) int64 {
	var sum int64
	for _, id := range ids {
		for _, name := range []string{ramFile, stateFile, memoryFile} {
			sum += diskUse(filepath.Join(dir, memoryDir, id, name))
		}
	}
	return sum
}

// warmth tells from a running machine's command line whether its memory can be saved.
func warmth(argv []string) vm.Warmth {
	e := readExposure(argv)
	switch {
	case !slices.ContainsFunc(argv, func(arg string) bool { return strings.HasPrefix(arg, memfdName+",") }):
		return vm.Warmth{Reason: "an older version of CALMenu started it; shut it down and start it once"}
	case len(e.shares) > 0:
		return vm.Warmth{Reason: "a folder is shared into it"}
	}
	return vm.Warmth{OK: true}
}
