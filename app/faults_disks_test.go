//go:build linux

package app

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/qemu"
	"github.com/calmenu/calmenu/internal/vm/tart"
)

// The machine of qemu's: its record and its files, as the driver finds them.

const (
	qemuBase  = "cal/isolation/vms/demo/machine"
	firstName = "0123456789ab"
)

func openQEMU(dir string, at func(step string) error) (vm.Driver, error) {
	d := qemu.New(qemu.Options{
		Dir: filepath.Join(dir, "cal/isolation/vms"), CacheDir: filepath.Join(dir, "cache"), Accel: qemu.AccelTCG,
	})
	d.OnStep(at)
	return d, nil
}

func makeQEMU(t *testing.T, dir string, d vm.Driver) {
	t.Helper()
	machine := filepath.Join(dir, qemuBase)
	layers := filepath.Join(machine, "layers")
	first := map[string]any{firstName: map[string]any{"created": time.Now()}}
	record, err := json.Marshal(map[string]any{
		"version": 1, "name": "demo", "image": "debian-12", "cpu": 1, "memory_mib": 256, "disk_gib": 1,
		"disk": map[string]any{"active": firstName, "layers": first},
	})
	err = errors.Join(err, os.MkdirAll(layers, 0o755), os.MkdirAll(filepath.Join(machine, "run"), 0o755),
		os.WriteFile(filepath.Join(machine, "machine.json"), record, 0o644))
	for _, argv := range [][]string{
		{"create", "-q", "-f", "qcow2", "base.qcow2", "1M"},
		{"create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "../base.qcow2", "layers/" + firstName + ".qcow2"},
	} {
		cmd := exec.CommandContext(t.Context(), "qemu-img", argv...)
		cmd.Dir = machine
		if out, runErr := cmd.CombinedOutput(); runErr != nil {
			err = errors.Join(err, fmt.Errorf("%w: %s", runErr, out))
		}
	}
	// Whatever account the driver has its tools run as.
	err = errors.Join(err, os.Chmod(filepath.Dir(machine), 0o755), os.Chmod(layers, 0o777),
		os.Chmod(filepath.Join(layers, firstName+".qcow2"), 0o666), d.Recover(t.Context(), "demo"))
	if err != nil {
		t.Fatal(err)
	}
}

type qemuRecord struct {
	Disk struct {
		Active    string              `json:"active"`
		Layers    map[string]struct{} `json:"layers"`
		Snapshots []struct {
			ID    string `json:"id"`
			Layer string `json:"layer"`
		} `json:"snapshots"`
	} `json:"disk"`
	Pending any `json:"pending"`
}

func readQEMU(dir string) (r qemuRecord, err error) {
	text, err := os.ReadFile(filepath.Join(dir, qemuBase, "machine.json"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

func layerPath(dir, id string) string { return filepath.Join(dir, qemuBase, "layers", id+".qcow2") }

func writeQEMU(t *testing.T, dir string, content byte) {
	t.Helper()
	r, err := readQEMU(dir)
	if err != nil {
		t.Fatal(err)
	}
	// One block that all write, and one of its own: what is merged has both to keep and to overwrite.
	cmd := exec.CommandContext(t.Context(), "qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -q -P %d 0 64k", content),
		"-c", fmt.Sprintf("write -q -P %d %dk 64k", content, 64*int(content-'A'+1)), layerPath(dir, r.Disk.Active))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func disksOfQEMU(dir string) (now string, by map[string]string, err error) {
	r, err := readQEMU(dir)
	if err != nil {
		return "", nil, err
	}
	files, err := os.ReadDir(filepath.Join(dir, qemuBase, "layers"))
	if err == nil && len(files) != len(r.Disk.Layers) && r.Pending == nil {
		err = fmt.Errorf("there are %d files of %d layers", len(files), len(r.Disk.Layers))
	}
	now, hashErr := hashQcow2(layerPath(dir, r.Disk.Active))
	err = errors.Join(err, hashErr)
	by = map[string]string{}
	for _, s := range r.Disk.Snapshots {
		by[s.ID], hashErr = hashQcow2(layerPath(dir, s.Layer))
		err = errors.Join(err, hashErr)
	}
	return now, by, err
}

const qcow2Cluster = 64 << 10

// hashQcow2 hashes all that a disk of 64 KiB clusters holds, backing files included (docs/interop/qcow2.txt).
func hashQcow2(file string) (string, error) {
	h := sha256.New()
	var chain []*qcow2File
	defer func() {
		for _, q := range chain {
			q.Close()
		}
	}()
	for file != "" {
		q, err := openQcow2(file)
		if err != nil {
			return "", err
		}
		chain = append(chain, q)
		file = ""
		if q.backing != "" {
			file = filepath.Join(filepath.Dir(q.Name()), q.backing)
		}
	}
	block := make([]byte, qcow2Cluster)
	for n := range chain[0].size / qcow2Cluster {
		clear(block)
		for _, q := range chain {
			found, err := q.read(n, block)
			if err != nil {
				return "", err
			}
			if found {
				break
			}
		}
		h.Write(block)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type qcow2File struct {
	*os.File
	backing string
	size    int64
	l1      int64
}

func openQcow2(name string) (*qcow2File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	q := &qcow2File{File: f}
	var header [48]byte
	_, err = f.ReadAt(header[:], 0)
	backing := make([]byte, binary.BigEndian.Uint32(header[16:])%1024)
	if err == nil {
		_, err = f.ReadAt(backing, int64(binary.BigEndian.Uint64(header[8:])))
	}
	if err != nil && !errors.Is(err, io.EOF) || string(header[:4]) != "QFI\xfb" {
		f.Close()
		return nil, fmt.Errorf("reading %s: no qcow2 file: %w", name, err)
	}
	q.backing = string(backing)
	q.size, q.l1 = int64(binary.BigEndian.Uint64(header[24:])), int64(binary.BigEndian.Uint64(header[40:]))
	return q, nil
}

// read fills block with a cluster of this file, if it has that one.
func (q *qcow2File) read(n int64, block []byte) (bool, error) {
	const offset, perTable = 0x00fffffffffffe00, qcow2Cluster / 8
	entry := func(at int64) (uint64, error) {
		var b [8]byte
		_, err := q.ReadAt(b[:], at)
		return binary.BigEndian.Uint64(b[:]), err
	}
	l2, err := entry(q.l1 + n/perTable*8)
	if err != nil || l2&offset == 0 {
		return false, err
	}
	e, err := entry(int64(l2&offset) + n%perTable*8)
	switch {
	case err != nil:
		return false, err
	case e&1 != 0: // all zeroes
		return true, nil
	case e&offset == 0:
		return false, nil
	}
	_, err = q.ReadAt(block, int64(e&offset))
	return true, err
}

// The machine of tart's: the double's directories.

const tartScript = `{"registry": {"ghcr.io/cirruslabs/macos-sequoia-base:latest": {"disk_gb": 50}}}`

func openTart(dir string, at func(step string) error) (vm.Driver, error) {
	d, err := tart.New(tart.Options{
		Binary: os.Getenv("CAL_TART"), Home: filepath.Join(dir, "tart"), StateDir: filepath.Join(dir, "cal/isolation/tart"),
		HostOS: "darwin", HostArch: "arm64", HostVersion: "15.3", Retry: time.Millisecond,
	})
	if err == nil {
		d.OnStep(func(step string) { _ = at(step) }) // its steps cannot fail, only be the last
	}
	return d, err
}

// makeDouble builds the program that plays tart, for this test and the processes it starts.
func makeDouble(t *testing.T) {
	t.Helper()
	program := filepath.Join(plainTempDir(t), "tart")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../internal/vm/tart/tartdouble")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the double: %v\n%s", err, out)
	}
	t.Setenv("CAL_TART", program)
	t.Setenv("TART_DOUBLE_SCALE", "0.02")
}

func makeTart(t *testing.T, dir string, d vm.Driver) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "tart"), 0o755),
		os.WriteFile(filepath.Join(dir, "tart/double.json"), []byte(tartScript), 0o600),
		d.EnsureImage(t.Context(), d.DefaultImage(), nil),
		d.Create(t.Context(), vm.Spec{Name: "demo", CPU: 4, MemoryMiB: 4096, DiskGiB: 60}, nil))
	if err != nil {
		t.Fatal(err)
	}
}

const tartMark = 64 << 10 // where a disk is written

func writeTart(t *testing.T, dir string, content byte) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "tart/vms/cal-demo/disk.img"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(slices.Repeat([]byte{content}, 4096), tartMark)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func disksOfTart(dir string) (now string, by map[string]string, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, "tart/vms"))
	by = map[string]string{}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), "cal-demo")
		if !ours {
			continue
		}
		f, openErr := os.Open(filepath.Join(dir, "tart/vms", e.Name(), "disk.img"))
		if openErr != nil {
			err = errors.Join(err, openErr)
			continue
		}
		h := sha256.New()
		_, copyErr := io.Copy(h, io.LimitReader(f, 2*tartMark)) // the rest is a hole of gigabytes
		err = errors.Join(err, copyErr, f.Close())
		if content := hex.EncodeToString(h.Sum(nil)); rest == "" {
			now = content
		} else {
			by[strings.TrimPrefix(rest, "_snap_")] = content
		}
	}
	return now, by, err
}
