package tart_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/tart"
)

// killEnv holds what a process is to do that is killed on the way: this test's program once more.
const killEnv = "CAL_TEST_TART_KILL"

type killTask struct{ Binary, Home, StateDir, Op, Step string }

var killOps = map[string]func(ctx context.Context, d *tart.Driver) error{
	"create": func(ctx context.Context, d *tart.Driver) error { return d.Create(ctx, spec("ws"), nil) },
	"snapshot of other": func(ctx context.Context, d *tart.Driver) error {
		return d.CreateSnapshot(ctx, "other", "s1", vm.SnapshotOptions{})
	},
	"restore": func(ctx context.Context, d *tart.Driver) error { return d.Restore(ctx, "ws", "s1", "undo1") },
	"drop":    func(ctx context.Context, d *tart.Driver) error { return d.DeleteSnapshot(ctx, "ws", "s1") },
	"delete":  func(ctx context.Context, d *tart.Driver) error { return d.Delete(ctx, "ws") },
	"suspend": func(ctx context.Context, d *tart.Driver) error { return d.Suspend(ctx, "ws", nil) },
	"start":   func(ctx context.Context, d *tart.Driver) error { return d.Start(ctx, "ws", vm.StartOptions{}, nil) },
}

// dieOrDo is such a process.
func dieOrDo(text string) int {
	var task killTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Unsetenv(killEnv); err != nil { // the machine it starts lives on
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	d, err := tart.New(optionsFor(task.Binary, task.Home, task.StateDir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	d.OnStep(func(step string) {
		if step == task.Step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	// What it does may as well fail: the test looks at what it left.
	_ = killOps[task.Op](context.Background(), d)
	return 0
}

// killed are the steps that processes were killed before, with how often.
var killed = struct {
	sync.Mutex
	at map[string]int
}{at: map[string]int{}}

// diesAt does something in a process that is killed before the given step, and tells whether that was met.
func (d *driver) diesAt(t *testing.T, step, op string) bool {
	t.Helper()
	task, err := json.Marshal(killTask{d.options.Binary, d.w.home, d.options.StateDir, op, step})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+string(task))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err == nil {
		return false
	}
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed: %v: %s", err, out)
	}
	killed.Lock()
	defer killed.Unlock()
	killed.at[step]++
	return true
}

func (d *driver) mustDieAt(t *testing.T, step, op string) {
	t.Helper()
	if !d.diesAt(t, step, op) {
		t.Fatalf("%s has no step %q", op, step)
	}
}

var stepPattern = regexp.MustCompile(`\.at\("([^"]+)"`)

// metEveryStep tells whether a run of all tests killed a process before every step that the driver names.
func metEveryStep() bool {
	times := 0
	for _, n := range killed.at {
		times += n
	}
	fmt.Printf("tart: processes were killed %d times, before %d steps\n", times, len(killed.at))
	if flag.Lookup("test.run").Value.String()+flag.Lookup("test.skip").Value.String() != "" ||
		flag.Lookup("test.list").Value.String() != "" {
		return true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		fmt.Println(err)
		return false
	}
	steps := slices.Collect(maps.Keys(killed.at))
	var missed []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fmt.Println(err)
			return false
		}
		for _, m := range stepPattern.FindAllStringSubmatch(string(text), -1) {
			met := killed.at[m[1]] > 0
			if strings.HasSuffix(m[1], ": ") { // the rest of its name is a machine's
				met = slices.ContainsFunc(steps, func(s string) bool { return strings.HasPrefix(s, m[1]) })
			}
			if !met {
				missed = append(missed, m[1])
			}
		}
	}
	if len(missed) > 0 {
		fmt.Printf("FAIL: no process was killed before %q\n", missed)
	}
	return len(missed) == 0
}
