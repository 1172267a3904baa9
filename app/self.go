package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Self returns the path of this program behind all symbolic links: macOS takes a program for part of an application only
// by a path inside of it, and people have a link to it on PATH.
func Self() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	real, err := filepath.EvalSymlinks(self)
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	return real, nil
}

// Bundled returns the program to run in place of one that was started as started: the same inside its application, if
// real, which is where its links lead, is in one and started is not.
func Bundled(started, real string) (string, bool) {
	const inside = ".app/Contents/MacOS/"
	return real, strings.Contains(real, inside) && !strings.Contains(started, inside)
}
