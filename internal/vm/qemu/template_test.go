//go:build linux

package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/seedfs"
	"github.com/calmenu/calmenu/resources"
)

var tinySpec = vm.Spec{Name: "m", CPU: 1, MemoryMiB: 256, DiskGiB: 4}

// templateDriver returns a driver that can name templates: with a QEMU and the guest's programs.
func templateDriver(t *testing.T) (*Driver, recipe) {
	t.Helper()
	if _, err := resources.CalSeed(); err != nil {
		t.Skip("run `make`: this test needs the guest's programs")
	}
	if _, err := lookTool(qemuProgram); err != nil {
		t.Skip("install qemu-system-x86")
	}
	r, err := recipeFor(ImageName)
	must(t, err)
	return tinyDriver(t), r
}

// fakeTemplate puts what looks like a template where the one of tinySpec would be. Its memory is of another machine.
func fakeTemplate(t *testing.T, d *Driver, r recipe) string {
	t.Helper()
	key, err := d.templateKey(r, tinySpec)
	must(t, err)
	dir := filepath.Join(d.templates(), key)
	must(t, os.MkdirAll(dir, 0o755))
	memory, err := json.Marshal(savedMemory{RAM: 1, Synced: true})
	must(t, err)
	for name, text := range map[string]string{ramFile: "r", stateFile: "s", memoryFile: string(memory), templateFile: "{}"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o444))
	}
	disk := filepath.Join(dir, templateDisk)
	cmd := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2",
		"-b", backingName(""), disk, "4112M")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.Chmod(disk, 0o444))
	return dir
}

// A template is for machines that are alike in all that matters, and for nothing else.
func TestTemplateKey(t *testing.T) {
	d, r := templateDriver(t)
	key := func(s vm.Spec) string {
		t.Helper()
		k, err := d.templateKey(r, s)
		must(t, err)
		return k
	}
	same, other := tinySpec, tinySpec
	same.Name, same.DiskGiB = "another", 0 // which is the image's size
	if key(same) != key(tinySpec) {
		t.Error("the name or the default of the disk's size makes a difference")
	}
	for what, s := range map[string]vm.Spec{
		"processors": {CPU: 2, MemoryMiB: 256, DiskGiB: 4},
		"memory":     {CPU: 1, MemoryMiB: 512, DiskGiB: 4},
		"disk":       {CPU: 1, MemoryMiB: 256, DiskGiB: 5},
	} {
		if key(s) == key(tinySpec) {
			t.Errorf("other %s make no difference", what)
		}
	}
	before := key(other)
	base := filepath.Join(d.imageDir(r), baseFile)
	must(t, os.Chtimes(base, time.Time{}, time.Unix(1, 0)))
	if key(other) == before {
		t.Error("a base that was built anew makes no difference")
	}
}

// What is there is found, half of it is not, and nothing is where it is not wanted or cannot be.
func TestTemplateReady(t *testing.T) {
	d, r := templateDriver(t)
	want := func(what string, d *Driver, s vm.Spec, ready bool) {
		t.Helper()
		if got, err := d.TemplateReady(t.Context(), s); got != ready || err != nil {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	want("none", d, tinySpec, false)
	dir := fakeTemplate(t, d, r)
	want("one", d, tinySpec, true)
	off := *d
	off.opts.NoTemplates = true
	want("not wanted", &off, tinySpec, false)
	must(t, os.Remove(filepath.Join(dir, templateFile)))
	want("half of one", d, tinySpec, false)
	stock := tinySpec
	stock.Image = StockImageName
	want("a stock image", d, stock, false)
	if err := d.EnsureTemplate(t.Context(), stock, nil); !errors.Is(err, vm.ErrUnsupported) {
		t.Errorf("of a stock image: %v", err)
	}
	must(t, os.RemoveAll(d.imageDir(r)))
	want("no image", d, tinySpec, false)
	if err := d.EnsureTemplate(t.Context(), tinySpec, nil); !errors.Is(err, vm.ErrNoImage) {
		t.Errorf("without its image: %v", err)
	}
}

// A machine has its template's files by its own names, and is a stopped one like any other.
func TestCreateFromTemplate(t *testing.T) {
	d, r := templateDriver(t)
	fakeTemplate(t, d, r)
	create(t, d, "m")
	record, err := d.readRecord("m")
	must(t, err)
	if record.Template == "" || len(record.Disk.Layers) != 2 {
		t.Fatalf("%+v", record)
	}
	m, err := d.Machine(t.Context(), "m")
	if err != nil || m.Running || m.Suspended {
		t.Errorf("%+v, %v", m, err)
	}
	must(t, os.RemoveAll(d.opts.CacheDir))
	must(t, d.Recover(t.Context(), "m"))
	memory := filepath.Join(d.machineDir("m"), memoryDir, record.Template)
	for _, name := range []string{ramFile, stateFile, memoryFile} {
		if _, err := os.Stat(filepath.Join(memory, name)); err != nil {
			t.Error(err)
		}
	}
	fill(t, d, "m", 2) // its disk is whole
	// Memory that does not fit is given up, once and for all.
	o, err := d.load(t.Context(), "m")
	must(t, err)
	var said phases
	if done, err := o.startFirst(t.Context(), vm.StartOptions{}, said.report); done || err != nil {
		t.Errorf("%v, %v", done, err)
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "booting: its template is of no use") {
		t.Errorf("it said %q", said)
	}
	if record, err := d.readRecord("m"); err != nil || record.Template != "" {
		t.Errorf("%+v, %v", record, err)
	}
	if _, err := os.Stat(memory); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its memory is left: %v", err)
	}
}

// A template that cannot be used costs nobody a machine.
func TestCreateFromDamagedTemplate(t *testing.T) {
	for _, missing := range []string{templateDisk, ramFile, memoryFile} {
		d, r := templateDriver(t)
		must(t, os.Remove(filepath.Join(fakeTemplate(t, d, r), missing)))
		create(t, d, "m")
		record, err := d.readRecord("m")
		if err != nil || record.Template != "" || len(record.Disk.Layers) != 1 {
			t.Errorf("without %s: %+v, %v", missing, record, err)
		}
		layers, err := os.ReadDir(filepath.Join(d.machineDir("m"), layersDir))
		if err != nil || len(layers) != 1 {
			t.Errorf("without %s: layers %v, %v", missing, layers, err)
		}
		fill(t, d, "m", 2)
	}
}

// The templates used last stay, and what is being made now; what crashes left goes.
func TestPruneTemplates(t *testing.T) {
	d, _ := templateDriver(t)
	must(t, os.MkdirAll(d.templates(), 0o755))
	for i, key := range []string{"a1", "b2", "c3", "d4"} {
		must(t, os.MkdirAll(filepath.Join(d.templates(), key), 0o755))
		file := filepath.Join(d.templates(), key, templateFile)
		must(t, os.WriteFile(file, []byte("{}"), 0o644))
		must(t, os.Chtimes(file, time.Time{}, time.Unix(int64(1000-i), 0)))
	}
	for _, half := range []string{"e5", "f6"} {
		must(t, os.MkdirAll(filepath.Join(d.templates(), half+halfMade+"1", templateMachine), 0o755))
	}
	unlock, err := d.lockTemplate(t.Context(), "f6")
	must(t, err)
	defer unlock()
	d.pruneTemplates(t.Context(), "d4")
	var left []string
	entries, err := os.ReadDir(d.templates())
	must(t, err)
	for _, e := range entries {
		if e.IsDir() {
			left = append(left, e.Name())
		}
	}
	if got, want := strings.Join(left, " "), "a1 b2 d4 f6"+halfMade+"1"; got != want {
		t.Errorf("left are %q, want %q", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.lockTemplate(ctx, "f6"); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for who makes it: %v", err)
	}
}

// A machine's seed has what it was given, with the directories that leads through, and what no two may share.
func TestNewSeed(t *testing.T) {
	given := []vm.SeedFile{
		{Path: "/home/admin/.ssh/authorized_keys", Mode: 0o600, UID: 1000, GID: 1000, Data: []byte("key")},
		{Path: "/home/admin/.ssh", Mode: os.ModeDir | 0o700, UID: 1000, GID: 1000},
	}
	read := func() seedfs.Seed {
		t.Helper()
		b, err := newSeed(withHostname(given, "demo"))
		must(t, err)
		h, err := seedfs.ParseHeader(b)
		must(t, err)
		s, err := seedfs.Decode(h, b[seedfs.Block:seedfs.Block+h.Size])
		must(t, err)
		return s
	}
	s, other := read(), read()
	var all []string
	ids := map[string]bool{}
	for i, f := range s.Files {
		all = append(all, f.Mode.String()+" "+f.Path)
		if f.Path == "/etc/machine-id" {
			ids[string(f.Data)], ids[string(other.Files[i].Data)] = true, true
		}
	}
	want := `drwxr-xr-x /etc
-rw-r--r-- /etc/hostname
-rw-r--r-- /etc/hosts
-r--r--r-- /etc/machine-id
drwxr-xr-x /home
drwxr-xr-x /home/admin
drwx------ /home/admin/.ssh
-rw------- /home/admin/.ssh/authorized_keys`
	if got := strings.Join(all, "\n"); got != want {
		t.Errorf("files:\n%s\nwant:\n%s", got, want)
	}
	if len(ids) != 2 || bytes.Equal(s.Entropy, other.Entropy) {
		t.Errorf("two seeds have an identifier or their entropy in common")
	}
	if _, err := newSeed([]vm.SeedFile{given[0], given[0]}); err == nil {
		t.Error("a file that is named twice was taken")
	}
	if _, err := newSeed([]vm.SeedFile{{Path: "relative"}}); err == nil {
		t.Error("a relative path was taken")
	}
}

// The console is the guest's: only whole lines of calseed count, and not all it may say is read.
func TestSeederSaid(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, runDir), 0o755))
	serial := filepath.Join(dir, runDir, serialFile)
	if said, err := seederSaid(dir); err != nil || said != nil {
		t.Errorf("before QEMU made it: %q, %v", said, err)
	}
	must(t, os.WriteFile(serial, []byte("calinit: starting\r\n[1.0] x calseed: no\r\ncalseed: ready\r\ncalseed: see"), 0o644))
	if said, err := seederSaid(dir); err != nil || len(said) != 1 || said[0] != seedfs.Ready {
		t.Errorf("%q, %v", said, err)
	}
	must(t, os.WriteFile(serial, []byte(seedfs.Says+seedfs.Failed+strings.Repeat("x", 5000)+"\n"), 0o644))
	err := awaitSaid(t.Context(), dir, seedfs.Seeded)
	if err == nil || !strings.Contains(err.Error(), "xxx") || len(err.Error()) > 400 {
		t.Errorf("after it failed: %v", err)
	}
	must(t, os.Remove(serial))
	must(t, os.Symlink("/etc/passwd", serial))
	if _, err := seederSaid(dir); err == nil {
		t.Error("a link was followed")
	}
}

// A machine made from a template is given what is not in that, and what is another there.
func TestWithout(t *testing.T) {
	file := vm.SeedFile{Path: "/a", Mode: 0o644, UID: 1, GID: 1, Data: []byte("same")}
	others := make([]vm.SeedFile, 5)
	for i, change := range []func(f *vm.SeedFile){
		func(f *vm.SeedFile) { f.Path = "/b" },
		func(f *vm.SeedFile) { f.Mode = 0o600 },
		func(f *vm.SeedFile) { f.UID = 0 },
		func(f *vm.SeedFile) { f.GID = 0 },
		func(f *vm.SeedFile) { f.Data = []byte("other") },
	} {
		others[i] = file
		change(&others[i])
	}
	given := prints([]vm.SeedFile{file})
	if rest := without(append([]vm.SeedFile{file}, others...), given); len(rest) != len(others) {
		t.Errorf("of 6 files, 1 of them in the template, %d are given", len(rest))
	}
	if rest := without(others, nil); len(rest) != len(others) {
		t.Errorf("%d of %d are given without a template's files", len(rest), len(others))
	}
}
