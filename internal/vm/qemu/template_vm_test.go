//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// newCache returns a cache directory of the test's own with the built image in it: templates made there are nobody
// else's.
func newCache(t *testing.T) string {
	t.Helper()
	user := New(Options{Dir: t.TempDir()})
	if err := user.EnsureImage(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	r, err := recipeFor(ImageName)
	if err != nil {
		t.Fatal(err)
	}
	d := New(Options{CacheDir: t.TempDir()})
	from, to := user.imageDir(r), d.imageDir(r)
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := linkOrCopy(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return d.opts.CacheDir
}

// phases collects what a long call says.
type phases []string

func (p *phases) report(ph vm.Phase) {
	*p = append(*p, strings.TrimSpace(ph.Name+" "+ph.Detail))
}

// cost is what it takes until a machine's first command has run, from before its creation.
type cost struct{ wall, cpu time.Duration }

// timed creates and starts a machine and runs a command in it. What else this host does shows in the time that takes,
// and hardly in what QEMU's process uses of the processors.
func timed(t *testing.T, d *Driver, name string, g guest) (cost, phases) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	var said phases
	began := time.Now()
	if err := d.Create(ctx, vmSpec(name), said.report); err != nil {
		t.Fatal(err)
	}
	created := time.Since(began)
	if err := d.Start(ctx, name, vm.StartOptions{Files: g.seed}, said.report); err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, d, name)
	started := time.Since(began)
	out, err := g.run(ctx, d, name, "true")
	if err != nil {
		t.Fatalf("first command: %v: %s", err, out)
	}
	took := cost{time.Since(began), cpuTime(t, d, name)}
	t.Logf("%s: created after %d ms, started after %d ms, first command after %d ms, %.2f s of processor: %q", name,
		created.Milliseconds(), started.Milliseconds(), took.wall.Milliseconds(), took.cpu.Seconds(), said)
	return took, said
}

// cpuTime is what a machine's process has used (proc(5): fields 14 and 15).
func cpuTime(t *testing.T, d *Driver, name string) time.Duration {
	t.Helper()
	m, err := d.Machine(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(procFile(m.PID, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks
}

func stopAtEnd(t *testing.T, d *Driver, name string) {
	t.Helper()
	t.Cleanup(func() {
		err := d.Stop(context.Background(), name, vm.Shutdown{})
		if err != nil && !errors.Is(err, vm.ErrNotRunning) && !errors.Is(err, vm.ErrNotFound) {
			t.Error(err)
		}
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(d.machineDir(name), runDir, serialFile)); err == nil {
				t.Logf("console of %s: %s", name, log)
			}
		}
	})
}

// identity is what two machines must not have in common, a line each.
const identity = `cat /etc/machine-id; cat /proc/sys/kernel/random/uuid; hostname
ssh-keygen -q -t ed25519 -N '' -f /tmp/id && cut -d' ' -f2 /tmp/id.pub; head -c 16 /dev/urandom | base64
sudo cat /etc/ssh/ssh_host_ed25519_key | tail -2 | head -1`

// TestTemplate says what a machine made from a template is: one like any other, sooner.
func TestTemplate(t *testing.T) {
	needVM(t)
	cache := newCache(t)
	common := vm.SeedFile{Path: "/etc/common", Mode: 0o644, Data: []byte("every guest's")}
	d := New(Options{Dir: t.TempDir(), CacheDir: cache, Common: func() []vm.SeedFile { return []vm.SeedFile{common} }})
	ctx := t.Context()
	cold, said := timed(t, d, "cold", newGuest(t))
	if slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "template") }) {
		t.Errorf("without a template: %q", said)
	}
	if err := d.Stop(ctx, "cold", vm.Shutdown{}); err != nil {
		t.Fatal(err)
	}

	if ready, err := d.TemplateReady(ctx, vmSpec("")); ready || err != nil {
		t.Fatalf("TemplateReady before it was made: %v, %v", ready, err)
	}
	making := time.Now()
	made := make(chan phases)
	for _, d := range []*Driver{d, New(d.opts)} { // as two processes would
		go func() {
			var said phases
			if err := d.EnsureTemplate(ctx, vmSpec(""), said.report); err != nil {
				t.Error(err)
			}
			made <- said
		}()
	}
	if a, b := <-made, <-made; (len(a) == 0) == (len(b) == 0) {
		t.Errorf("it was not made once: %q, %q", a, b)
	}
	t.Logf("template made in %.1f s, %s", time.Since(making).Seconds(), treeUse(t, d.templates()))
	if ready, err := d.TemplateReady(ctx, vmSpec("")); !ready || err != nil {
		t.Fatalf("TemplateReady: %v, %v", ready, err)
	}
	if left, err := filepath.Glob(filepath.Join(d.templates(), "*"+halfMade+"*")); err != nil || len(left) != 0 {
		t.Errorf("left of making it: %q, %v", left, err)
	}

	names := []string{"ann", "bob", "cyd"}
	guests := map[string]guest{}
	seen := map[string]string{}
	for _, name := range names {
		g := newGuest(t)
		switch name {
		case "ann":
			g.seed = append(g.seed, common)
		case "bob": // its program is another one by now
			newer := common
			newer.Data = []byte("another since")
			g.seed = append(g.seed, newer)
		}
		guests[name] = g
		took, said := timed(t, d, name, g)
		t.Logf("%s: %.2f of the cold boot's time, %.2f of its processor", name, took.wall.Seconds()/cold.wall.Seconds(),
			took.cpu.Seconds()/cold.cpu.Seconds())
		if !slices.Contains(said, "starting from the template") || slices.ContainsFunc(said, isBoot) {
			t.Errorf("%s was not started from the template: %q", name, said)
		}
		if m, err := d.Machine(ctx, name); err != nil || !m.Running || m.Resumed || !m.FromTemplate || m.Suspended || !m.Warm.OK {
			t.Errorf("%+v, %v", m, err)
		}
	}
	for _, name := range names { // all of them run
		out, err := guests[name].run(ctx, d, name, identity)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if err != nil || len(lines) != 6 || lines[2] != name {
			t.Fatalf("identity of %s: %q, %v", name, out, err)
		}
		want := map[string]string{"ann": "every guest's", "bob": "another since", "cyd": "every guest's"}[name]
		if out, err := guests[name].run(ctx, d, name, "cat /etc/common"); err != nil || out != want {
			t.Errorf("%s has the common file %q, %v", name, out, err)
		}
		for _, line := range lines {
			if other, taken := seen[line]; taken {
				t.Errorf("%s and %s have %q in common", other, name, line)
			}
			seen[line] = name
		}
	}
	likeAnyOther(t, d, "ann", guests["ann"])
	lifeAfterTemplate(t, d, "bob", guests["bob"])

	// One that never ran outlives the cache, and boots if its memory turns out to be of no use.
	for _, name := range []string{"dan", "eve"} {
		if err := d.Create(ctx, vmSpec(name), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(cache, "images")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(d.templates()); err != nil {
		t.Fatal(err)
	}
	for name, cold := range map[string]bool{"dan": false, "eve": true} {
		g := newGuest(t)
		broken := New(d.opts)
		broken.fault = func(step string) error {
			if cold && step == "resume:filled" {
				return errors.New("something broke")
			}
			return nil
		}
		var said phases
		if err := broken.Start(ctx, name, vm.StartOptions{Files: g.seed}, said.report); err != nil {
			t.Fatal(err)
		}
		stopAtEnd(t, d, name)
		if slices.Contains(said, "booting: its template is of no use something broke") != cold {
			t.Errorf("%s said %q", name, said)
		}
		if out, err := g.run(ctx, d, name, "hostname; ls /run/calmenu 2>&1"); !strings.HasPrefix(out, name) ||
			(err == nil) == cold {
			t.Errorf("%s after the cache was emptied: %q, %v", name, out, err)
		}
	}
}

// TestTemplateKilled: who makes a template is killed, and leaves the machine it is made by running. The next one ends
// that and makes it.
func TestTemplateKilled(t *testing.T) {
	needVM(t)
	cache := newCache(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTemplateKilledChild$")
	cmd.Env = append(os.Environ(), cacheEnv+"="+cache)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("child was not killed: %v: %s", err, out)
	}
	d := New(Options{Dir: t.TempDir(), CacheDir: cache})
	left, err := filepath.Glob(filepath.Join(d.templates(), "*"+halfMade+"*"))
	if err != nil || len(left) != 1 {
		t.Fatalf("left: %q, %v", left, err)
	}
	p, err := findProcess(t.Context(), d.templateMaker(left[0]).machineDir(templateMachine))
	if err != nil || p.pid == 0 {
		t.Fatalf("its machine does not run: %v", err)
	}
	if ready, err := d.TemplateReady(t.Context(), vmSpec("")); ready || err != nil {
		t.Errorf("half of a template is one: %v, %v", ready, err)
	}
	if err := d.EnsureTemplate(t.Context(), vmSpec(""), nil); err != nil {
		t.Error(err)
	}
	if processRuns(p.pid) {
		t.Error("the machine is left")
	}
	if left, err := filepath.Glob(filepath.Join(d.templates(), "*"+halfMade+"*")); err != nil || len(left) != 0 {
		t.Errorf("left after the next: %q, %v", left, err)
	}
}

// TestTemplateKilledChild is the process that is killed.
func TestTemplateKilledChild(t *testing.T) {
	cache := os.Getenv(cacheEnv)
	if cache == "" {
		t.Skip("run by TestTemplateKilled")
	}
	d := New(Options{Dir: t.TempDir(), CacheDir: cache})
	d.fault = func(step string) error {
		if step == "template:booted" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
	t.Errorf("it was made: %v", d.EnsureTemplate(t.Context(), vmSpec(""), nil))
}

func isBoot(phase string) bool { return strings.Contains(phase, "boot") }

// likeAnyOther looks into a machine that was started from a template.
func likeAnyOther(t *testing.T, d *Driver, name string, g guest) {
	t.Helper()
	for _, tt := range []struct{ what, command, want string }{
		{"clock", "echo $(($(date +%s) / 1000))", fmt.Sprintf("%d\n", time.Now().Unix()/1000)},
		{"disk", "df --output=size -BG / | tail -1 | tr -d ' '", "6G\n"},
		{"nothing of the seed on the disk", "sudo tail -c 16777216 /dev/vda | tr -d '\\0' | wc -c", "0\n"},
		{"nothing failed", "systemctl --failed --plain --no-legend", ""},
		{"SSH server", "systemctl is-active calmenu-ssh", "active\n"},
		{"journal", "sudo journalctl -q -n 1 -o cat | wc -l", "1\n"},
		{"SSH server again", "sudo systemctl restart calmenu-ssh; systemctl is-active calmenu-ssh", "active\n"},
	} {
		out, err := g.run(t.Context(), d, name, tt.command)
		if err != nil || out != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.what, out, err, tt.want)
		}
	}
	e, err := d.Exposure(t.Context(), name)
	if err != nil || !e.Restricted || e.RunsAsRoot || len(e.Shares) != 0 || len(e.Listeners) != 1 {
		t.Errorf("exposure %+v, %v", e, err)
	}
}

// lifeAfterTemplate takes a machine through snapshots, a suspension, a rollback and a boot.
func lifeAfterTemplate(t *testing.T, d *Driver, name string, g guest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*bootLimit)
	defer cancel()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	command := func(text, want string) {
		t.Helper()
		if out, err := g.run(ctx, d, name, text); err != nil || out != want {
			t.Fatalf("%s: %q, %v, want %q", text, out, err, want)
		}
	}
	command("echo one > mark; echo kept > /dev/shm/mark; sync", "")
	must("a snapshot with memory", d.CreateSnapshot(ctx, name, "s1", vm.SnapshotOptions{Memory: true}))
	command("echo two > mark; sync", "")
	must("suspending", d.Suspend(ctx, name, nil))
	must("resuming", d.Start(ctx, name, vm.StartOptions{Files: g.seed}, nil))
	command("cat mark /dev/shm/mark", "two\nkept\n")
	if m, err := d.Machine(ctx, name); err != nil || !m.Resumed {
		t.Errorf("after a suspension: %+v, %v", m, err)
	}
	must("stopping", d.Stop(ctx, name, vm.Shutdown{}))
	must("rolling back", d.Restore(ctx, name, "s1", "undo"))
	must("starting", d.Start(ctx, name, vm.StartOptions{Files: g.seed}, nil))
	command("cat mark /dev/shm/mark", "one\nkept\n")
	must("stopping", d.Stop(ctx, name, vm.Shutdown{}))
	must("deleting a snapshot", d.DeleteSnapshot(ctx, name, "s1"))
	must("booting", d.Start(ctx, name, vm.StartOptions{Files: g.seed, Cold: true}, nil))
	command("cat mark; ls /run/calmenu /dev/shm/mark 2>/dev/null; hostname", "one\n"+name+"\n")
	must("stopping", d.Stop(ctx, name, vm.Shutdown{}))
}

// treeUse says what a directory takes on disk.
func treeUse(t *testing.T, dir string) string {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		sum += diskUse(path)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("%d MiB", sum>>20)
}
