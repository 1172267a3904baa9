//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/desktoptest"
	"github.com/calmenu/calmenu/internal/journal"
)

// The longest waits for something of the guest. A boot takes 6 to 15 s on an idle machine; a shared one is slower by
// any factor.
const (
	bootLimit = 5 * time.Minute
	stepLimit = 2 * time.Minute
)

// name is the workspace of every test.
const name = "demo"

// world is one CALMenu installation: a home, a CAL_HOME, and the environment of its processes.
type world struct {
	t    *testing.T
	env  []string
	home string // HOME
	cal  config.Home
}

// status is what the tests read of `CALMenu status --json`.
type status struct {
	AgentPID   int         `json:"agent_pid"`
	Workspaces []workspace `json:"workspaces"`
}

type workspace struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	PID       int    `json:"pid"`
	Isolation struct {
		Level  string `json:"level"`
		Reason string `json:"reason"`
	} `json:"isolation"`
	Operation *struct {
		Verb, Phase string
		PID         int
	} `json:"operation"`
	LastError *struct{ Verb, Text string } `json:"last_error"`
	Sessions  []struct{ PID int }          `json:"sessions"`
	Waiting   bool                         `json:"waiting"`
	Snapshots []snapshot                   `json:"snapshots"`
	Artifacts []struct {
		Path string
		Size int64
	} `json:"artifacts"`
}

type snapshot struct{ ID, Name, Kind string }

// newWorld makes an empty installation for processes with the given environment, or skips the test.
func newWorld(t *testing.T, env []string, home string) *world {
	t.Helper()
	needVM(t)
	w := &world{t: t, home: home, cal: config.Home{Dir: filepath.Join(t.TempDir(), "cal")}}
	cache := os.Getenv("CAL_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "calmenu")
	}
	w.env = append(append([]string{}, env...), w.extra(cache)...)
	t.Cleanup(w.tearDown)
	return w
}

func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv("CAL_TEST_VM") != "1" {
		t.Skip("set CAL_TEST_VM=1: this test boots a virtual machine")
	}
}

// extra is what a process of this installation has in its environment besides the desktop's. The base image is shared
// with the person's own CALMenu: it is read only, and takes minutes to build.
func (w *world) extra(cache string) []string {
	return []string{"CAL_HOME=" + w.cal.Dir, "CAL_CACHE=" + cache, "CAL_DRIVER=qemu", "CAL_VM_TEMPLATE=off"}
}

// tearDown leaves nothing running, however the test ended.
func (w *world) tearDown() {
	if w.t.Failed() {
		w.explain()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
	defer cancel()
	if _, err := os.Stat(w.cal.WorkspaceDir(name)); err == nil {
		if out, err := w.command(ctx, "delete", name, "--yes", "--discard-work").CombinedOutput(); err != nil {
			w.t.Errorf("deleting the workspace at the end: %v\n%s", err, out)
		}
	}
	for _, pid := range w.machines() {
		w.t.Errorf("a virtual machine is left: process %d", pid)
		w.kill(pid)
	}
	for _, pid := range w.processes() {
		w.kill(pid)
	}
}

// explain keeps what the program wrote down of a test that failed.
func (w *world) explain() {
	for _, file := range []string{filepath.Join(w.cal.LogsDir(), "calmenu.log"), filepath.Join(w.cal.JournalDir(), "events.jsonl")} {
		text, err := os.ReadFile(file)
		if len(text) > 8<<10 {
			text = text[len(text)-8<<10:]
		}
		w.t.Logf("%s (%v):\n%s", filepath.Base(file), err, text)
	}
}

func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = w.env, w.home
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// try runs a verb and returns what it printed to standard output, and its error with what it printed to standard error.
func (w *world) try(args ...string) (string, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), bootLimit)
	defer cancel()
	cmd := w.command(ctx, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("CALMenu %s: %w\n%s", strings.Join(args, " "), err, &problems)
	}
	return out.String(), nil
}

// run is try for what must succeed.
func (w *world) run(args ...string) string {
	w.t.Helper()
	out, err := w.try(args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// guest runs a shell command in the guest and returns what it printed.
func (w *world) guest(script string) string {
	w.t.Helper()
	return strings.TrimSpace(w.run("exec", name, "--", "sh", "-c", script))
}

func (w *world) status() status {
	w.t.Helper()
	var s status
	if err := json.Unmarshal([]byte(w.run("status", "--json")), &s); err != nil {
		w.t.Fatalf("reading the status: %v", err)
	}
	return s
}

// demo is the state of the only workspace.
func (w *world) demo() workspace {
	w.t.Helper()
	s := w.status()
	if len(s.Workspaces) != 1 || s.Workspaces[0].Name != name {
		w.t.Fatalf("workspaces %+v, want %s alone", s.Workspaces, name)
	}
	return s.Workspaces[0]
}

// waitFor looks at cond until it holds.
func (w *world) waitFor(cond func() bool, limit time.Duration, what string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	if !desktoptest.Poll(ctx, cond) {
		w.t.Fatalf("waited %v for %s", limit, what)
	}
}

// waitState waits until the workspace is in that state with nothing under way, and returns it.
func (w *world) waitState(state, level string) workspace {
	w.t.Helper()
	var d workspace
	w.waitFor(func() bool {
		d = w.demo()
		return d.State == state && d.Operation == nil && (level == "" || d.Isolation.Level == level)
	}, bootLimit, fmt.Sprintf("the workspace to be %s and its isolation %q", state, level))
	return d
}

func (w *world) events() []journal.Event {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.cal.JournalDir(), "events.jsonl"))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return journal.Parse(text)
}

// machines returns the QEMU processes of this installation: those that run in its folders.
func (w *world) machines() []int {
	return processes(func(dir string) bool {
		cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
		exe, _ := os.ReadFile(filepath.Join(dir, "comm"))
		return err == nil && strings.HasPrefix(cwd, w.cal.Dir+"/") && strings.HasPrefix(string(exe), "qemu-system")
	})
}

// processes returns all processes that have this installation in their environment.
func (w *world) processes() []int {
	mark := []byte("CAL_HOME=" + w.cal.Dir + "\x00")
	return processes(func(dir string) bool {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		return err == nil && bytes.Contains(env, mark)
	})
}

func processes(match func(dir string) bool) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var all []int
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && match(dir) {
			all = append(all, pid)
		}
	}
	return all
}

// kill ends a process as a crash would.
func (w *world) kill(pid int) {
	w.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		w.t.Errorf("killing process %d: %v", pid, err)
	}
	w.gone(pid)
}

// gone waits until a process has ended. One that waits for its parent to notice has.
func (w *world) gone(pid int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // also called when the test is over
	defer cancel()
	if !desktoptest.Poll(ctx, func() bool { return !alive(pid) }) {
		w.t.Errorf("process %d does not end", pid)
	}
}

// alive tells whether any thread of a process lives. The first can have ended before others let go of the process's
// locks.
func alive(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return slices.ContainsFunc(threads, func(name string) bool {
		stat, err := os.ReadFile(name)
		_, state, _ := strings.Cut(string(stat), ") ")
		return err == nil && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
	})
}

// step says in the test's log where the story is and how long each part of it took.
func (w *world) step(what string, do func()) {
	w.t.Helper()
	began := time.Now()
	do()
	w.t.Logf("%6.1f s  %s", time.Since(began).Seconds(), what)
}
