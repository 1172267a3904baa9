package sessiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/cli"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm/qemu"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

var (
	keep = flag.String("keep", "", "use the machine in this `directory`, and leave it running")
	// The guest is emulated, and the machine may be busy.
	patience = flag.Duration("patience", 4*time.Minute, "how long anything may take")
)

func TestMain(m *testing.M) {
	// The program under test is this one: with the race detector, if the tests have it.
	if filepath.Base(os.Args[0]) == "CALMenu" {
		os.Exit(cli.Main(os.Args[1:]))
	}
	if name := filepath.Base(os.Args[0]); name == belowBanner || name == noBanner {
		if err := runBelow(name == belowBanner, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	code := m.Run()
	if shared.w != nil {
		shared.w.end()
	}
	os.Exit(code)
}

// world is a CAL_HOME with the running workspace "demo", and a terminal multiplexer to sit at.
type world struct {
	dir string
	env []string
}

var shared struct {
	once sync.Once
	w    *world
	err  error
}

// theWorld returns the one world of all tests, with its machine running.
func theWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("CAL_TEST_VM") == "" {
		t.Skip("set CAL_TEST_VM=1: a virtual machine is booted")
	}
	shared.once.Do(func() { shared.w, shared.err = newWorld() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.w
}

func newWorld() (*world, error) {
	w := &world{dir: *keep}
	if *keep == "" {
		// A short name: paths of sockets below it are limited to some hundred bytes.
		dir, err := os.MkdirTemp("", "cal")
		if err != nil {
			return nil, err
		}
		w.dir = dir
	}
	for _, sub := range []string{"home", "cal", "bin"} {
		if err := os.MkdirAll(filepath.Join(w.dir, sub), 0o755); err != nil {
			return w, err
		}
	}
	if err := os.Chmod(w.dir, 0o755); err != nil { // the machine runs as an ordinary user
		return w, err
	}
	own, err := os.Executable()
	if err != nil {
		return w, err
	}
	if err := copyFile(filepath.Join(w.dir, "bin", "CALMenu"), own); err != nil {
		return w, err
	}
	// The image is the user's own, and built only if there is none.
	cache := os.Getenv("CAL_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return w, err
		}
		cache = filepath.Join(user, "calmenu")
	}
	w.env = []string{
		"PATH=" + filepath.Join(w.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"),
		"CAL_HOME=" + filepath.Join(w.dir, "cal"), "CAL_CACHE=" + cache, "CAL_DRIVER=qemu", "WORK=" + w.dir,
		"LANG=C.UTF-8", "GORACE=atexit_sleep_ms=0 halt_on_error=1",
		// Most tests are about what follows.
		"CAL_SNAPSHOTS_AUTO_SNAPSHOT_ON_SESSION_START=false",
	}
	begun := time.Now()
	machines := qemu.New(qemu.Options{Dir: filepath.Join(w.dir, "none"), CacheDir: cache, Common: app.CommonFiles})
	if err := vmtest.Ready(context.Background(), machines, vmtest.Size); err != nil {
		return w, err
	}
	if _, err := os.Stat(filepath.Join(w.dir, "cal", "isolation", "vms", "demo")); err != nil {
		if _, err := w.try("new", "demo", "--cpu", "2", "--memory", "1024"); err != nil {
			return w, err
		}
	}
	if _, err := w.try("start", "demo"); err != nil {
		return w, err
	}
	if *keep != "" {
		_, _ = w.try("exec", "demo", "--", "tmux", "-L", "cal", "kill-server") // the agents of the run before, if any
	}
	fmt.Printf("the machine booted in %.1f s\n", time.Since(begun).Seconds())
	return w, w.startTmux()
}

// end ends everything that works in the world's directory, and removes that.
func (w *world) end() {
	_, _ = w.tmux("kill-server")
	if *keep != "" {
		return
	}
	_, _ = w.try("stop", "demo")
	for range 3 {
		for _, pid := range processesOf(w.dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if err := os.RemoveAll(w.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// processesOf lists the processes that were told of the world's directory.
func processesOf(dir string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil || pid == os.Getpid() {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if bytes.Contains(environ, []byte("WORK="+dir+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// command is CALMenu with arguments.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(w.dir, "bin", "CALMenu"), args...)
	cmd.Dir, cmd.Env = filepath.Join(w.dir, "home"), append(slices.Clone(w.env), "TERM=xterm-256color")
	return cmd
}

// try runs CALMenu and returns what it printed.
func (w *world) try(args ...string) (string, error) {
	cmd := w.command(args...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("CALMenu %q: %w: %s%s", args, err, out, errOut.String())
	}
	return string(out), nil
}

func (w *world) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// guest runs a shell script in the guest and returns what it printed.
func (w *world) guest(t *testing.T, script string) string {
	t.Helper()
	cmd := w.command("exec", "demo", "--", "sh", "-eu", "-s")
	var errOut bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(script), &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("in the guest: %v: %s%s\n%s", err, out, errOut.String(), script)
	}
	return strings.TrimSpace(string(out))
}

// guestFile puts a program into the guest.
func (w *world) guestFile(t *testing.T, path, text string) {
	t.Helper()
	w.guest(t, "cat >"+path+" <<'END_OF_FILE'\n"+text+"\nEND_OF_FILE\nchmod 755 "+path+"\n")
}

func (w *world) status(t *testing.T) (s state.Workspace) {
	t.Helper()
	if err := json.Unmarshal([]byte(w.must(t, "status", "demo", "--json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// events are the journal's.
func (w *world) events(t *testing.T) (all []journal.Event) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "cal", "isolation", "journal", "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var e journal.Event
		if json.Unmarshal(line, &e) == nil {
			all = append(all, e)
		}
	}
	return all
}

// notName is what an agent's identifier may not hold.
var notName = regexp.MustCompile(`[^a-z0-9]+`)

// agent gives the test an agent of its own, and returns its identifier. No argv is a shell with a plain prompt.
func (w *world) agent(t *testing.T, argv ...string) string {
	t.Helper()
	id := strings.Trim(notName.ReplaceAllString(strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), "-"), "-")
	if len(argv) == 0 {
		argv = []string{"env", "PS1=$ ", "HISTFILE=", "bash", "--norc", "--noprofile"}
	} else {
		id += "-" + notName.ReplaceAllString(filepath.Base(argv[0]), "")
	}
	w.configure(t, id, argv)
	return id
}

// agents are the argv of those in config.yaml.
var agents = map[string][]string{}

func (w *world) configure(t *testing.T, id string, argv []string) {
	t.Helper()
	agents[id] = argv
	var b strings.Builder
	b.WriteString("agents:\n")
	for id, argv := range agents {
		quoted, err := json.Marshal(argv) // which YAML reads as well
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "  %s: {name: Agent %s, launch_command: %s}\n", id, id, quoted)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "cal", "config.yaml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// eventually polls until done is true; what tells what is waited for if it never is.
func eventually(t *testing.T, done func() bool, what func() string) {
	t.Helper()
	deadline := time.NewTimer(*patience)
	defer deadline.Stop()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal(what())
		}
	}
}
