package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"howett.net/plist"

	"github.com/calmenu/calmenu/internal/hint"
)

// application is what Info.plist says of a bundle.
type application struct {
	Name       string `plist:"CFBundleName"`
	Executable string `plist:"CFBundleExecutable"`
	Version    string `plist:"CFBundleShortVersionString"`
	Build      string `plist:"CALVersion"` // as git describe prints it
}

func readApp(path string) (application, error) {
	var a application
	const advice = "Run `make app` first."
	text, err := os.ReadFile(filepath.Join(path, "Contents", "Info.plist"))
	if err != nil {
		return a, hint.Wrap(fmt.Errorf("reading the application: %w", err), advice)
	}
	if _, err := plist.Unmarshal(text, &a); err != nil {
		return a, hint.Wrap(fmt.Errorf("reading Info.plist of %s: %w", path, err), advice)
	}
	for _, s := range []string{a.Name, a.Executable, a.Version} {
		if s == "" || filepath.Base(s) != s {
			return a, hint.Errorf(advice, "reading Info.plist of %s: %q is no name of a program or version", path, s)
		}
	}
	return a, nil
}

// released says whether the bundle was built from the tag of a release, with nothing changed since.
func (a application) released() error {
	if strings.TrimPrefix(a.Build, "v") == a.Version {
		return nil
	}
	return hint.Errorf("Check out the tag of a release, commit or undo what was changed, and build again.",
		"version %q is not a release", a.Build)
}

// image is the name of the application's disk image.
func (a application) image() string { return fmt.Sprintf("%s-%s.dmg", a.Name, a.Version) }
