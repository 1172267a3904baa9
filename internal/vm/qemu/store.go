package qemu

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/internal/vm"
)

// Names in a machine's directory. What QEMU may write lies in layers and run, which belong to its account; the rest
// belongs to CALMenu's.
const (
	machineDirName = "machine"
	recordFile     = "machine.json"
	layersDir      = "layers"
	runDir         = "run"
	socketFile     = "qmp.sock"
	serialFile     = "serial.log"
	logFile        = "qemu.log"
	bootInitrd     = "initrd"
)

// recordVersion is the newest version of machine.json this program reads. It writes the older one where that says all
// there is to say: a program that knows no memory would boot a suspended machine and leave the memory as it was, which
// then is another disk's.
const (
	recordVersion = 2
	coldVersion   = 1
)

var layerPattern = lazyre.New(`^[0-9a-f]{12}$`)

// record is machine.json: all that is remembered of a machine.
type record struct {
	Version   int       `json:"version"`
	Name      string    `json:"name"`
	Image     string    `json:"image"`
	CPU       int       `json:"cpu"`
	MemoryMiB int       `json:"memory_mib"`
	DiskGiB   int       `json:"disk_gib"`
	Created   time.Time `json:"created"`
	Stock     bool      `json:"stock,omitempty"`
	// Template names the memory of a template that the machine, which never ran, is to start from.
	Template string `json:"template,omitempty"`
	// Given are the prints of the files that are in that template.
	Given []string `json:"given,omitempty"`
	// NoKVM says that this machine hung under KVM, which is then not tried again.
	NoKVM   bool     `json:"no_kvm,omitempty"`
	Disk    tree     `json:"disk"`
	Pending *pending `json:"pending,omitempty"`
}

// pending is a change that was begun. Next is the tree of layers it leads to, Memory what it saves or loads.
type pending struct {
	Op    string   `json:"op"`
	New   string   `json:"new,omitempty"`
	Drop  []string `json:"drop,omitempty"`
	Merge *merge   `json:"merge,omitempty"`
	Next  tree     `json:"next"`

	Memory string `json:"memory,omitempty"`
}

const (
	opStack = "stack" // put layer New on another and make it active
	opDrop  = "drop"  // delete the files of layers Drop
	opMerge = "merge" // move a hidden layer's content into its only child

	opSuspend  = "suspend"  // save a running machine's memory and end it
	opResume   = "resume"   // start a QEMU and fill it from memory
	opContinue = "continue" // let it run: from here on the memory is not what it has
)

// machine is one machine's directory and record, held under its lock.
type machine struct {
	record
	d   *Driver
	dir string
	acc account
}

func (d *Driver) workspaceDir(name string) string { return filepath.Join(d.opts.Dir, name) }
func (d *Driver) machineDir(name string) string {
	return filepath.Join(d.opts.Dir, name, machineDirName)
}

// layerFile is the name of a layer's file relative to the machine's directory, as QEMU is given it.
func layerFile(id string) string { return layersDir + "/" + id + ".qcow2" }

// backingName is how a layer's file names its parent: relative to its own directory.
func backingName(parent string) string {
	if parent == "" {
		return "../" + baseFile
	}
	return parent + ".qcow2"
}

func newLayerID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}

// readRecord reads a machine's record. ErrNotFound if there is no machine.
func (d *Driver) readRecord(name string) (record, error) {
	if err := vm.ValidName(name); err != nil {
		return record{}, err
	}
	text, err := os.ReadFile(filepath.Join(d.machineDir(name), recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, fmt.Errorf("machine %q: %w", name, vm.ErrNotFound)
	}
	if err != nil {
		return record{}, fmt.Errorf("reading machine %q: %w", name, err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("reading machine %q: %s: %w", name, recordFile, err)
	}
	if r.Version > recordVersion {
		return record{}, fmt.Errorf("reading machine %q: it was written by a newer CALMenu", name)
	}
	if err := r.Disk.check(); err != nil {
		return record{}, fmt.Errorf("reading machine %q: %s: %w", name, recordFile, err)
	}
	if r.Template != "" && !layerPattern.MatchString(r.Template) {
		return record{}, fmt.Errorf("reading machine %q: %s: %q is no memory", name, recordFile, r.Template)
	}
	r.Name = name
	return r, nil
}

func (r record) encode() ([]byte, error) {
	r.Version = coldVersion
	if len(r.memories()) > 0 {
		r.Version = recordVersion
	}
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

func (m *machine) save() error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(m.dir, recordFile), text, 0o644); err != nil {
		return fmt.Errorf("recording machine %q: %w", m.Name, err)
	}
	return nil
}

// open locks a machine, finishes what a crash left, and returns it with the function that unlocks it.
func (d *Driver) open(ctx context.Context, name, op string) (*machine, func(), error) {
	if _, err := d.readRecord(name); err != nil {
		return nil, nil, err
	}
	unlock, err := d.lock(ctx, name, op)
	if err != nil {
		return nil, nil, err
	}
	m, err := d.load(ctx, name)
	if err == nil {
		err = m.recover(ctx)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return m, unlock, nil
}

// load reads a machine whose lock is held.
func (d *Driver) load(ctx context.Context, name string) (*machine, error) {
	r, err := d.readRecord(name)
	if err != nil {
		return nil, err
	}
	acc, err := vmAccount(ctx)
	if err != nil {
		return nil, err
	}
	return &machine{record: r, d: d, dir: d.machineDir(name), acc: acc}, nil
}

// lock serialises changes to a machine between processes. The lock's file says who holds it, and outlives the machine.
func (d *Driver) lock(ctx context.Context, name, op string) (func(), error) {
	if err := vm.ValidName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s of machine %q: %w", op, name, err)
	}
	dir := filepath.Join(d.opts.Dir, ".locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("locking machine %q: %w", name, err)
	}
	path := filepath.Join(dir, name)
	l := flock.New(path)
	if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		holder := lockHolder(path)
		_ = l.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for %s, which is changing machine %q: %w", holder, name, ctx.Err())
		}
		return nil, fmt.Errorf("locking machine %q: %w", name, err)
	}
	// Only for the message above: the lock itself is the kernel's and ends with this process.
	_ = os.WriteFile(path, fmt.Appendf(nil, "process %d (%s)\n", os.Getpid(), op), 0o644)
	return func() { _ = l.Close() }, nil
}

func lockHolder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "another process"
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 200))
	if s := strings.TrimSpace(string(text)); err == nil && s != "" {
		return s
	}
	return "another process"
}

// fileUse returns the bytes an open file occupies.
func fileUse(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// isFull tells whether a write failed for want of disk space.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// diskUse returns the bytes a file occupies on disk; a file with several links, like the shared base, counts nothing.
func diskUse(name string) int64 {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink > 1 {
		return 0
	}
	return st.Blocks * 512
}

// freeSpace returns the bytes the caller may still write on the disk that holds dir.
func freeSpace(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
