// Command bundle lays a macOS application out around programs built for macOS: one program for all their processors,
// Info.plist with the version, the icon, the licences. It runs on any system, so that the layout can be checked without
// a Mac; signing, which needs one, is tools/release.
//
//	bundle -binary build/darwin-arm64/CALMenu -binary build/darwin-amd64/CALMenu -version 1.2.3 -out build/CALMenu.app
//
// A bundle that is there already is replaced once the new one is complete.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/calmenu/calmenu/internal/hint"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var b bundle
	flags := flag.NewFlagSet("bundle", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Func("binary", "program built for macOS; may be given once for each processor", func(path string) error {
		b.binaries = append(b.binaries, path)
		return nil
	})
	flags.StringVar(&b.version, "version", "", "version of the build, as git describe prints it")
	flags.StringVar(&b.plist, "plist", "Info.plist", "Info.plist to stamp the version into")
	flags.StringVar(&b.license, "license", "LICENSE", "licence to put into the bundle")
	flags.StringVar(&b.out, "out", "build/CALMenu.app", "bundle to write")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := b.write(); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		if h := hint.Of(err); h != "" {
			fmt.Fprintf(stderr, "  hint: %s\n", h)
		}
		return 1
	}
	fmt.Fprintf(stdout, "%s: version %s\n", b.out, b.version)
	return 0
}
