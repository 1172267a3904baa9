package main

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/calmenu/calmenu/app"
)

// again runs this program by its path inside its application if it was started by a link to it: macOS would give it
// neither notifications nor a login item. It returns if there is no need, or no way.
func again() {
	started, err := os.Executable()
	if err != nil {
		return
	}
	real, err := filepath.EvalSymlinks(started)
	if err != nil {
		return
	}
	if program, yes := app.Bundled(started, real); yes {
		_ = syscall.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ())
	}
}
