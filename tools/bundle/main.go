// Command bundle lays a macOS application out around a program built for macOS: Info.plist with the version, the icon,
// and on a Mac an ad hoc signature. It runs on any system, so that the layout can be checked without a Mac.
//
//	bundle -binary build/CALMenu -version 1.2.3 -out build/CALMenu.app [-plist Info.plist] [-sign IDENTITY]
//
// A bundle that is there already is replaced once the new one is complete.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"

	"github.com/calmenu/calmenu/internal/hint"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var b bundle
	var identity string
	flags := flag.NewFlagSet("bundle", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&b.binary, "binary", "build/CALMenu", "program built for macOS")
	flags.StringVar(&b.version, "version", "", "version of the build, as git describe prints it")
	flags.StringVar(&b.plist, "plist", "Info.plist", "Info.plist to stamp the version into")
	flags.StringVar(&b.out, "out", "build/CALMenu.app", "bundle to write")
	flags.StringVar(&identity, "sign", "-", "identity to sign with on a Mac; - signs ad hoc")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	err := b.write()
	if err == nil {
		err = sign(ctx, b.out, identity, stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		if h := hint.Of(err); h != "" {
			fmt.Fprintf(stderr, "  hint: %s\n", h)
		}
		return 1
	}
	fmt.Fprintf(stdout, "%s: version %s\n", b.out, b.version)
	return 0
}

// sign signs the bundle with codesign, which only a Mac has.
func sign(ctx context.Context, app, identity string, stdout io.Writer) error {
	if runtime.GOOS != "darwin" {
		fmt.Fprintf(stdout, "%s is not signed: codesign is a program of macOS\n", app)
		return nil
	}
	out, err := exec.CommandContext(ctx, "/usr/bin/codesign", "--force", "--sign", identity, app).CombinedOutput()
	if err != nil {
		return hint.Wrap(fmt.Errorf("signing %s: %w: %s", app, err, out),
			"Install the command line tools (xcode-select --install), and see security find-identity -p codesigning.")
	}
	return nil
}
