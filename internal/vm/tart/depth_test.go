package tart_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/tart"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// requirement is what the driver says it needs by that name; its zero value if it says nothing of it.
func (d *driver) requirement(t *testing.T, name string) vm.Requirement {
	t.Helper()
	all := d.Requirements(t.Context())
	i := slices.IndexFunc(all, func(r vm.Requirement) bool { return r.Name == name })
	if i < 0 {
		return vm.Requirement{}
	}
	return all[i]
}

func TestEveryMachineHasItsOwnIdentity(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "a")
	d.machine(t, "b")
	a, b := d.w.config("cal-a", "ecid"), d.w.config("cal-b", "ecid")
	if a == nil || a == b {
		t.Errorf("two machines of one image have the identities %v and %v", a, b)
	}
	d.w.linux("penguin")
	if err := d.Create(t.Context(), vm.Spec{Name: "c", Image: "penguin"}, nil); err != nil {
		t.Errorf("a machine of a Linux image: %v", err)
	}
}

// A memory that was saved with another address would not resume.
func TestAMachineOfASuspendedImageStartsAfresh(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.w.suspended("base")
	if err := d.Create(t.Context(), vm.Spec{Name: "ws", Image: "base"}, nil); err != nil {
		t.Fatal(err)
	}
	d.w.wantState("cal-ws", "stopped")
	d.w.wantState("base", "suspended")
	d.start(t, "ws")
}

const slowPull = `{"registry": {"ghcr.io/cirruslabs/macos-sequoia-base:latest": {"step_time": %d, "fails": %q}}}`

// What is there of a download survives all that is asked of the driver until it is gone on with: any tart command but
// pull and clone would remove it.
func TestACancelledDownloadIsGoneOnWith(t *testing.T) {
	t.Parallel()
	d, commands := newDriver(t, fmt.Sprintf(slowPull, 50, "")).logged(t, "")
	d.w.darwin("cal-other")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := d.EnsureImage(ctx, d.DefaultImage(), func(p vm.Phase) {
		if p.Done > 0 {
			cancel()
		}
	})
	wantError(t, err, context.Canceled, "downloading", "")
	if cached, err := filepath.Glob(d.w.path("cache", "OCIs", "*", "*", "*", "*")); err != nil || len(cached) > 0 {
		t.Errorf("half an image is registered: %q, %v", cached, err)
	}
	before := len(commands())
	if all, err := d.Machines(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("Machines = %+v, %v", all, err)
	}
	if err := d.Recover(t.Context(), "ws"); err != nil {
		t.Errorf("Recover: %v", err)
	}
	if _, err := d.Machine(t.Context(), "ws"); !errors.Is(err, vm.ErrNotFound) {
		t.Errorf("Machine: %v", err)
	}
	d.requirement(t, "free slot for a macOS guest")
	d.w.script(fmt.Sprintf(slowPull, 0, ""))
	var first vm.Phase
	err = d.EnsureImage(t.Context(), d.DefaultImage(), func(p vm.Phase) {
		if first.Done == 0 {
			first = p
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if first.Done < 4e9 || first.Total != 16e9 {
		t.Errorf("it went on at %+v, want what was there", first)
	}
	for _, c := range commands()[before:] {
		if !strings.HasPrefix(c, "pull ") && c != "--version" {
			t.Errorf("in between, tart %s", c)
		}
	}
	if _, err := d.Machines(t.Context()); err != nil || count(commands()[before:], "list") != 1 {
		t.Errorf("after the download: %q, %v", commands()[before:], err)
	}
}

func TestADownloadThatFailsSaysWhyAndIsGoneOnWith(t *testing.T) {
	t.Parallel()
	d := newDriver(t, fmt.Sprintf(slowPull, 1, "The network connection was lost: The request timed out."))
	err := d.EnsureImage(t.Context(), d.DefaultImage(), nil)
	wantError(t, err, nil, "The network connection was lost", "network connection")
	d.w.script(fmt.Sprintf(slowPull, 1, ""))
	var first vm.Phase
	err = d.EnsureImage(t.Context(), d.DefaultImage(), func(p vm.Phase) {
		if first.Done == 0 {
			first = p
		}
	})
	if err != nil || first.Done < 8e9 {
		t.Errorf("it went on at %+v, %v", first, err)
	}
}

func TestMachinesAreListedByFilesAsByTart(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	d.w.suspended("asleep")
	d.w.darwin("on", "broken")
	d.w.boot("on")
	if err := os.Remove(d.w.path("vms", "broken", "nvram.bin")); err != nil {
		t.Fatal(err)
	}
	byTart, byFiles, err := d.ListBoth(t.Context())
	if err != nil || byTart != byFiles || !strings.Contains(byFiles, "on running") {
		t.Errorf("by tart  %s\nby files %s\n%v", byTart, byFiles, err)
	}
}

// lease is an entry of the file, as macOS writes it.
func lease(host int, until time.Time) string {
	return fmt.Sprintf("{\n\tname=admins-Virtual-Machine\n\tip_address=192.168.64.%d\n\thw_address=1,5a:94:ef:0:0:%x\n"+
		"\tidentifier=1,5a:94:ef:0:0:%x\n\tlease=0x%x\n}\n", host, host, host, until.Unix())
}

func TestLeases(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	later, before := now.Add(time.Hour), now.Add(-time.Hour)
	for text, want := range map[string]int{
		"":                                      0,
		lease(2, later):                         1,
		lease(2, later) + lease(3, before):      1,
		lease(2, later) + lease(2, later):       1,
		lease(2, later) + lease(3, later):       2,
		"{\n\tip_address=1.2.3.4\n}\n":          0,
		"{\n\tip_address=1.2.3.4\n\tlease=x\n}": 0,
		lease(2, later)[:60]:                    0,
	} {
		if got := len(tart.ParseLeases([]byte(text), now)); got != want {
			t.Errorf("%d leases, want %d, in:\n%s", got, want, text)
		}
	}
}

func FuzzLeases(f *testing.F) {
	f.Add([]byte(lease(2, time.Unix(1<<40, 0))))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n := len(tart.ParseLeases(data, time.Unix(0, 0))); n > len(data)/len("ip_address=x}") {
			t.Errorf("%d leases in %d bytes", n, len(data))
		}
	})
}

// A machine that runs and gets no address: the addresses are used up, or it is still booting.
func TestUsedUpAddressesAreRecognised(t *testing.T) {
	t.Parallel()
	d := newDriver(t, `{"guests": {"*": {"no_agent": true}}, "registry": {
"ghcr.io/cirruslabs/macos-sequoia-base:latest": {}}}`)
	d.machine(t, "ws")
	d.options.LeaseFile = filepath.Join(t.TempDir(), "dhcpd_leases")
	d = d.reopen(t)
	d.start(t, "ws")
	put := func(n int) {
		var b strings.Builder
		for i := range n {
			b.WriteString(lease(2+i, time.Now().Add(time.Hour)))
		}
		if err := os.WriteFile(d.options.LeaseFile, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const fix = "`sudo rm /var/db/dhcpd_leases`"
	put(253)
	_, err := d.DialSSH(t.Context(), "ws")
	wantError(t, err, nil, "all 253 addresses of this Mac's DHCP server are taken: tart ip: no IP address found", fix)
	if r := d.requirement(t, "DHCP addresses for guests"); r.OK || !r.Optional || !strings.Contains(r.Hint, fix) {
		t.Errorf("requirement %+v", r)
	}
	put(7)
	_, err = d.DialSSH(t.Context(), "ws")
	wantError(t, err, nil, "no IP address found", "may still be booting")
	if r := d.requirement(t, "DHCP addresses for guests"); !r.OK || !strings.Contains(r.Detail, "7 of about 253") {
		t.Errorf("requirement %+v", r)
	}
}

func TestAnImageWithoutAgentIsNamedWhereThereIsNoOtherWay(t *testing.T) {
	t.Parallel()
	d := newDriver(t, agentless)
	d.machine(t, "cut")
	d.machine(t, "open")
	d.start(t, "open")
	bin := t.TempDir()
	if err := vmtest.WriteProgram(filepath.Join(bin, "softnet"), "#!/bin/sh\n"); err != nil {
		t.Fatal(err)
	}
	d.options.CutNetwork = true
	d.options.DialTCP = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	}
	d, _ = d.logged(t, fmt.Sprintf("PATH=%q:$PATH", bin))
	d.start(t, "cut")
	_, err := d.DialSSH(t.Context(), "cut")
	wantError(t, err, nil, "is the Tart Guest Agent running?", "vanilla")
	// One that was started by hand has a network: the way over it is tried, and what is in the way is named.
	d.w.await("a lease", func() bool { return d.w.tart("ip", "cal-open").code == 0 })
	_, err = d.DialSSH(t.Context(), "open")
	wantError(t, err, nil, "macOS does not let CALMenu reach it", "Local Network > CALMenu")
}

// A guest agent that dies under a connection ends it; the next one is a connection as any.
func TestAnAgentThatDiesIsReachedAgain(t *testing.T) {
	t.Parallel()
	d := newDriver(t, `{"guests": {"*": {"agent_drops": 100}}, "registry": {
"ghcr.io/cirruslabs/macos-sequoia-base:latest": {}}}`)
	d.machine(t, "ws")
	d.start(t, "ws")
	for range 2 {
		conn, err := d.DialSSH(t.Context(), "ws")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("reading to the end: %v", err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if !d.w.running("cal-ws") {
		t.Error("the machine went with the connection")
	}
}

// Not parallel: what it asks depends on the environment.
func TestALockedLoginKeychainIsSeenOverSSH(t *testing.T) {
	d := newDriver(t, stock)
	dir := t.TempDir()
	for code, want := range map[string]string{"0": "open", "36": "locked: macOS guests do not start"} {
		d.options.Security = filepath.Join(dir, "security"+code)
		text := "#!/bin/sh\n[ \"$*\" = show-keychain-info ] || exit 99\nexit " + code + "\n"
		if err := vmtest.WriteProgram(d.options.Security, text); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
		r := d.reopen(t).requirement(t, "login keychain")
		if r.Detail != want || r.OK != (code == "0") || !r.Optional || !strings.Contains(r.Hint, "unlock-keychain") {
			t.Errorf("requirement %+v, want %s", r, want)
		}
		t.Setenv("SSH_CONNECTION", "")
		if r := d.reopen(t).requirement(t, "login keychain"); r.Name != "" {
			t.Errorf("at the screen, where it could raise a dialog, it is asked: %+v", r)
		}
	}
	d.options.Security = filepath.Join(dir, "none")
	t.Setenv("SSH_CONNECTION", "x")
	if r := d.reopen(t).requirement(t, "login keychain"); !r.OK || !strings.Contains(r.Detail, "unknown") {
		t.Errorf("without the program: %+v", r)
	}
}

func TestWhatAVersionCanDo(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.31.0": false, "2.32.1": false, "2.33.0": true, "2.35.0": true, "3.0.0": true, "SNAPSHOT": true,
	} {
		if got := tart.Since(version, 2, 33); got != want {
			t.Errorf("%s is 2.33 or newer: %v", version, got)
		}
	}
}

// Until 2.33 the end of a pipe had `tart exec -i` spin a core for as long as the command took.
func TestOldVersionsAreGivenFilesToRead(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"2.32.1": "file", "2.35.0": "pipe"} {
		d := newDriver(t, fmt.Sprintf(`{"version": %q, "registry": {
"ghcr.io/cirruslabs/macos-sequoia-base:latest": {}}}`, version))
		d.machine(t, "ws")
		d.start(t, "ws")
		seen := filepath.Join(t.TempDir(), "seen")
		d, _ = d.logged(t, fmt.Sprintf(`if [ "$1" = exec ]; then
if [ -f /dev/stdin ]; then echo file; else echo pipe; fi >>%q; fi`, seen))
		out, exit, err := d.Exec(t.Context(), "ws", []string{"cat"}, strings.NewReader("the input"))
		if err != nil || exit != 0 || string(out) != "the input" {
			t.Errorf("version %s: %q, %d, %v", version, out, exit, err)
		}
		if b, err := os.ReadFile(seen); err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("version %s was given a %s, %v, want a %s", version, b, err, want)
		}
		_, _, err = d.Exec(t.Context(), "ws", []string{"cat"}, io.LimitReader(zeros{}, 1<<20+1))
		if version == "2.32.1" {
			wantError(t, err, nil, "longer than", "")
		}
		if left, err := filepath.Glob(filepath.Join(d.options.StateDir, ".input*")); err != nil || len(left) > 0 {
			t.Errorf("left over: %q, %v", left, err)
		}
	}
}

// Newer versions can clone a machine as a layer over the disk of another: it has no disk image of its own.
func TestAStackedMachineIsAMachine(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	if err := os.Rename(d.w.path("vms", "cal-ws", "disk.img"), d.w.path("vms", "cal-ws", "overlay.asif")); err != nil {
		t.Fatal(err)
	}
	if err := d.CreateSnapshot(t.Context(), "ws", "s1", vm.SnapshotOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := d.Restore(t.Context(), "ws", "s1", "undo1"); err != nil {
		t.Fatal(err)
	}
	d.start(t, "ws")
	byTart, byFiles, err := d.ListBoth(t.Context())
	if err != nil || byTart != byFiles {
		t.Errorf("by tart  %s\nby files %s\n%v", byTart, byFiles, err)
	}
}

// A machine somebody started by hand is as good as one of ours: reached, used, shut down.
func TestAMachineStartedByHandIsUsedAsAny(t *testing.T) {
	t.Parallel()
	d := newDriver(t, stock)
	d.machine(t, "ws")
	p := d.w.boot("cal-ws", "--no-audio", "--no-clipboard")
	conn, err := d.DialSSH(t.Context(), "ws")
	if err != nil {
		t.Fatal(err)
	}
	login(t, conn)
	if out, _, err := d.Exec(t.Context(), "ws", []string{"echo", "hello"}, nil); err != nil || string(out) != "hello\n" {
		t.Errorf("Exec: %q, %v", out, err)
	}
	if e, err := d.Exposure(t.Context(), "ws"); err != nil || e.Clipboard || e.Audio || e.Restricted {
		t.Errorf("Exposure = %+v, %v: an open network and nothing else", e, err)
	}
	if err := d.Stop(t.Context(), "ws", d.shutdown("ws")); err != nil {
		t.Fatal(err)
	}
	if r := p.end(); r.code != 0 || !strings.Contains(r.out, "guest has stopped the virtual machine") {
		t.Errorf("it ended with %+v", r)
	}
}
