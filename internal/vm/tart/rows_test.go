package tart_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/tart"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// The tests named TestDriverRowNN say what the driver makes of the rows of the Tart contract it can meet.

// logged makes the driver run the double through a shell script that notes each command before it runs it, after the
// shell commands given.
func (d *driver) logged(t *testing.T, shell string) (after *driver, commands func() []string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "commands")
	script := filepath.Join(t.TempDir(), "tart")
	text := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%q\n%s\nexec %q \"$@\"\n", log, shell, double)
	if err := vmtest.WriteProgram(script, text); err != nil {
		t.Fatal(err)
	}
	o := d.options
	o.Binary = script
	return openDriver(t, d.w, o), func() []string {
		data, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
}

func count(all []string, prefix string) (n int) {
	for _, s := range all {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// wantError fails unless err is want (if not nil), says text, and says what to do with hintText.
func wantError(t *testing.T, err, want error, text, hintText string) {
	t.Helper()
	if err == nil || (want != nil && !errors.Is(err, want)) || !strings.Contains(err.Error(), text) {
		t.Errorf("error = %v, want %v with %q", err, want, text)
	}
	if h := hint.Of(err); !strings.Contains(h, hintText) || (hintText == "" && h != "") {
		t.Errorf("hint of %v = %q, want %q in it", err, h, hintText)
	}
}

func TestDriverRow01_version(t *testing.T) {
	t.Parallel()
	d := newDriver(t, `{"version": "2.30.9"}`)
	_, err := d.Machines(t.Context())
	wantError(t, err, nil, "Tart 2.30.9 is too old: 2.31.0 is needed", "brew upgrade")
	for version, fails := range map[string]bool{
		"2.31.0": false, "2.32.1": false, "3.0.0": false, "SNAPSHOT": false, "2.4.0": true, "1.99.99": true, "": true,
		"tart": true,
	} {
		if err := tart.NewEnough(version); (err != nil) != fails {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

func TestDriverRow08_incomplete_machine_is_none(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	if err := os.Remove(d.w.path("vms", "cal-ws", "nvram.bin")); err != nil {
		t.Fatal(err)
	}
	_, err := d.Machine(t.Context(), "ws")
	wantError(t, err, vm.ErrNotFound, "", "")
}

func TestDriverRow10_nothing_is_ever_cloned_over(t *testing.T) {
	t.Parallel()
	d, commands := newDriver(t, stock).logged(t, "")
	d.machine(t, "ws")
	for range 2 {
		_ = d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{})
		_ = d.Create(t.Context(), spec("ws"), nil)
		_ = d.Restore(t.Context(), "ws", "s1", "undo1")
	}
	for _, c := range commands() {
		if f := strings.Fields(c); f[0] == "clone" && !strings.Contains(f[2], "_tmp_") {
			t.Errorf("%q clones to a name that may be taken", c)
		}
	}
}

func TestDriverRow13_snapshot_of_suspended_keeps_memory(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.w.suspended("cal-ws")
	if m, err := d.Machine(t.Context(), "ws"); err != nil || !m.Suspended || m.Running {
		t.Errorf("suspended machine: %+v, %v", m, err)
	}
	if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	d.w.wantState("cal-ws_snap_s1", "suspended")
	wantError(t, d.Resize(t.Context(), "ws", 6, 0), nil, "suspended", "shut it down")
}

func TestDriverRow14_every_machine_has_its_own_address(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "a")
	other := newDriver(t, stock) // another TART_HOME, where the collision check of tart does not reach
	if err := os.Symlink(d.w.path("cache"), other.w.path("cache")); err != nil {
		t.Fatal(err)
	}
	if err := other.Create(t.Context(), spec("a"), nil); err != nil {
		t.Fatal(err)
	}
	if d.w.mac("cal-a") == other.w.mac("cal-a") {
		t.Error("two machines of one image have one MAC address")
	}
}

func TestDriverRow16_unknown_image(t *testing.T) {
	t.Parallel()
	d := newDriver(t, "")
	err := d.EnsureImage(t.Context(), d.DefaultImage(), nil)
	wantError(t, err, vm.ErrNoImage, "code: 404", "config.yaml")
	err = d.EnsureImage(t.Context(), "local-vm", nil)
	wantError(t, err, vm.ErrNoImage, "local-vm", "")
	for _, image := range []string{"", "-rf", "a b", "../x", "a\x00", "--help/x"} {
		if err := d.EnsureImage(t.Context(), image, nil); err == nil || hint.Of(err) == "" {
			t.Errorf("EnsureImage(%q) = %v, want an error with a hint", image, err)
		}
	}
	d.w.script(`{"registry_down": true}`)
	err = d.EnsureImage(t.Context(), d.DefaultImage(), nil)
	wantError(t, err, nil, "offline", "network")
}

func TestDriverRow18_waits_end_with_their_context(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	f, err := os.Open(d.w.home)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	wantError(t, d.CreateSnapshot(ctx, "ws", "s1", vm.SnapshotOptions{}), context.DeadlineExceeded, "", "")
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	wantError(t, d.Start(ctx, "ws", vm.StartOptions{}, nil), context.DeadlineExceeded, "", "")
	if d.w.running("cal-ws") {
		t.Error("a start that was given up runs")
	}
}

func TestDriverRow19_unworded_errors_are_tried_once_more(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	marker := filepath.Join(t.TempDir(), "failed")
	flaky, commands := d.logged(t, fmt.Sprintf(
		`if [ "$1" = clone ] && [ ! -e %q ]; then : >%q; echo "Error: it was being deleted" >&2; exit 1; fi`,
		marker, marker))
	if err := flaky.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
		t.Errorf("CreateSnapshot met one passing error: %v", err)
	}
	if n := count(commands(), "clone"); n != 2 {
		t.Errorf("cloned %d times, want 2", n)
	}
	d.w.linux("broken")
	if err := os.WriteFile(d.w.path("vms", "broken", "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	stubborn, commands := d.logged(t, "")
	_, err := stubborn.Machines(t.Context())
	wantError(t, err, nil, "dataCorrupted", "")
	if n := count(commands(), "list"); n != 2 {
		t.Errorf("listed %d times, want 2", n)
	}
}

func TestDriverRow21_list(t *testing.T) {
	t.Parallel()
	got, err := tart.ParseList(`[
  {
    "State" : "stopped", "Future" : {"a" : [1]}, "Name" : "host\/ns\/img:latest", "Source" : "OCI", "Size" : 1.5
  }
]`)
	if err != nil || len(got) != 1 || got[0].Name != "host/ns/img:latest" {
		t.Errorf("ParseList = %+v, %v", got, err)
	}
	if got, err := tart.ParseList("[\n\n]\n"); err != nil || len(got) != 0 {
		t.Errorf("ParseList of none = %+v, %v", got, err)
	}
}

func TestDriverRow27_machine_started_by_hand(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	p := d.w.boot("cal-ws")
	wantError(t, d.Start(t.Context(), "ws", vm.StartOptions{}, nil), vm.ErrRunning, "", "")
	m, err := d.Machine(t.Context(), "ws")
	if err != nil || m.PID != p.cmd.Process.Pid || !m.StartedAt.IsZero() {
		t.Errorf("machine started by hand: %+v, %v, want process %d", m, err, p.cmd.Process.Pid)
	}
	e, err := d.Exposure(t.Context(), "ws")
	if err != nil || !e.Clipboard || !e.Audio {
		t.Errorf("Exposure = %+v, %v, want clipboard and audio, which were not turned off", e, err)
	}
}

func TestDriverRow29_exit_0_is_no_success(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	d.w.script(`{"guests": {"cal-ws": {"start_error": "Error Domain=VZErrorDomain Code=3 \"Internal error.\""}}}`)
	wantError(t, d.Start(t.Context(), "ws", vm.StartOptions{}, nil), nil, "Internal error", "")
}

func TestDriverRow30_limit(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	for _, name := range []string{"a", "b", "c"} {
		d.machine(t, name)
	}
	d.start(t, "a")
	d.w.darwin("foreign").boot("foreign")
	err := d.Start(t.Context(), "c", vm.StartOptions{}, nil)
	wantError(t, err, vm.ErrLimit, ": a, foreign", "stop a or foreign")
	if d.w.running("cal-c") {
		t.Error("it runs all the same")
	}
}

func TestDriverRow31_slots_taken_by_others(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "a")
	d.w.script(`{"foreign_vms": 2}`)
	wantError(t, d.Start(t.Context(), "a", vm.StartOptions{}, nil), vm.ErrLimit, "", "other programs")
}

func TestDriverRow35_guest_is_asked_before_the_power_is_cut(t *testing.T) {
	t.Parallel()
	d, commands := newDriver(t, stock).logged(t, "")
	d.machine(t, "ws")
	d.start(t, "ws")
	if err := d.Stop(t.Context(), "ws", d.shutdown("ws")); err != nil {
		t.Fatal(err)
	}
	if n := count(commands(), "stop"); n != 0 {
		t.Errorf("tart stop was run %d times for a guest that shut down", n)
	}
	log, err := os.ReadFile(filepath.Join(d.options.StateDir, "ws.log"))
	if err != nil || strings.TrimSpace(string(log)) != "guest has stopped the virtual machine" {
		t.Errorf("run printed %q, %v", log, err)
	}
}

func TestDriverRow36_hanging_run(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	d.w.script(`{"guests": {"*": {"ignore_sigint": true}}}`)
	d.options.StopTimeout = 5 * time.Second
	d = d.reopen(t)
	d.start(t, "ws")
	pid := d.w.holder("cal-ws")
	if err := d.Stop(t.Context(), "ws", vm.Shutdown{}); err != nil {
		t.Fatal(err)
	}
	d.w.await("the process's end", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

func TestDriverRow38_suspended_machine_keeps_its_memory(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.w.suspended("cal-ws")
	wantError(t, d.Stop(t.Context(), "ws", vm.Shutdown{}), vm.ErrNotRunning, "", "")
	d.w.wantState("cal-ws", "suspended")
}

func TestDriverRow43_too_few_processors(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	small := spec("small")
	small.CPU = 1
	err := d.Create(t.Context(), small, nil)
	wantError(t, err, nil, "4 CPU cores at minimum", "vm.yaml")
	if all, err := d.Machines(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("Machines = %+v, %v", all, err)
	}
	wantLeftovers(t, d)
}

func TestDriverRow55_home_tart_cannot_work_in(t *testing.T) {
	t.Parallel()
	for _, home := range []string{"/with space", "/jörg", "relative", "/a%20b", "/a:b"} {
		_, err := tart.New(tart.Options{Home: home, StateDir: t.TempDir()})
		wantError(t, err, nil, "Tart's directory", "TART_HOME")
	}
}

func TestDriverRow61_outbox(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	dir := t.TempDir()
	for _, bad := range []string{"relative", dir + ":ro", dir + ",ro", filepath.Join(dir, "missing"), "/dev/null"} {
		if err := d.Start(t.Context(), "ws", vm.StartOptions{Outbox: bad}, nil); err == nil {
			t.Errorf("Start with outbox %q succeeded", bad)
		}
	}
	spaced := filepath.Join(dir, "with space")
	if err := os.Mkdir(spaced, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), "ws", vm.StartOptions{Outbox: spaced}, nil); err != nil {
		t.Fatal(err)
	}
	e, err := d.Exposure(t.Context(), "ws")
	if err != nil || len(e.Shares) != 1 || e.Shares[0] != (vm.Share{HostPath: spaced}) || e.Restricted {
		t.Errorf("Exposure = %+v, %v", e, err)
	}
	if e.RunsAsRoot != (os.Getuid() == 0) {
		t.Errorf("RunsAsRoot = %v", e.RunsAsRoot)
	}
}

func TestDriverRow62_no_softnet(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("softnet"); err == nil {
		t.Skip("there is a softnet in PATH")
	}
	d := newDriver(t, stock)
	d.machine(t, "ws")
	o := d.options
	o.CutNetwork = true
	cut := openDriver(t, d.w, o)
	wantError(t, cut.Start(t.Context(), "ws", vm.StartOptions{}, nil), nil, "softnet not found", "brew install")
}

func TestDriverRow65_interrupted_download_resumes(t *testing.T) {
	t.Parallel()
	d := newDriver(t, fmt.Sprintf(slowPull, 50, ""))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var phases []vm.Phase
	err := d.EnsureImage(ctx, d.DefaultImage(), func(p vm.Phase) {
		if phases = append(phases, p); p.Done > 0 {
			cancel()
		}
	})
	wantError(t, err, context.Canceled, "downloading", "")
	if last := phases[len(phases)-1]; last.Done != 4e9 || last.Total != 16e9 {
		t.Errorf("last phase = %+v, want a quarter of 16 GB", last)
	}
	if ready, err := d.ImageReady(t.Context(), d.DefaultImage()); err != nil || ready {
		t.Errorf("ImageReady = %v, %v", ready, err)
	}
	if part, err := os.ReadDir(d.w.path("tmp")); err != nil || len(part) != 1 {
		t.Errorf("what was downloaded is gone: %v, %v", part, err)
	}
	d.w.script(fmt.Sprintf(slowPull, 0, ""))
	if err := d.EnsureImage(t.Context(), d.DefaultImage(), nil); err != nil {
		t.Fatal(err)
	}
}
