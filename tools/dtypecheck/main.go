// Command dtypecheck type-checks packages for another operating system with cgo switched on, from source, without a C
// compiler and without that system's SDK. It is how the macOS half of CALMenu is checked on Linux.
//
//	dtypecheck [-os darwin] [-arch arm64] [-test] [-depbodies] [packages]
//
// It reads every package the named ones need, dependencies and the standard library included, at the exact versions of
// go.mod, and checks the named module's functions and all declarations. Names under C., Objective-C sources and
// selector strings are beyond it. It exits 1 if there are errors and 2 if it could not do its work.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/calmenu/calmenu/tools/darwintypes"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var t darwintypes.Target
	flags := flag.NewFlagSet("dtypecheck", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&t.OS, "os", "darwin", "operating system to check for (GOOS)")
	flags.StringVar(&t.Arch, "arch", "arm64", "processor to check for (GOARCH)")
	flags.BoolVar(&t.Tests, "test", false, "also check tests")
	flags.BoolVar(&t.DepBodies, "depbodies", false, "also check the functions of dependencies")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	t.Patterns = flags.Args()
	if len(t.Patterns) == 0 {
		t.Patterns = []string{"./..."}
	}
	pkgs, err := darwintypes.Load(ctx, t)
	if err != nil {
		fmt.Fprintf(stderr, "dtypecheck: %v\n", err)
		return 2
	}
	r := darwintypes.Check(t, pkgs)
	for _, p := range r.Problems {
		fmt.Fprintln(stdout, p)
	}
	fmt.Fprintf(stdout, "type check for %s/%s with cgo: %d packages (%d own), %d files, %d errors\n",
		t.OS, t.Arch, r.Packages, r.Own, r.Files, len(r.Problems))
	switch {
	case r.Own == 0: // a check of nothing must not look like success
		fmt.Fprintf(stderr, "dtypecheck: no package of this module matches %q\n", t.Patterns)
		return 2
	case len(r.Problems) > 0:
		return 1
	}
	return 0
}
