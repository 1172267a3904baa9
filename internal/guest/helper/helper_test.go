package helper

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/resources"
)

// home is a guest that is a directory of this machine.
type home struct {
	dir, os string
	writes  int
	spoil   bool // what is written is not what was sent
}

func (h *home) GuestOS() string { return h.os }

func (h *home) Output(ctx context.Context, cmd guest.Cmd) (guest.Result, error) {
	c := exec.CommandContext(ctx, cmd.Argv[0], cmd.Argv[1:]...)
	c.Dir = h.dir
	out, err := c.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return guest.Result{Stdout: out, Stderr: exit.Stderr, Exit: exit.ExitCode()}, nil
	}
	return guest.Result{Stdout: out}, err
}

func (h *home) WriteFile(_ context.Context, path string, mode os.FileMode, data []byte) error {
	h.writes++
	if h.spoil {
		data = data[1:]
	}
	return os.WriteFile(filepath.Join(h.dir, path), data, mode)
}

func newHome(t *testing.T) *home {
	t.Helper()
	if _, err := resources.CalHelper("linux"); err != nil {
		t.Skipf("needs the guest's programs: %v", err)
	}
	return &home{dir: t.TempDir(), os: "linux"}
}

func TestEnsurePutsItThereOnceAndItRuns(t *testing.T) {
	h := newHome(t)
	for range 2 {
		name, err := Ensure(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(filepath.Join(h.dir, name), "version").Output()
		if err != nil || !bytes.HasPrefix(out, []byte("calhelper linux/")) {
			t.Errorf("the helper says %q, %v", out, err)
		}
	}
	if h.writes != 1 {
		t.Errorf("uploaded %d times, want once", h.writes)
	}
}

func TestEnsureReplacesWhatIsNotTheHelper(t *testing.T) {
	h := newHome(t)
	name, err := Ensure(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(t.Context(), h); err != nil || h.writes != 2 {
		t.Errorf("a changed helper: %v, uploaded %d times, want twice", err, h.writes)
	}
}

func TestEnsureRemovesHelpersOfOtherVersionsAfterAWeek(t *testing.T) {
	h := newHome(t)
	name, err := Ensure(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	old, recent := filepath.Join(h.dir, dir, "calhelper-old"), filepath.Join(h.dir, dir, "calhelper-recent")
	lastMonth := time.Now().AddDate(0, -1, 0)
	for _, p := range []string{old, recent} {
		if err := os.WriteFile(p, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{old, filepath.Join(h.dir, name)} {
		if err := os.Chtimes(p, lastMonth, lastMonth); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Ensure(t.Context(), h); err != nil || h.writes != 1 {
		t.Errorf("Ensure: %v, uploaded %d times, want once", err, h.writes)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the helper of a month ago is still there (%v)", err)
	}
	if _, err := os.Stat(recent); err != nil {
		t.Error("the helper another version has just put there is gone:", err)
	}
}

func TestEnsureNoticesWhatDoesNotArrive(t *testing.T) {
	h := newHome(t)
	h.spoil = true
	if name, err := Ensure(t.Context(), h); err == nil {
		t.Errorf("a helper that did not arrive whole is said to be at %q", name)
	}
}

func TestEnsureOfAGuestWithoutHelper(t *testing.T) {
	h := newHome(t)
	h.os = "plan9"
	_, err := Ensure(t.Context(), h)
	if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "plan9") {
		t.Errorf("got %v, want ErrNone that names the system", err)
	}
}
