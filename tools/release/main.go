// Command release makes of an application bundle what people install: signed, in a disk image, notarised by Apple, and
// with a Homebrew cask that names it. Each step is a program of macOS that is run with the arguments made here.
//
//	release sign     -app build/CALMenu.app [-identity "Developer ID Application: ..."]
//	release dmg      -app build/CALMenu.app -out build [-identity ...]
//	release notarize -app build/CALMenu.app -out build -identity ... -profile calmenu [-keychain FILE]
//	release cask     -app build/CALMenu.app -dmg build/CALMenu-1.2.3.dmg -cask packaging/homebrew/Casks/calmenu.rb
//
// What must hold: no password, key or token is ever an argument of this program or of one that it runs (they are in the
// keychain, under the name of a profile); a step that fails ends the release with what the program of macOS said.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/sign"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], sign.ThisMac(os.Stdout), os.Stderr)
	stop()
	os.Exit(code)
}

// order is what a command line asks for.
type order struct {
	app, out, identity, entitlements string
	profile, keychain                string // of notarytool
	dmg, cask                        string
}

func (o order) credentials() sign.Credentials {
	return sign.Credentials{Profile: o.profile, Keychain: o.keychain}
}

const usage = "usage: release sign|dmg|notarize|cask [flags]; release COMMAND -h lists them\n"

func run(ctx context.Context, args []string, m *sign.Mac, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	command, ok := map[string]func(context.Context, *sign.Mac, order) error{
		"sign": signApp, "dmg": makeImage, "notarize": notarize, "cask": fillCask,
	}[args[0]]
	if !ok {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var o order
	flags := flag.NewFlagSet("release "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.app, "app", "build/CALMenu.app", "application bundle")
	flags.StringVar(&o.out, "out", "build", "folder for the disk image")
	flags.StringVar(&o.identity, "identity", adHoc, "identity to sign with (security find-identity); - signs ad hoc")
	flags.StringVar(&o.entitlements, "entitlements", "packaging/macos/CALMenu.entitlements", "entitlements to sign with")
	flags.StringVar(&o.profile, "profile", "", "name under which notarytool store-credentials keeps the credentials")
	flags.StringVar(&o.keychain, "keychain", "", "keychain file that has the profile, if it is not the login keychain")
	flags.StringVar(&o.dmg, "dmg", "", "finished disk image that the cask is about")
	flags.StringVar(&o.cask, "cask", "packaging/homebrew/Casks/calmenu.rb", "cask to write version and hash into")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "error: %q is no flag\n%s", flags.Arg(0), usage)
		return 2
	}
	if err := command(ctx, m, o); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		if h := hint.Of(err); h != "" {
			fmt.Fprintf(stderr, "  hint: %s\n", h)
		}
		return 1
	}
	return 0
}
