package qemu

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/seedfs"
)

const (
	seedFile = "seed" // in a machine's directory, while it is put on the disk
	// seedEntropy is how many random bytes a machine made from a template is given.
	seedEntropy = 256
)

// adopt makes a new machine's disk and memory those of a template: hard links, so that the cache may be emptied. Its
// first start goes on from there; the active layer stays the machine's own.
func (m *machine) adopt(ctx context.Context, t template, active string) error {
	below, memory := newLayerID(), newLayerID()
	links := [][2]string{{templateDisk, layerFile(below)}}
	for _, name := range []string{ramFile, stateFile, memoryFile} {
		links = append(links, [2]string{name, filepath.Join(memoryDir, memory, name)})
	}
	err := os.MkdirAll(filepath.Join(m.dir, memoryDir, memory), 0o700)
	for _, l := range links {
		if err == nil {
			err = linkTemplate(ctx, filepath.Join(t.dir, l[0]), filepath.Join(m.dir, l[1]))
		}
	}
	now := time.Now().UTC()
	disk := tree{Active: active, Layers: map[string]layer{below: {Created: now}, active: {Parent: below, Created: now}}}
	if err == nil {
		err = m.newLayer(ctx, active, below, "")
	}
	if err != nil {
		for _, l := range links {
			_ = os.Remove(filepath.Join(m.dir, l[1]))
		}
		_ = os.Remove(filepath.Join(m.dir, layerFile(active)))
		return fmt.Errorf("using a template: %w", err)
	}
	m.Disk, m.Template, m.Given, m.NoKVM = disk, memory, t.Files, t.NoKVM
	_ = os.Chtimes(filepath.Join(t.dir, templateFile), time.Time{}, now) // it was used: see pruneTemplates
	return nil
}

// linkTemplate gives a template's file a second name. Memory that must be copied keeps its holes.
func linkTemplate(ctx context.Context, from, to string) error {
	if filepath.Base(from) != ramFile {
		return linkOrCopy(from, to)
	}
	err := os.Link(from, to)
	if !errors.Is(err, syscall.EXDEV) && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EMLINK) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = out.Truncate(info.Size())
	if err == nil {
		err = matchRAM(ctx, in, out, info.Size())
	}
	return errors.Join(err, out.Sync(), out.Close())
}

// startFirst starts a machine that never ran from its template. If that comes to nothing the machine is one to boot,
// and done is false.
func (m *machine) startFirst(ctx context.Context, o vm.StartOptions, p vm.Progress) (done bool, err error) {
	if !o.Cold && o.Outbox == "" { // a template has no share
		err := m.startFromTemplate(ctx, o.Files, p)
		var useless *giveUp
		if !errors.As(err, &useless) {
			return err == nil, err
		}
		p.Report(vm.Phase{Name: "booting: its template is of no use", Detail: useless.reason})
	}
	// Before anything changes the disk: the memory fits it no more then.
	m.Template, m.Given = "", nil
	return false, m.become(m.Disk)
}

// startFromTemplate starts a machine that never ran from its template's memory and gives its guest its identity. It is
// tried once: a *giveUp says that the machine is to be booted, which it can be whatever happened.
func (m *machine) startFromTemplate(ctx context.Context, files []vm.SeedFile, p vm.Progress) error {
	id, given := m.Template, m.Given
	m.Template, m.Given = "", nil
	kvm := m.d.accel.kvm && !m.NoKVM
	r, err := m.openMemory(id, launch{record: m.record, kvm: kvm, incoming: true, template: true})
	if err != nil {
		return err
	}
	defer r.close()
	p.Report(vm.Phase{Name: "starting from the template"})
	if err = m.writeSeedArea(ctx, without(files, given)); err == nil {
		err = r.run(ctx)
	}
	if err == nil {
		err = m.awaitSeeded(ctx)
	}
	if err == nil {
		return nil
	}
	if endErr := m.endUnseeded(context.WithoutCancel(ctx)); endErr != nil || ctx.Err() != nil {
		return errors.Join(err, endErr)
	}
	return &giveUp{err.Error()}
}

func (m *machine) awaitSeeded(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, seedLimit, errors.New("its guest takes no identity"))
	defer cancel()
	if err := awaitSaid(ctx, m.dir, seedfs.Seeded); err != nil {
		return err
	}
	return m.d.fault("template:seeded")
}

// endUnseeded ends a machine whose guest is not one of its own.
func (m *machine) endUnseeded(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	p, err := findProcess(ctx, m.dir)
	if err != nil || p.pid == 0 {
		return err
	}
	return m.d.powerOff(ctx, m.Name, p.pid)
}

// writeSeedArea puts the machine's seed where calseed looks for it: behind the file system, on the layer that is the
// machine's own. It holds the guest's keys, so only who runs QEMU may read it.
func (m *machine) writeSeedArea(ctx context.Context, files []vm.SeedFile) error {
	seed, err := newSeed(withHostname(files, m.Name))
	if err != nil {
		return err
	}
	path := filepath.Join(m.dir, seedFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer os.Remove(path)
	if err := os.WriteFile(path, seed, 0o600); err != nil {
		return err
	}
	if err := m.acc.own(path); err != nil {
		return err
	}
	layer := layerFile(m.Disk.Active)
	write := fmt.Sprintf("write -q -s %s %d %d", seedFile, int64(m.DiskGiB)<<30, len(seed))
	if _, err := m.acc.run(ctx, m.dir, "qemu-io", "-f", "qcow2", "-c", write, layer); err != nil {
		return fmt.Errorf("writing the guest's identity: %w", err)
	}
	return nil
}

// newSeed makes the seed of one start: the files, and what no two machines may have in common.
func newSeed(files []vm.SeedFile) ([]byte, error) {
	s := seedfs.Seed{Time: time.Now().UnixNano(), Entropy: make([]byte, seedEntropy)}
	_, _ = rand.Read(s.Entropy) // never fails: crypto/rand
	byPath := map[string]seedfs.File{}
	for _, f := range withMachineID(files) {
		if _, twice := byPath[f.Path]; twice {
			return nil, fmt.Errorf("seeding %q: named twice", f.Path)
		}
		mode := f.Mode.Perm() | f.Mode&fs.ModeDir
		byPath[f.Path] = seedfs.File{Path: f.Path, Mode: mode, UID: f.UID, GID: f.GID, Data: f.Data}
	}
	for _, f := range files {
		for _, parent := range parents(f.Path) {
			if _, named := byPath[parent]; !named && parent != "" {
				byPath[parent] = seedfs.File{Path: parent, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	for _, f := range byPath {
		s.Files = append(s.Files, f)
	}
	sort.Slice(s.Files, func(i, j int) bool { return s.Files[i].Path < s.Files[j].Path })
	b, err := seedfs.Encode(s)
	if err != nil {
		return nil, hint.Wrap(err, "Seed files are a few, and some MiB at most.")
	}
	return b, nil
}

// withMachineID adds an identifier of the machine's own (machine-id(5)) to a seed that names none: the template's is the
// image's, which is every machine's.
func withMachineID(files []vm.SeedFile) []vm.SeedFile {
	const path = "/etc/machine-id"
	for _, f := range files {
		if f.Path == path {
			return files
		}
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	// A version 4 UUID, as machine-id(5) asks for.
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	text := hex.EncodeToString(id[:]) + "\n"
	return append(files[:len(files):len(files)], vm.SeedFile{Path: path, Mode: 0o444, Data: []byte(text)})
}
