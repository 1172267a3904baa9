//go:build linux

package qemu

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// These tests save and resume the memory of Debian guests. They need some GiB of disk and minutes.

// inGuest runs a command that must succeed.
func inGuest(ctx context.Context, t *testing.T, g guest, d *Driver, name, command string) string {
	t.Helper()
	out, err := g.run(ctx, d, name, command)
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(out)
}

// writtenOut is what a snapshot with memory calls around its instant.
func writtenOut(ctx context.Context, t *testing.T, g guest, d *Driver, name string, paused *time.Duration) vm.SnapshotOptions {
	t.Helper()
	return vm.SnapshotOptions{Memory: true, Freeze: func(_ context.Context, do func() error) error {
		inGuest(ctx, t, g, d, name, "sync")
		began := time.Now()
		err := do()
		*paused = time.Since(began)
		return err
	}}
}

// firstByte resumes a suspended machine and returns how long it took until its SSH server spoke.
func firstByte(ctx context.Context, t *testing.T, d *Driver, name string, do func() error) time.Duration {
	t.Helper()
	began := time.Now()
	must(t, do())
	conn, err := d.DialSSH(ctx, name)
	must(t, err)
	took := time.Since(began)
	conn.Close()
	return took
}

// countInGuest starts a process that counts in memory, for ever, and writes the number to a file in memory.
const countInGuest = `sudo install -o admin -d /run/count; setsid sh -c 'n=0; while :; do n=$((n+1)); ` +
	`echo $n > /run/count/n; sleep 0.5; done' < /dev/null > /dev/null 2>&1 &`

// memoryOf is how much of the host's memory a machine's takes, in bytes.
func memoryOf(ctx context.Context, t *testing.T, d *Driver, name string) int64 {
	t.Helper()
	p, err := findProcess(ctx, d.machineDir(name))
	must(t, err)
	r, err := d.readRecord(name)
	must(t, err)
	ram, err := openGuestRAM(p.pid, int64(r.MemoryMiB)<<20)
	must(t, err)
	defer ram.Close()
	return fileUse(ram)
}

// TestWarmRollback: a process that counts in memory, and the home it works in, are back after the home was wrecked.
func TestWarmRollback(t *testing.T) {
	needVM(t)
	d, g := New(Options{Dir: t.TempDir()}), newGuest(t)
	boot(t, d, "warm", g)
	ctx, cancel := context.WithTimeout(t.Context(), 3*bootLimit)
	defer cancel()
	inGuest(ctx, t, g, d, "warm", countInGuest)
	inGuest(ctx, t, g, d, "warm", "echo kept > ~/workspace/kept; sync; until test -s /run/count/n; do sleep 0.1; done")
	counted := func(beyond int) int {
		for {
			// Between two numbers the file is empty for a moment.
			if n, err := strconv.Atoi(inGuest(ctx, t, g, d, "warm", "cat /run/count/n")); err == nil && n > beyond {
				return n
			}
		}
	}
	at := counted(0)
	var paused time.Duration
	must(t, d.CreateSnapshot(ctx, "warm", "good", writtenOut(ctx, t, g, d, "warm", &paused)))
	t.Logf("paused for %d ms", paused.Milliseconds())
	for i := range 2 {
		inGuest(ctx, t, g, d, "warm", "rm -rf ~/workspace ~/output; sync; echo wrecked")
		began := time.Now()
		must(t, d.Suspend(ctx, "warm", nil))
		suspended := time.Since(began)
		must(t, d.Restore(ctx, "warm", "good", fmt.Sprint("undo", i)))
		took := firstByte(ctx, t, d, "warm", func() error { return d.Start(ctx, "warm", vm.StartOptions{Files: g.seed}, nil) })
		if got := inGuest(ctx, t, g, d, "warm", "cat ~/workspace/kept"); got != "kept" {
			t.Errorf("after the rollback: %q", got)
		}
		counted(counted(at - 1))
		t.Logf("suspended in %d ms, resumed to the first byte in %d ms, to commands in %d ms",
			suspended.Milliseconds(), took.Milliseconds(), time.Since(began).Milliseconds())
	}
	// It was resumed, and still gives back what it has used and freed.
	const used = 400 << 20
	inGuest(ctx, t, g, d, "warm", fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x >/dev/shm/used", used))
	full := memoryOf(ctx, t, d, "warm")
	inGuest(ctx, t, g, d, "warm", "rm /dev/shm/used")
	for now := full; now > full-used/2; now = memoryOf(ctx, t, d, "warm") {
		must(t, pause(ctx, 200*time.Millisecond))
	}
	// Memory of another machine is of no use: the disk is.
	must(t, d.Suspend(ctx, "warm", nil))
	m, unlock, err := d.open(ctx, "warm", "test")
	must(t, err)
	id := m.Disk.Layers[m.Disk.Active].Memory
	saved, err := os.ReadFile(m.memoryPath(id, memoryFile))
	must(t, err)
	other := strings.Replace(string(saved), `"qemu": "`, `"qemu": "0.`, 1)
	must(t, os.WriteFile(m.memoryPath(id, memoryFile), []byte(other), 0o600))
	unlock()
	var told []string
	must(t, d.Start(ctx, "warm", vm.StartOptions{Files: g.seed}, func(p vm.Phase) { told = append(told, p.Name+": "+p.Detail) }))
	if got := inGuest(ctx, t, g, d, "warm", "cat ~/workspace/kept; ls /run/count 2>&1; true"); !strings.HasPrefix(got, "kept\nls:") {
		t.Errorf("after a boot instead: %q", got)
	}
	if facts, err := d.Machine(ctx, "warm"); err != nil || facts.Resumed || !strings.Contains(strings.Join(told, "\n"), "saved by QEMU 0.") {
		t.Errorf("%+v, %v; told %q", facts, err, told)
	}
}

// TestWarmSnapshotsInARow: the guest's disk goes on being written to, and holds what was written, through many.
func TestWarmSnapshotsInARow(t *testing.T) {
	needVM(t)
	d, g := New(Options{Dir: t.TempDir()}), newGuest(t)
	boot(t, d, "row", g)
	ctx, cancel := context.WithTimeout(t.Context(), 4*bootLimit)
	defer cancel()
	const rounds = 10
	var longest, sum time.Duration
	for i := range rounds {
		inGuest(ctx, t, g, d, "row", fmt.Sprintf("echo %d >> ~/log; head -c 200k /dev/urandom > ~/f%d; sha256sum ~/f%d >> ~/sums", i, i%7, i%7))
		var pause time.Duration
		must(t, d.CreateSnapshot(ctx, "row", fmt.Sprint("s", i), writtenOut(ctx, t, g, d, "row", &pause)))
		longest, sum = max(longest, pause), sum+pause
		if i >= 3 {
			must(t, d.DeleteSnapshot(ctx, "row", fmt.Sprint("s", i-3)))
		}
	}
	t.Logf("%d pauses: %d ms on average, %d at most", rounds, (sum / rounds).Milliseconds(), longest.Milliseconds())
	const check = "wc -l < ~/log; tail -n 7 ~/sums | sha256sum -c --quiet && echo sound; sudo dmesg | grep -c 'I/O error'"
	if got := inGuest(ctx, t, g, d, "row", check+"; true"); got != "10\nsound\n0" {
		t.Errorf("in the running guest: %q", got)
	}
	must(t, d.Stop(ctx, "row", vm.Shutdown{}))
	must(t, d.Restore(ctx, "row", fmt.Sprint("s", rounds-1), "undo"))
	start(t, d, "row", g)
	if got := inGuest(ctx, t, g, d, "row", check+"; true"); got != "10\nsound\n0" {
		t.Errorf("rolled back: %q", got)
	}
}
