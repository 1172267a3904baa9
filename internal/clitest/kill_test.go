package clitest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/snapshot"
)

// world is a CAL_HOME with the workspace "demo" on Tart's double.
type world struct {
	*testing.T
	dir string
	env []string
}

func (w *world) Getenv(key string) string {
	for _, kv := range slices.Backward(w.env) {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return v
		}
	}
	return os.Getenv(key)
}

func (w *world) Setenv(key, value string) { w.env = append(w.env, key+"="+value) }

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp(root, "kill")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, dir: dir, env: []string{"WORK=" + dir, "TMPDIR=" + filepath.Join(dir, "home")}}
	t.Cleanup(func() { endLeftovers(dir, t.Log) })
	if err := setUpTart(dir, w); err != nil {
		t.Fatal(err)
	}
	w.must("new", "demo", "--cpu", "4", "--memory", "4096", "--disk", "50")
	return w
}

func (w *world) command(args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	w.Helper()
	program, err := lookPath("CALMenu", w.Getenv("PATH"))
	if err != nil {
		w.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	var out, errOut bytes.Buffer
	cmd.Args[0], cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "CALMenu", w.dir, w.env, &out, &errOut
	return cmd, &out, &errOut
}

// run runs CALMenu and returns its exit code and what it printed.
func (w *world) run(args ...string) (code int, out, errOut string) {
	w.Helper()
	cmd, o, e := w.command(args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Fatalf("CALMenu %q: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func (w *world) must(args ...string) string {
	w.Helper()
	code, out, errOut := w.run(args...)
	if code != 0 {
		w.Fatalf("CALMenu %q: exit code %d: %s", args, code, errOut)
	}
	return out
}

func (w *world) status() (s state.Workspace) {
	w.Helper()
	if err := json.Unmarshal([]byte(w.must("status", "demo", "--json")), &s); err != nil {
		w.Fatal(err)
	}
	return s
}

// events are the journal's, of one process.
func (w *world) events(pid int) (all []journal.Event) {
	f, err := os.Open(filepath.Join(w.dir, "cal", "isolation", "journal", "events.jsonl"))
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e journal.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Process.PID == pid {
			all = append(all, e)
		}
	}
	return all
}

// phases runs CALMenu to its end and returns the phases it journaled, the first being its begin.
func (w *world) phases(args ...string) []string {
	w.Helper()
	cmd, _, errOut := w.command(args...)
	if err := cmd.Run(); err != nil {
		w.Fatalf("CALMenu %q: %v: %s", args, err, errOut)
	}
	var names []string
	for _, e := range w.events(cmd.Process.Pid) {
		if (e.Kind == journal.OpBegin || e.Kind == journal.OpPhase) && !slices.Contains(names, e.Phase) {
			names = append(names, e.Phase)
		}
	}
	return names
}

// killAt starts CALMenu and kills it as soon as it has journaled a phase.
func (w *world) killAt(phase string, args ...string) {
	w.Helper()
	cmd, _, errOut := w.command(args...)
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.await("phase "+phase, func() bool {
		return slices.ContainsFunc(w.events(cmd.Process.Pid), func(e journal.Event) bool {
			return e.Phase == phase && (e.Kind == journal.OpPhase || phase == "")
		})
	})
	_ = cmd.Process.Kill()
	if err := <-ended; err == nil {
		w.Logf("%q was done before it could be killed in %q", args, phase)
	} else if cmd.ProcessState.ExitCode() > 0 {
		w.Errorf("%q: exit code %d: %s", args, cmd.ProcessState.ExitCode(), errOut)
	}
}

func (w *world) await(what string, done func() bool) {
	w.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			w.Fatalf("%s did not come about", what)
		}
	}
}

// guestFile is a file of the guest's disk, which the double keeps in a directory.
func (w *world) guestFile() string {
	return filepath.Join(w.dir, "tart", "vms", "cal-demo", "double-home", "precious")
}

func (w *world) write(content string) {
	w.Helper()
	if err := os.WriteFile(w.guestFile(), []byte(content), 0o644); err != nil {
		w.Fatal(err)
	}
}

func (w *world) read() string {
	w.Helper()
	b, err := os.ReadFile(w.guestFile())
	if err != nil {
		w.Fatal(err)
	}
	return string(b)
}

// TestKilled kills each verb that changes a machine in each phase it journals: what is found is the old state or the
// new, nothing is lost, and the same verb then does what it should have done.
func TestKilled(t *testing.T) {
	if os.Getenv("CAL_TEST_LONG") == "" {
		t.Skip("set CAL_TEST_LONG=1: each verb is killed in each of its phases")
	}
	for _, c := range []struct {
		verb    []string
		worst   string // phase in which most changes: it must be among those
		running bool   // as the verb finds the machine
		after   func(w *world, before state.Workspace)
	}{
		{verb: []string{"start", "demo"}, worst: "starting", after: startedAfterAll},
		{verb: []string{"stop", "demo"}, worst: "shutting down", running: true, after: stoppedAfterAll},
		{verb: []string{"snapshot", "create", "demo"}, worst: "shutting down", running: true, after: snapshotAfterAll},
		{
			verb: []string{"rollback", "demo", "--to", "one", "--yes"}, worst: "swapping the disk", running: true,
			after: rolledBackAfterAll,
		},
	} {
		t.Run(c.verb[0], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must("start", "demo")
			w.write("before")
			w.must("stop", "demo")
			w.must("snapshot", "create", "demo", "--name", "one")
			w.put(c.running)
			phases := w.phases(c.verb...)
			if !slices.Contains(phases, c.worst) {
				t.Fatalf("%q journals %q", c.verb, phases)
			}
			for _, phase := range phases {
				t.Run(phase, func(t *testing.T) {
					w := w.in(t)
					w.put(c.running)
					w.write("after")
					before := w.status()
					w.killAt(phase, c.verb...)
					t.Logf("%q killed: %s", c.verb, w.status().Life)
					c.after(w, before)
					w.tidy()
				})
			}
		})
	}
}

// in is the world as a subtest has it.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.T = t
	return &sub
}

// put starts or stops the machine, whatever it does.
func (w *world) put(running bool) {
	w.Helper()
	if running {
		w.must("start", "demo")
	} else if code, _, errOut := w.run("stop", "demo"); code != 0 && code != 5 {
		w.Fatalf("stop: exit code %d: %s", code, errOut)
	}
}

// tidy fails if a killed operation left something nobody owns, or is still said to go on.
func (w *world) tidy() {
	w.Helper()
	s := w.status()
	if s.Operation != nil || s.LastError != nil {
		w.Errorf("afterwards: operation %+v, last error %+v", s.Operation, s.LastError)
	}
	_, out, _ := w.run("doctor")
	if strings.Contains(out, "belongs to no workspace") {
		w.Errorf("a machine was left over:\n%s", out)
	}
	entries, err := os.ReadDir(filepath.Join(w.dir, "tart", "vms"))
	if err != nil {
		w.Fatal(err)
	}
	if len(entries) != 1+len(s.Snapshots) {
		w.Errorf("%d snapshots, and on disk %v", len(s.Snapshots), entries)
	}
}

func startedAfterAll(w *world, _ state.Workspace) {
	w.must("start", "demo")
	if s := w.status(); s.Life != state.Running || s.Isolation.Level != "verified" || w.read() != "after" {
		w.Errorf("started again: %s, isolation %s (%s), %q", s.Life, s.Isolation.Level, s.Isolation.Reason, w.read())
	}
}

func stoppedAfterAll(w *world, _ state.Workspace) {
	w.put(false)
	if s := w.status(); s.Life != state.Stopped || w.read() != "after" {
		w.Errorf("stopped again: %s, %q", s.Life, w.read())
	}
}

func snapshotAfterAll(w *world, before state.Workspace) {
	found := w.status()
	if n := len(found.Snapshots) - len(before.Snapshots); n != 0 && n != 1 {
		w.Errorf("%d new snapshots of a killed one", n)
	}
	w.must("snapshot", "create", "demo")
	s := w.status()
	if len(s.Snapshots) != len(found.Snapshots)+1 || w.read() != "after" {
		w.Errorf("another snapshot makes %d of %d; %q", len(s.Snapshots), len(found.Snapshots), w.read())
	}
	for _, x := range s.Snapshots {
		if x.Name != "one" {
			w.must("snapshot", "delete", "demo", x.ID)
		}
	}
}

func rolledBackAfterAll(w *world, _ state.Workspace) {
	found := w.status()
	if now := w.read(); now != "after" && now != "before" {
		w.Errorf("neither the old nor the new state: %q", now)
	}
	if !slices.ContainsFunc(found.Snapshots, func(x snapshot.Snapshot) bool { return x.Name == "one" }) {
		w.Error("the snapshot that was rolled back to is gone")
	}
	w.must("rollback", "demo", "--to", "one", "--yes")
	if now := w.read(); now != "before" {
		w.Errorf("rolled back again: %q", now)
	}
	// What was replaced must be found in an undo, whichever of the two rollbacks made it.
	w.put(false)
	for _, x := range w.status().Snapshots {
		if x.Kind == snapshot.Manual && x.Name != "one" {
			w.Errorf("snapshot %q lost what it is for", x.Name)
		}
		if x.Kind != snapshot.Undo {
			continue
		}
		w.must("rollback", "demo", "--to", x.ID, "--yes")
		if w.read() == "after" {
			return
		}
	}
	w.Error("what was replaced is lost")
}
