// Command teststage runs the tests of a stage of `make test`, and says what ran, what did not and why, and what took
// longest. What it knows it has from the test events of the go command (go doc test2json), never from names.
//
//	teststage unit [-race]       all tests; those that start virtual machines or a desktop, or take long, skip themselves
//	teststage machines [-race]   exactly the tests that skipped themselves so, with what lets them run
//
// Each stage leaves its results in build/tests/<stage>.jsonl; machines reads those of unit, and runs unit first if there
// are none. A test that machines was to run and that did not come to an end fails the stage. A few tests that failed are
// run once more, alone; those that pass then are reported as flaky.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// stage is what the command line says.
type stage struct {
	race  bool
	lanes int
	dir   string // for results
	out   io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s := stage{out: stdout}
	flags := flag.NewFlagSet("teststage", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&s.race, "race", false, "build the tests with the race detector")
	flags.IntVar(&s.lanes, "lanes", min(2, runtime.NumCPU()), "how many packages' machines run at once")
	flags.StringVar(&s.dir, "results", filepath.Join("build", "tests"), "folder for the results")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: teststage unit|machines [flags] [PACKAGE...]")
		flags.PrintDefaults()
	}
	if len(args) == 0 {
		flags.Usage()
		return 2
	}
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	do := map[string]func(context.Context, []string) error{"unit": s.unit, "machines": s.machines}[args[0]]
	if do == nil || s.lanes < 1 {
		flags.Usage()
		return 2
	}
	if err := do(ctx, flags.Args()); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// unitLimit and machineLimit bound what one package's tests may take: on a machine with other work everything takes
// longer by any factor.
const (
	unitLimit    = 10 * time.Minute
	machineLimit = 65 * time.Minute
)

// unit runs all tests of packages (none: all), without what lets tests start machines.
func (s stage) unit(ctx context.Context, packages []string) error {
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	c := newCollector(s.out, true)
	// Some packages mostly wait.
	all := goTest{race: s.race, limit: unitLimit, packages: packages, atOnce: 2 * runtime.NumCPU()}
	err := s.again(ctx, c, all.run(ctx, c), func(pkg string) goTest {
		return goTest{race: s.race, limit: unitLimit, packages: []string{pkg}}
	})
	return s.finish(c, "unit", err, nil)
}

// finish prints the report, keeps the results, and makes one error of what failed.
func (s stage) finish(c *collector, name string, err error, wanted []test) error {
	missing := c.missing(wanted)
	report(s.out, c.results(), missing)
	if kept := save(filepath.Join(s.dir, name+".jsonl"), c.results()); err == nil {
		err = kept
	}
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%d tests were to run and did not", len(missing))
	}
	return err
}
