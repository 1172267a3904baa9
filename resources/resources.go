// Package resources holds the files that are part of the program: they are embedded, so that one binary is all there is
// to install. What must hold: nothing here depends on another package, and a checkout compiles before anything was
// built.
package resources

import (
	"embed"
	"io/fs"

	"github.com/calmenu/calmenu/internal/hint"
)

// Guest is the recipe of the Linux guest (packages, hooks) and, in bin/, the programs that run in it.
//
//go:embed all:guest
var guest embed.FS

// NetworkPresets returns network/presets.yaml: lists of destinations that belong together.
func NetworkPresets() []byte { return networkPresets }

//go:embed network/presets.yaml
var networkPresets []byte

// Guest returns a file of the Linux guest's recipe by its name in resources/guest.
func Guest(name string) ([]byte, error) { return guest.ReadFile("guest/" + name) }

// CalInit returns the guest's first program (cmd/calinit), a static executable for linux/amd64. It is compiled by the
// Makefile and missing from a binary that was built without it.
func CalInit() ([]byte, error) {
	return program("bin/calinit", "the guest's init program in this binary")
}

// CalSeed returns the program that gives a guest started from a template its identity (cmd/calseed), as CalInit does.
func CalSeed() ([]byte, error) {
	return program("bin/calseed", "the guest's seeding program in this binary")
}

// CalHelper returns the program for guests of an operating system ("linux", "darwin") that does in them what their own
// tools cannot (cmd/calhelper), as CalInit does.
func CalHelper(guestOS string) ([]byte, error) {
	arch := map[string]string{"linux": "amd64", "darwin": "arm64"}[guestOS]
	return program("bin/calhelper-"+guestOS+"-"+arch, "the helper program for "+guestOS+" guests in this binary")
}

func program(name, what string) ([]byte, error) {
	b, err := Guest(name)
	if err == nil {
		return b, nil
	}
	missing := &fs.PathError{Op: "finding", Path: what, Err: fs.ErrNotExist}
	return nil, hint.Wrap(missing, "This binary was built without it. Build with `make`.")
}
