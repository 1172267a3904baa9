//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
)

// These tests need qemu-img and qemu-io but no guest: a machine made from an image with nothing in it.

const (
	tinyMiB   = 8
	killedEnv = "CAL_TEST_QEMU_KILL_AT"
	dirEnv    = "CAL_TEST_QEMU_DIR"
	cacheEnv  = "CAL_TEST_QEMU_CACHE"
)

// tinyDriver returns a driver whose image is a small disk full of zeroes, never booted.
func tinyDriver(t *testing.T) *Driver {
	t.Helper()
	for _, tool := range []string{"qemu-img", "qemu-io"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("install qemu-utils: this test makes disk images")
		}
	}
	d := New(Options{Dir: filepath.Join(t.TempDir(), "vms"), CacheDir: t.TempDir(), Accel: AccelTCG})
	r, err := recipeFor(ImageName)
	if err != nil {
		t.Fatal(err)
	}
	image := d.imageDir(r)
	if err := os.MkdirAll(image, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{kernelFile, modulesFile, registriesFile, imageFile} {
		if err := os.WriteFile(filepath.Join(image, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	base := filepath.Join(image, baseFile)
	for _, argv := range [][]string{
		{"qemu-img", "create", "-q", "-f", "qcow2", base, fmt.Sprintf("%dM", tinyMiB)},
		{"qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 64k", base},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	return d
}

func create(t *testing.T, d *Driver, name string) {
	t.Helper()
	if err := d.Create(t.Context(), vm.Spec{Name: name, CPU: 1, MemoryMiB: 256, DiskGiB: 4}, nil); err != nil {
		t.Fatal(err)
	}
}

// fill writes 64 KiB of a byte to the active layer: block 0 always, so that layers overlap, and block n.
func fill(t *testing.T, d *Driver, name string, n byte) {
	t.Helper()
	for _, offset := range []int{0, int(n)} {
		err := diskIO(t.Context(), d, name, fmt.Sprintf("write -q -P %d %dk 64k", n, offset*64))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// holds fails unless a layer's disk is what it was after fill(n).
func holds(t *testing.T, d *Driver, name, layer string, n byte) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "qemu-io", "-r", "-f", "qcow2", "-c", fmt.Sprintf("read -q -P %d 0 64k", n),
		"-c", fmt.Sprintf("read -q -P %d %dk 64k", n, 64*int(n)), layerFile(layer))
	cmd.Dir = d.machineDir(name)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "failed") {
		t.Errorf("layer %s does not hold %d: %v: %s", layer, n, err, out)
	}
}

// story is what happened to a machine: the byte its disk must hold in every snapshot, and now.
type story struct {
	snapshots map[string]byte
	now       byte
}

// check fails unless the machine is what the story says.
func (s story) check(t *testing.T, d *Driver, name string) {
	t.Helper()
	r := s.shape(t, d, name)
	for _, sn := range r.Disk.Snapshots {
		holds(t, d, name, sn.Layer, s.snapshots[sn.ID])
	}
	holds(t, d, name, r.Disk.Active, s.now)
}

// shape checks the tree of layers without their content: consistent, and no file too many or too few.
func (s story) shape(t *testing.T, d *Driver, name string) record {
	t.Helper()
	r, err := d.readRecord(name)
	if err != nil {
		t.Fatal(err)
	}
	if r.Pending != nil {
		t.Errorf("change %q is pending", r.Pending.Op)
	}
	if len(r.Disk.Snapshots) != len(s.snapshots) {
		t.Errorf("snapshots %+v, want %v", r.Disk.Snapshots, s.snapshots)
	}
	files, err := filepath.Glob(filepath.Join(d.machineDir(name), layersDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, f := range files {
		got = append(got, filepath.Base(f))
	}
	for id := range r.Disk.Layers {
		want = append(want, id+".qcow2")
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("layer files %q, want %q", got, want)
	}
	return r
}

func TestSnapshotsKeepContent(t *testing.T) {
	d := tinyDriver(t)
	create(t, d, "m")
	ctx := t.Context()
	fill(t, d, "m", 2)
	must(t, d.CreateSnapshot(ctx, "m", "two", vm.SnapshotOptions{}))
	fill(t, d, "m", 3)
	must(t, d.CreateSnapshot(ctx, "m", "three", vm.SnapshotOptions{}))
	fill(t, d, "m", 4)
	s := story{map[string]byte{"two": 2, "three": 3}, 4}
	s.check(t, d, "m")

	must(t, d.Restore(ctx, "m", "two", "undo"))
	s = story{map[string]byte{"two": 2, "three": 3, "undo": 4}, 2}
	s.check(t, d, "m")
	must(t, d.Restore(ctx, "m", "undo", "undo2"))
	s = story{map[string]byte{"two": 2, "three": 3, "undo": 4, "undo2": 2}, 4}
	s.check(t, d, "m")

	for _, id := range []string{"three", "undo2", "two", "undo"} {
		must(t, d.DeleteSnapshot(ctx, "m", id))
		delete(s.snapshots, id)
		s.check(t, d, "m")
	}
	r, err := d.readRecord("m")
	if err != nil || len(r.Disk.Layers) != 1 {
		t.Errorf("%d layers are left of a machine without snapshots, %v", len(r.Disk.Layers), err)
	}
	must(t, d.Delete(ctx, "m"))
	if _, err := os.Stat(d.workspaceDir("m")); !os.IsNotExist(err) {
		t.Errorf("after Delete: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotSizes(t *testing.T) {
	d := tinyDriver(t)
	create(t, d, "m")
	fill(t, d, "m", 2)
	must(t, d.CreateSnapshot(t.Context(), "m", "kept", vm.SnapshotOptions{}))
	fill(t, d, "m", 3)
	must(t, d.Restore(t.Context(), "m", "kept", "undo"))
	all, err := d.Snapshots(t.Context(), "m")
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if all[0].SizeBytes != 0 || all[1].SizeBytes < 128<<10 {
		t.Errorf("deleting frees %d and %d bytes; the first is needed below, the second by nobody", all[0].SizeBytes, all[1].SizeBytes)
	}
}

func TestDeleteDamagedMachine(t *testing.T) {
	d := tinyDriver(t)
	create(t, d, "m")
	must(t, os.Remove(filepath.Join(d.machineDir("m"), recordFile)))
	if err := d.Delete(t.Context(), "m"); err != nil {
		t.Errorf("a machine without its record: %v", err)
	}
	create(t, d, "m")
	must(t, os.WriteFile(filepath.Join(d.machineDir("m"), recordFile), []byte("{"), 0o644))
	if _, err := d.Machines(t.Context()); err == nil {
		t.Error("a damaged machine was listed")
	}
	must(t, d.Delete(t.Context(), "m"))
	create(t, d, "m")
}

func TestNoSpaceHint(t *testing.T) {
	err := needSpace(t.TempDir(), 1<<62, "making room")
	if !errors.Is(err, vm.ErrNoSpace) {
		t.Errorf("%v is not ErrNoSpace", err)
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	d := New(Options{Dir: t.TempDir()})
	unlock, err := d.lock(t.Context(), "m", "snapshot")
	must(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error)
	go func() {
		_, err := d.lock(ctx, "m", "start")
		cancelled <- err
	}()
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for the lock ended with %v", err)
	}
	if holder := lockHolder(filepath.Join(d.opts.Dir, ".locks", "m")); !strings.Contains(holder, "(snapshot)") {
		t.Errorf("the lock's holder is %q", holder)
	}
}

// TestLayerOf: QEMU names a disk by its path until a snapshot of the running machine, and by its options after that.
func TestLayerOf(t *testing.T) {
	for file, want := range map[string]string{
		"layers/6f16ee5782a8.qcow2": "6f16ee5782a8",
		`json:{"backing": {"driver": "qcow2", "file": {"driver": "file", "filename": "layers/0123456789ab.qcow2"}}, ` +
			`"driver": "qcow2", "file": {"driver": "file", "filename": "layers/6f16ee5782a8.qcow2"}}`: "6f16ee5782a8",
		`json:{"driver": "qcow2"}`: "",
		`json:{`:                   "",
		"/dev/sda":                 "",
	} {
		if got, err := layerOf(file); got != want || (err == nil) != (want != "") {
			t.Errorf("layerOf(%s) = %q, %v, want %q", file, got, err, want)
		}
	}
}
