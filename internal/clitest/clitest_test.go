// Package clitest plays CALMenu's story by the command line alone, as a person or a script would: the scripts below
// testdata read like the manual, and run against Tart's double and, where CAL_TEST_VM is set, a real QEMU guest.
//
// What must hold: a script touches nothing outside its own directory (and the image cache), leaves no process behind,
// and waits for conditions, never for time. A script in testdata/both says nothing that only one driver does, but
// behind [tart] or [qemu].
package clitest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/calmenu/calmenu/app/cli"
)

// root holds all that the tests make. Everybody may look into it: on the double, CALMenu is not who runs the test.
var root string

func TestMain(m *testing.M) {
	testscript.Main(inRoot{m}, map[string]func(){"CALMenu": calMenu})
}

// inRoot runs the tests with root there.
type inRoot struct{ *testing.M }

func (m inRoot) Run() int {
	var err error
	// A short name: paths of sockets below it are limited to some hundred bytes.
	if root, err = os.MkdirTemp("", "cal"); err == nil {
		err = os.Chmod(root, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(root)
	return m.M.Run()
}

// ordinaryUser names the variable that holds the user CALMenu becomes before it does anything.
const ordinaryUser = "CLITEST_UID"

// nobody is the user and group CALMenu and the double run as where the test runs as root: a machine that runs as root
// breaks isolation, and rightly so. Nobody installs CALMenu on a Mac that way.
const nobody = 65534

// calMenu is the program under test.
func calMenu() {
	if s := os.Getenv(ordinaryUser); s != "" && s != strconv.Itoa(os.Geteuid()) {
		id, err := strconv.Atoi(s)
		for _, become := range []func() error{
			func() error { return syscall.Setgroups(nil) },
			func() error { return syscall.Setgid(id) },
			func() error { return syscall.Setuid(id) },
		} {
			if err == nil {
				err = become()
			}
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "becoming user %q: %v\n", s, err)
			os.Exit(125)
		}
	}
	os.Exit(cli.Main(os.Args[1:]))
}

// double is the built program that plays tart.
var double = sync.OnceValues(func() (string, error) {
	file := filepath.Join(root, "double", "tart")
	out, err := exec.Command("go", "build", "-o", file, "../vm/tart/tartdouble").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the double: %w\n%s", err, out)
	}
	return file, nil
})

// TestTart runs the scripts against the program that plays tart.
func TestTart(t *testing.T) {
	if os.Getenv("CAL_TEST_LONG") == "" {
		t.Skip("set CAL_TEST_LONG=1: each of these scripts runs the whole program many times")
	}
	run(t, "tart", "both", "tart")
}

// TestQEMU runs the scripts against a real Debian guest.
func TestQEMU(t *testing.T) {
	if os.Getenv("CAL_TEST_VM") == "" {
		t.Skip("set CAL_TEST_VM=1: a virtual machine is booted")
	}
	run(t, "qemu", "both", "qemu")
}

// run runs the scripts of some directories: at once on the double, one after the other where each boots a machine under
// emulation, two of which share the cores no better.
func run(t *testing.T, driver string, dirs ...string) {
	var files []string
	for _, d := range dirs {
		found, err := filepath.Glob(filepath.Join("testdata", d, "*.txtar"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no scripts in %s: %v", d, err)
		}
		files = append(files, found...)
	}
	work := filepath.Join(root, driver)
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	if driver == "tart" {
		play(t, driver, work, files...)
		return
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) { play(t, driver, work, file) })
	}
}

func play(t *testing.T, driver, work string, files ...string) {
	testscript.Run(t, testscript.Params{
		Files:               files,
		WorkdirRoot:         work,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Values[terminalKey{}] = &openTerminals{}
			e.Defer(func() {
				endLeftovers(e.WorkDir, e.T().Log)
				logged(e.WorkDir, e.T().Log)
			})
			if driver == "tart" {
				return setUpTart(e.WorkDir, e)
			}
			return setUpQEMU(e.WorkDir, e)
		},
		Condition: func(c string) (bool, error) {
			if c != "tart" && c != "qemu" {
				return false, fmt.Errorf("unknown condition %q", c)
			}
			return c == driver, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"json":  lookInJSON,
			"until": until,
			"tty":   tty,
		},
	})
}
