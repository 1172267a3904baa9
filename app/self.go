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

// programFile is the file that a process was started from, as it was then.
type programFile struct{ info os.FileInfo } // nil: nothing is known of it

// ownFile is this process's, which has just been started.
func (a *App) ownFile() programFile {
	path, err := a.program()
	if err != nil {
		return programFile{}
	}
	info, err := os.Stat(path)
	if err != nil {
		return programFile{}
	}
	return programFile{info}
}

// replaced tells whether there is another program in its place now, as after an update.
func (f programFile) replaced(now programFile) bool {
	return f.info != nil && now.info != nil &&
		(!os.SameFile(f.info, now.info) || !f.info.ModTime().Equal(now.info.ModTime()) || f.info.Size() != now.info.Size())
}

// Bundled returns the program to run in place of one that was started as started: the same inside its application, if
// real, which is where its links lead, is in one and started is not.
func Bundled(started, real string) (string, bool) {
	const inside = ".app/Contents/MacOS/"
	return real, strings.Contains(real, inside) && !strings.Contains(started, inside)
}
