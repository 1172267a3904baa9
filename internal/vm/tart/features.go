package tart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// since tells whether the tart program is of a version or newer; of a development build it is believed. The version
// must have been checked.
func (d *Driver) since(major, minor int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := versionPattern.FindStringSubmatch(d.version)
	if m == nil {
		return true
	}
	var got [2]int
	if _, err := fmt.Sscan(m[1], &got[0]); err != nil {
		return true
	}
	if _, err := fmt.Sscan(m[2], &got[1]); err != nil {
		return true
	}
	return got[0] > major || got[0] == major && got[1] >= minor
}

// maxInput bounds what a command in the guest is given to read, in bytes.
const maxInput = 1 << 20

// input is what `tart exec -i` reads in place of stdin. Until 2.33 it span a core from the end of a pipe on, but not of
// a regular file (sections 9 and 13): that one has no name by the time tart sees it.
func (d *Driver) input(stdin io.Reader) (in io.Reader, closeIn func(), err error) {
	if stdin == nil || d.since(2, 33) {
		return stdin, func() {}, nil
	}
	f, err := os.CreateTemp(d.options.StateDir, ".input-*")
	if err != nil {
		return nil, nil, fmt.Errorf("keeping its input: %w", err)
	}
	closeIn = func() { _ = f.Close() }
	err = os.Remove(f.Name())
	var n int64
	if err == nil {
		n, err = io.Copy(f, io.LimitReader(stdin, maxInput+1))
	}
	if err == nil && n > maxInput {
		err = fmt.Errorf("it is longer than %d bytes", maxInput)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		closeIn()
		return nil, nil, fmt.Errorf("keeping its input: %w", err)
	}
	return f, closeIn, nil
}

// diskFiles are what a machine's disk may be: an image, or since 2.35 a layer over a base that machines share (section
// 13).
var diskFiles = []string{"disk.img", "overlay.asif"}

// diskFile is the file of a machine's disk.
func (d *Driver) diskFile(name string) string {
	for _, f := range diskFiles {
		if _, err := os.Stat(filepath.Join(d.dir(name), f)); err == nil {
			return f
		}
	}
	return diskFiles[0]
}

// keychainRequirement asks whether the login keychain is open, which macOS guests need since macOS 15 to start. At a
// Mac's own screen it is, and the question could raise a dialog; over SSH it often is not, and no dialog is possible.
func (d *Driver) keychainRequirement(ctx context.Context) (vm.Requirement, bool) {
	if d.options.HostOS != "darwin" || os.Getenv("SSH_CONNECTION") == "" {
		return vm.Requirement{}, false
	}
	r := vm.Requirement{Name: "login keychain", Optional: true, OK: true, Detail: "open", Hint: keychainHint}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := exec.CommandContext(ctx, d.options.Security, "show-keychain-info").Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.OK, r.Detail = false, "locked: macOS guests do not start"
	} else if err != nil {
		r.Detail = "whether it is open is unknown"
	}
	return r, true
}
