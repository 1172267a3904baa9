package tart_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/vm/tart"
)

// double is the built program that plays tart.
var double string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if task := os.Getenv(killEnv); task != "" {
		return dieOrDo(task)
	}
	dir, err := os.MkdirTemp("", "tartdouble")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	double = filepath.Join(dir, "tart")
	build := exec.Command("go", "build", "-o", double, "./tartdouble")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the double: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv("TART_DOUBLE_SCALE", "0.02"); err != nil { // fifty times faster than tart
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Each call is a process here: unless asked for more, a few random histories have to do.
	flag.Parse()
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("4"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if code == 0 && !metEveryStep() {
		return 1
	}
	return code
}

// world is a TART_HOME and the double that works in it.
type world struct {
	*testing.T
	home string
	env  []string
}

// newWorld makes an empty TART_HOME in which the double follows script, a JSON object.
func newWorld(t *testing.T, script string) *world {
	t.Helper()
	// Not t.TempDir: its name holds the test's, and Tart's own directory may hold plain characters only.
	home, err := os.MkdirTemp("", "tarthome")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, home: home, env: append(os.Environ(), "TART_HOME="+home)}
	t.Cleanup(func() {
		w.killAll()
		if err := os.RemoveAll(home); err != nil {
			t.Errorf("clearing TART_HOME: %v", err)
		}
	})
	if script != "" {
		w.script(script)
	}
	return w
}

func (w *world) script(script string) {
	w.Helper()
	if !json.Valid([]byte(script)) {
		w.Fatalf("script is no JSON: %s", script)
	}
	if err := os.WriteFile(filepath.Join(w.home, "double.json"), []byte(script), 0o600); err != nil {
		w.Fatal(err)
	}
}

// killAll ends the machines that a test left running.
func (w *world) killAll() {
	entries, _ := os.ReadDir(filepath.Join(w.home, "vms"))
	for _, e := range entries {
		if pid := w.holder(e.Name()); pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			w.await("the end of "+e.Name(), func() bool { return w.holder(e.Name()) == 0 })
		}
	}
}

// patience is how long a test waits for what has to come, on a host as busy as may be.
const patience = time.Minute

// await polls until done is true, for as long as patience lasts.
func (w *world) await(what string, done func() bool) {
	w.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			w.Fatalf("%s did not come about", what)
		case <-tick.C:
		}
	}
}

func (w *world) holder(name string) int { return tart.Holder(filepath.Join(w.home, "vms", name)) }

func (w *world) running(name string) bool { return w.holder(name) != 0 }

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.home}, elem...)...)
}

// result is how a command of the double ended.
type result struct {
	out, err string
	code     int // -1 if killed by a signal
	signal   syscall.Signal
}

func (w *world) command(ctx context.Context, args ...string) (*exec.Cmd, *strings.Builder, *strings.Builder) {
	cmd := exec.CommandContext(ctx, double, args...)
	var out, errOut strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env, &out, &errOut
	return cmd, &out, &errOut
}

// tart runs a command of the double to its end.
func (w *world) tart(args ...string) result {
	w.Helper()
	cmd, out, errOut := w.command(w.Context(), args...)
	return w.result(cmd, cmd.Run(), out, errOut)
}

func (w *world) result(cmd *exec.Cmd, err error, out, errOut *strings.Builder) result {
	w.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Errorf("%v: %v", cmd.Args, err)
		return result{err: err.Error(), code: -1}
	}
	r := result{out: out.String(), err: errOut.String(), code: cmd.ProcessState.ExitCode()}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.signal = ws.Signal()
	}
	return r
}

// must runs a command that has to succeed and returns what it printed.
func (w *world) must(args ...string) string {
	w.Helper()
	r := w.tart(args...)
	if r.code != 0 {
		w.Fatalf("tart %v: exit %d: %s", args, r.code, r.err)
	}
	return r.out
}

// process is a command of the double that goes on.
type process struct {
	w    *world
	cmd  *exec.Cmd
	done chan result
}

// begin starts a command in a process group of its own.
func (w *world) begin(args ...string) *process {
	w.Helper()
	cmd, out, errOut := w.command(context.Background(), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	p := &process{w: w, cmd: cmd, done: make(chan result, 1)}
	go func() { p.done <- w.result(cmd, cmd.Wait(), out, errOut) }()
	w.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return p
}

func (p *process) signal(sig syscall.Signal) {
	p.w.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.w.Fatalf("signalling %v: %v", p.cmd.Args, err)
	}
}

// end waits for the command to end.
func (p *process) end() result {
	p.w.Helper()
	select {
	case r := <-p.done:
		return r
	case <-time.After(patience):
		p.w.Fatalf("%v does not end", p.cmd.Args)
		return result{}
	}
}

// ended tells whether the command has ended, without waiting.
func (p *process) ended() bool { return len(p.done) > 0 }

// boot runs a machine and waits until its guest answers.
func (w *world) boot(name string, flags ...string) *process {
	w.Helper()
	p := w.begin(append([]string{"run", name, "--no-graphics"}, flags...)...)
	w.await(name+" runs", func() bool { return w.running(name) && w.tart("exec", name, "true").code == 0 })
	return p
}

// config reads one value of a machine's config.json.
func (w *world) config(name, key string) any {
	w.Helper()
	data, err := os.ReadFile(w.path("vms", name, "config.json"))
	if err != nil {
		w.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(data, &c); err != nil {
		w.Fatal(err)
	}
	return c[key]
}

func (w *world) mac(name string) string {
	w.Helper()
	mac, ok := w.config(name, "macAddress").(string)
	if !ok || mac == "" {
		w.Fatalf("%s has no MAC address", name)
	}
	return mac
}

// state is what `tart list` says of a machine; empty if it is not listed.
func (w *world) state(name string) string {
	w.Helper()
	var all []struct{ Name, State string }
	if err := json.Unmarshal([]byte(w.must("list", "--format", "json")), &all); err != nil {
		w.Fatal(err)
	}
	for _, e := range all {
		if e.Name == name {
			return e.State
		}
	}
	return ""
}

// wantState fails unless the machine is listed so.
func (w *world) wantState(name, want string) {
	w.Helper()
	if got := w.state(name); got != want {
		w.Errorf("state of %s = %q, want %q", name, got, want)
	}
}

// put writes a machine's disk, disk reads it.
func (w *world) put(name, content string) {
	w.Helper()
	if err := writeDisk(w.path("vms", name), content); err != nil {
		w.Fatal(err)
	}
}

func (w *world) disk(name string) string {
	w.Helper()
	content, err := readDisk(w.path("vms", name))
	if err != nil {
		w.Fatal(err)
	}
	return content
}

// remember puts something into the memory of a machine's guest, remembered reads it; empty for nothing.
func (w *world) remember(name, value string) error {
	return os.WriteFile(w.path("vms", name, "double-memory", "mark"), []byte(value), 0o600)
}

func (w *world) remembered(name string) (string, error) {
	data, err := os.ReadFile(w.path("vms", name, "double-memory", "mark"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return string(data), err
}

const markSize = 64

func writeDisk(dir, content string) error {
	f, err := os.OpenFile(filepath.Join(dir, "disk.img"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	block := make([]byte, markSize)
	copy(block, content)
	_, err = f.WriteAt(block, 1<<20)
	return errors.Join(err, f.Close())
}

func readDisk(dir string) (string, error) {
	f, err := os.Open(filepath.Join(dir, "disk.img"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	block := make([]byte, markSize)
	_, err = f.ReadAt(block, 1<<20)
	return strings.TrimRight(string(block), "\x00"), err
}
