package vmtest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

func TestMain(m *testing.M) {
	// Every boot of a random history is an SSH server: unless asked for more, a few histories have to do.
	flag.Parse()
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("20"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

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
		WriteMemory: func(_ context.Context, d vm.Driver, name, value string) error {
			return os.WriteFile(filepath.Join(d.(*vmtest.Memory).RAM(name), "mark"), []byte(value), 0o600)
		},
		ReadMemory: func(_ context.Context, d vm.Driver, name string) (string, error) {
			data, err := os.ReadFile(filepath.Join(d.(*vmtest.Memory).RAM(name), "mark"))
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

// Like macOS guests: suspended before their memory can be snapshotted, and not with a shared folder.
func TestMemoryConformsWithoutLiveWarmSnapshots(t *testing.T) {
	caps := vm.Capabilities{WarmSnapshot: true, Share: true, MaxRunning: 2, GuestOS: "darwin", User: "admin"}
	vmtest.Conformance(t, func(t *testing.T) vm.Driver {
		return vmtest.NewMemory(t, vmtest.MemoryOptions{Capabilities: &caps})
	}, hooks())
}

func TestMemoryRefusesToSaveMemoryAsScripted(t *testing.T) {
	m := vmtest.NewMemory(t, vmtest.MemoryOptions{})
	ctx := t.Context()
	err := errors.Join(m.EnsureImage(ctx, m.DefaultImage(), nil), m.Create(ctx, vm.Spec{Name: "ws"}, nil),
		m.Start(ctx, "ws", vm.StartOptions{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	no := vm.Warmth{Reason: "a test says so"}
	m.SetWarmth("ws", &no)
	if mc, err := m.Machine(ctx, "ws"); err != nil || mc.Warm != no {
		t.Errorf("Machine = %+v, %v, want %+v", mc, err, no)
	}
	for call, err := range map[string]error{
		"Suspend":        m.Suspend(ctx, "ws", nil),
		"CreateSnapshot": m.CreateSnapshot(ctx, "ws", "s1", vm.SnapshotOptions{Memory: true}),
	} {
		if !errors.Is(err, vm.ErrNoMemory) || !strings.Contains(err.Error(), no.Reason) {
			t.Errorf("%s = %v, want %v and why", call, err, vm.ErrNoMemory)
		}
	}
	m.SetWarmth("ws", nil)
	if err := m.Suspend(ctx, "ws", nil); err != nil {
		t.Error(err)
	}
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
