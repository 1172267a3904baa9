package vmtest_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// hooks reach into a Memory's machines from outside, as Conformance needs it.
func hooks() vmtest.Options {
	mark := func(d vm.Driver, name string) string {
		return filepath.Join(d.(*vmtest.Memory).Home(name), "mark")
	}
	return vmtest.Options{
		WriteMark: func(_ context.Context, d vm.Driver, name, value string) error {
			return os.WriteFile(mark(d, name), []byte(value), 0o600)
		},
		ReadMark: func(_ context.Context, d vm.Driver, name string) (string, error) {
			data, err := os.ReadFile(mark(d, name))
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return string(data), err
		},
		PowerOff: func(_ context.Context, d vm.Driver, name string) error {
			return d.(*vmtest.Memory).PowerOffGuest(name)
		},
		Reopen:       func(_ *testing.T, d vm.Driver) vm.Driver { return d.(*vmtest.Memory).Reopen() },
		MissingImage: "memory/other",
		Start: vm.StartOptions{Files: []vm.SeedFile{
			{Path: "/home/cal/notes", Mode: 0o600, Data: []byte("seeded")},
		}},
		ReadGuestFile: func(_ context.Context, d vm.Driver, name, path string) ([]byte, error) {
			return os.ReadFile(filepath.Join(d.(*vmtest.Memory).Home(name), filepath.Base(path)))
		},
	}
}

func TestMemoryConforms(t *testing.T) {
	vmtest.Conformance(t, func(t *testing.T) vm.Driver {
		return vmtest.NewMemory(t, vmtest.MemoryOptions{})
	}, hooks())
}

func TestMemoryConformsWithoutLiveSnapshots(t *testing.T) {
	caps := vm.Capabilities{Share: true, MaxRunning: 2, GuestOS: "darwin", User: "admin", Password: "admin"}
	vmtest.Conformance(t, func(t *testing.T) vm.Driver {
		return vmtest.NewMemory(t, vmtest.MemoryOptions{Capabilities: &caps})
	}, hooks())
}

func TestMemoryFailsAsScripted(t *testing.T) {
	m := vmtest.NewMemory(t, vmtest.MemoryOptions{})
	full := errors.New("disk is full")
	m.Fail("EnsureImage", full)
	if err := m.EnsureImage(t.Context(), m.DefaultImage(), nil); !errors.Is(err, full) {
		t.Errorf("EnsureImage = %v, want %v", err, full)
	}
	if ready, err := m.ImageReady(t.Context(), m.DefaultImage()); ready || err != nil {
		t.Errorf("ImageReady after a failure = %v, %v", ready, err)
	}
	if err := m.EnsureImage(t.Context(), m.DefaultImage(), nil); err != nil {
		t.Errorf("EnsureImage once more: %v", err)
	}
}
