package tart

import (
	"context"
	"errors"
	"fmt"
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

// Parsers of what others say, for tests of their own.
var (
	ParseList     = parseList
	ParseName     = parseName
	ParseProcArgs = parseProcArgs
	ReadArguments = readArguments
	NewEnough     = newEnough
	ParseLeases   = parseLeases
	Unsuspendable = unsuspendable
)

// PullState follows the lines of a download.
type PullState = pullState

// Read is read.
var ReadPull = (*pullState).read

// ListBoth lists the machines as tart does, and as this driver does while a download waits to be gone on with.
func (d *Driver) ListBoth(ctx context.Context) (byTart, byFiles string, err error) {
	out, err := d.tart(ctx, "list", "--source", "local", "--format", "json")
	if err != nil {
		return "", "", err
	}
	all, err := parseList(out)
	own, ownErr := d.readMachines()
	return fmt.Sprint(all), fmt.Sprint(own), errors.Join(err, ownErr)
}

// Since is since, for a driver that found a version.
func Since(version string, major, minor int) bool {
	return (&Driver{version: version}).since(major, minor)
}
