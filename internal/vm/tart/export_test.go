package tart

import (
	"os"
	"path/filepath"
)

// Holder is the process that runs the machine in dir, or 0.
func Holder(dir string) int {
	f, err := os.Open(filepath.Join(dir, "config.json"))
	if err != nil {
		return 0
	}
	defer f.Close()
	pid, err := lockHolder(f)
	if err != nil {
		return 0
	}
	return pid
}

// At makes a driver tell f of each step of its transactions before it takes it.
func (d *Driver) At(f func(step string)) { d.at = f }

// Parsers of what others say, for tests of their own.
var (
	ParseList     = parseList
	ParseName     = parseName
	ParseProcArgs = parseProcArgs
	ReadArguments = readArguments
	NewEnough     = newEnough
)

// PullState follows the lines of a download.
type PullState = pullState

// Read is read.
var ReadPull = (*pullState).read
