//go:build linux

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// needVM skips a test that boots a guest. The image is built into the user's cache if it is not there.
func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv("CAL_TEST_VM") != "1" {
		t.Skip("set CAL_TEST_VM=1: this test boots Debian in QEMU")
	}
}

// bootLimit is generous: the machine that runs the tests emulates the guest's processor and may have little of its own.
const bootLimit = 3 * time.Minute

func vmSpec(name string) vm.Spec {
	s := vmtest.Size
	s.Name, s.DiskGiB = name, markDisk>>30
	return s
}

func TestConformance(t *testing.T) {
	needVM(t)
	g := newGuest(t)
	if err := vmtest.Ready(t.Context(), New(Options{Dir: t.TempDir()}), vmSpec("")); err != nil {
		t.Fatal(err)
	}
	vmtest.Conformance(t, func(t *testing.T) vm.Driver { return New(Options{Dir: t.TempDir()}) }, vmtest.Options{
		WriteMark: g.writeMark,
		ReadMark:  g.readMark,
		WriteMemory: func(ctx context.Context, d vm.Driver, name, value string) error {
			out, err := g.run(ctx, d, name, "echo "+value+" > /dev/shm/mark")
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
		ReadMemory: func(ctx context.Context, d vm.Driver, name string) (string, error) {
			out, err := g.run(ctx, d, name, "cat /dev/shm/mark 2>/dev/null; true")
			return strings.TrimSpace(out), err
		},
		PowerOff: g.powerOff,
		Reopen:   func(_ *testing.T, d vm.Driver) vm.Driver { return New(d.(*Driver).opts) },
		ReadGuestFile: func(ctx context.Context, d vm.Driver, name, path string) ([]byte, error) {
			out, err := g.run(ctx, d, name, "sudo cat "+path)
			return []byte(out), err
		},
		Spec:         vmSpec(""),
		MissingImage: "debian-99",
		Start:        vm.StartOptions{Files: g.seed},
		BootLimit:    bootLimit,
		Slow:         true,
	})
}

// boot creates and starts a machine that ends with the test: from a template, unless the driver takes none.
func boot(t *testing.T, d *Driver, name string, g guest) {
	t.Helper()
	ctx := t.Context()
	ready := func() error { return vmtest.Ready(ctx, d, vmSpec(name)) }
	if d.opts.NoTemplates {
		ready = func() error { return d.EnsureImage(ctx, "", nil) }
	}
	if err := ready(); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(ctx, vmSpec(name), nil); err != nil {
		t.Fatal(err)
	}
	start(t, d, name, g)
}

func start(t *testing.T, d *Driver, name string, g guest) {
	t.Helper()
	if err := d.Start(t.Context(), name, vm.StartOptions{Files: g.seed}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := d.Stop(context.Background(), name, vm.Shutdown{})
		if err != nil && !errors.Is(err, vm.ErrNotRunning) && !errors.Is(err, vm.ErrNotFound) {
			t.Error(err)
		}
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(d.machineDir(name), runDir, serialFile)); err == nil {
				t.Logf("console: %s", log)
			}
		}
	})
}

// TestGuest says what a guest is like inside.
func TestGuest(t *testing.T) {
	needVM(t)
	d, g := New(Options{Dir: t.TempDir(), NoTemplates: true}), newGuest(t)
	if err := d.EnsureImage(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	began := time.Now()
	boot(t, d, "inside", g)
	out, err := g.run(ctx, d, "inside", "true")
	if err != nil {
		t.Fatalf("first command: %v: %s", err, out)
	}
	t.Logf("created, started and a first command run in %.1f s", time.Since(began).Seconds())

	client, err := g.connect(ctx, d, "inside")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, tt := range []struct{ what, command, want string }{
		{"account", "id -un; sudo id -un", "admin\nroot\n"},
		{"name", "hostname; getent hosts inside", "inside\n127.0.1.1       inside\n"},
		{
			"folders", "stat -c '%U %a %n' ~/workspace ~/output /tmp",
			"admin 755 /home/admin/workspace\nadmin 755 /home/admin/output\nroot 1777 /tmp\n",
		},
		{"marker", "echo $CAL_VM $CAL_VM_INFO", "true /home/admin/.cal-vm-info\n"},
		{
			"proxy", "echo $http_proxy $https_proxy; sudo sh -c 'echo $https_proxy'; bash -lc 'echo $https_proxy'",
			"http://127.0.0.1:3128 http://127.0.0.1:3128\nhttp://127.0.0.1:3128\nhttp://127.0.0.1:3128\n",
		},
		{"disk grown", "df --output=size -BG / | tail -1 | tr -d ' '", "6G\n"},
		{
			"SSH", "sudo sshd -T | grep -E '^(passwordauthentication|permitrootlogin|usepam|gatewayports|maxsessions) ' | sort",
			"gatewayports no\nmaxsessions 64\npasswordauthentication no\npermitrootlogin no\nusepam no\n",
		},
		{"tmux", "TERM=xterm-256color tmux new-session -d 'sleep 9' && tmux ls -F '#{session_windows}' && tmux kill-server", "1\n"},
		{"nft", "sudo nft add table ip probe && sudo nft list tables && sudo nft delete table ip probe", "table ip probe\n"},
		{"node", "node -e 'console.log([1,2].map(n => n * 2).join())'", "2,4\n"},
		{"git", "cd $(mktemp -d) && git init -q && git symbolic-ref --short HEAD; git config http.proxy || echo direct", "main\ndirect\n"},
		{"watches", "cat /proc/sys/fs/inotify/max_user_watches", "1048576\n"},
		{"closed network", "for a in 10.0.2.2 10.0.2.3; do timeout 5 bash -c \"exec 3<>/dev/tcp/$a/22\" 2>/dev/null && echo open $a; done; true", ""},
		{"only SSH listens", "sudo ss -Hltn | awk '{print $4}' | sort", "0.0.0.0:22\n[::]:22\n"},
		{"nothing failed", "systemctl --failed --plain --no-legend", ""},
	} {
		out, err := runOn(ctx, client, tt.command)
		if err != nil || out != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.what, out, err, tt.want)
		}
	}
	e, err := d.Exposure(ctx, "inside")
	if err != nil || !e.Restricted || e.RunsAsRoot || len(e.Shares) != 0 || len(e.Listeners) != 1 {
		t.Errorf("exposure %+v, %v", e, err)
	}
	asked := time.Now()
	err = d.Stop(ctx, "inside", vm.Shutdown{Grace: time.Minute, Guest: func(ctx context.Context) error {
		return g.powerOff(ctx, d, "inside")
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("powered off in %.1f s", time.Since(asked).Seconds())
	again := time.Now()
	start(t, d, "inside", g)
	if out, err := g.run(ctx, d, "inside", "findmnt -no OPTIONS /"); err != nil || !strings.Contains(out, "noatime") {
		t.Errorf("after the second start: %q, %v", out, err)
	}
	t.Logf("second start to a command: %.1f s", time.Since(again).Seconds())
}

// On a host whose KVM cannot run the guest, asking for KVM ends in emulation, and the machine remembers it.
func TestKVMFallsBack(t *testing.T) {
	needVM(t)
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || hasVirtualisation(info) {
		t.Skip("this host's KVM works")
	}
	d, g := New(Options{Dir: t.TempDir(), Accel: AccelKVM, NoTemplates: true}), newGuest(t)
	boot(t, d, "stubborn", g)
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	if out, err := g.run(ctx, d, "stubborn", "true"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r, err := d.readRecord("stubborn"); err != nil || !r.NoKVM {
		t.Errorf("record %+v, %v does not say that KVM failed", r, err)
	}
}

// Deleting snapshots of a running machine leaves it running, and its disk whole, whatever must wait for the next stop.
func TestDeleteWhileRunning(t *testing.T) {
	needVM(t)
	d, g := New(Options{Dir: t.TempDir()}), newGuest(t)
	boot(t, d, "busy", g)
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	var once sync.Once
	for _, id := range []string{"a", "b", "c"} {
		if err := g.writeMark(ctx, d, "busy", "before-"+id); err != nil {
			t.Fatal(err)
		}
		err := d.CreateSnapshot(ctx, "busy", id, vm.SnapshotOptions{Freeze: func(ctx context.Context, do func() error) error {
			once.Do(func() { _, _ = g.run(ctx, d, "busy", "sync") })
			return do()
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b"} {
		if err := d.DeleteSnapshot(ctx, "busy", id); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := g.run(ctx, d, "busy", "sudo touch /root/after && sync && echo fine"); err != nil || out != "fine\n" {
		t.Fatalf("%q, %v", out, err)
	}
	r, err := d.readRecord("busy")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("layers left: %d", len(r.Disk.Layers))
	if err := d.Stop(ctx, "busy", vm.Shutdown{}); err != nil {
		t.Fatal(err)
	}
	if err := d.Restore(ctx, "busy", "c", "undo"); err != nil {
		t.Fatal(err)
	}
	if got, err := g.readMark(ctx, d, "busy"); err != nil || got != "before-c" {
		t.Errorf("rolled back to %q, %v", got, err)
	}
	if err := d.DeleteSnapshot(ctx, "busy", "c"); err != nil {
		t.Fatal(err)
	}
	if got, err := g.readMark(ctx, d, "busy"); err != nil || !bytes.Equal([]byte(got), []byte("before-c")) {
		t.Errorf("after merging: %q, %v", got, err)
	}
}
