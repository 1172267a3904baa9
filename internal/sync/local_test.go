package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/sync/outboxer"
)

// local is a guest that is this machine: it runs the real programs in a home of its own.
type local struct {
	home string
	path string // PATH; empty: that of the test
	// before, unless nil, is called before a program starts, with its name.
	before func(program string)
	// stdout, unless nil, stands between a program's output and who reads it.
	stdout func(program string, w io.Writer) io.Writer
}

func (l *local) Stream(ctx context.Context, c guest.Cmd, stdout, stderr io.Writer) (int, error) {
	program := filepath.Base(c.Argv[2]) // after "env LC_ALL=C"
	if c.Argv[2] == os.Args[0] {
		program = "helper"
	}
	if l.before != nil {
		l.before(program)
	}
	if l.stdout != nil {
		stdout = l.stdout(program, stdout)
	}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = l.home, stdout, stderr
	if c.Stdin != nil { // as over SSH, nobody waits for the rest of it when the program has ended
		in, err := cmd.StdinPipe()
		if err != nil {
			return -1, err
		}
		go func() {
			_, _ = io.Copy(in, c.Stdin)
			_ = in.Close()
		}()
	}
	cmd.Env = append(os.Environ(), "HOME="+l.home)
	if l.path != "" {
		cmd.Env = append(cmd.Env, "PATH="+l.path)
	}
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// need skips a test on a machine without the programs that a Debian guest has.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is missing on this machine: %v", p, err)
		}
	}
	out, err := exec.Command("find", "--version").CombinedOutput()
	if err != nil || len(out) < 4 || string(out[:4]) != "find" {
		t.Skip("find is not GNU find")
	}
}

// scratch is a directory in memory where there is one: much is flushed here, and disks are busy while tests run.
func scratch(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "outbox")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// outbox is a guest's outbox and its host, ready for a pass.
type outbox struct {
	testing.TB
	guest  *local
	dir    string // the outbox in the guest
	o      Options
	helper bool // the transport is by the helper
}

func newOutbox(t testing.TB) *outbox {
	t.Helper()
	need(t, "find", "tar")
	root := scratch(t)
	b := &outbox{
		TB: t, guest: &local{home: filepath.Join(root, "home")}, dir: filepath.Join(root, "home", "output"),
		o: Options{
			Workspace: "demo", Agent: "claude", Dest: filepath.Join(root, "cal-output", "demo"),
			State: filepath.Join(root, "state"),
		},
	}
	b.must(os.MkdirAll(b.dir, 0o755))
	return b
}

func (b *outbox) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// put writes a file into the guest's outbox.
func (b *outbox) put(name, content string) {
	b.Helper()
	p := filepath.Join(b.dir, name)
	b.must(os.MkdirAll(filepath.Dir(p), 0o755))
	b.must(os.WriteFile(p, []byte(content), 0o644))
}

// have is what the host has under a name, or "" if there is nothing.
func (b *outbox) have(name string) string {
	b.Helper()
	content, err := os.ReadFile(filepath.Join(b.o.Dest, name))
	if err != nil && !os.IsNotExist(err) {
		b.Fatal(err)
	}
	return string(content)
}

// overTar is the transport by a runner's own programs.
func overTar(t testing.TB, r Runner, o Options) Transport {
	t.Helper()
	tr, err := OverTar(r, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// transport is a new one of the kind under test.
func (b *outbox) transport() Transport {
	b.Helper()
	if !b.helper {
		return overTar(b, b.guest, b.o)
	}
	t, err := OverHelper(b.guest, b.o, "env", helperEnv+"=1", os.Args[0])
	b.must(err)
	b.Cleanup(func() { b.must(t.Close()) })
	return t
}

// helperEnv makes the test program the helper; its value may be a file for its process.
const helperEnv = "CAL_TEST_OUTBOX_HELPER"

func TestMain(m *testing.M) {
	var err error
	switch note, order := os.Getenv(helperEnv), os.Getenv(killEnv); {
	case note != "":
		if filepath.IsAbs(note) {
			err = os.WriteFile(note, []byte(strconv.Itoa(os.Getpid())), 0o600)
		}
		err = errors.Join(err, outboxer.Serve(context.Background(), os.Stdin, os.Stdout))
	case order != "":
		var v victim
		if err = json.Unmarshal([]byte(order), &v); err == nil {
			err = v.run()
		}
	default:
		// Programs built with the race detector end without waiting a second for its last words.
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// overEach runs a test over each transport that needs nothing but this machine.
func overEach(t *testing.T, f func(t *testing.T, b *outbox)) {
	for _, helper := range []bool{false, true} {
		t.Run(map[bool]string{false: "tar", true: "helper"}[helper], func(t *testing.T) {
			t.Parallel()
			b := newOutbox(t)
			b.helper = helper
			f(t, b)
		})
	}
}

func (b *outbox) once() Report {
	b.Helper()
	r, err := Once(b.Context(), b.transport(), b.o, nil)
	b.must(err)
	return r
}

func landed(r Report) []string {
	var names []string
	for _, a := range r.Landed {
		names = append(names, a.Name)
	}
	return names
}

// tree lists what is on the host: every name, directories with a slash.
func (b *outbox) tree() []string {
	b.Helper()
	var names []string
	b.must(filepath.WalkDir(b.o.Dest, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == b.o.Dest {
			return err
		}
		rel, err := filepath.Rel(b.o.Dest, p)
		if d.IsDir() {
			rel += "/"
		}
		names = append(names, rel)
		return err
	}))
	return names
}
