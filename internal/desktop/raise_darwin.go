package desktop

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Raise brings the terminal application to the front that the process runs in, with the window it had in front last:
// macOS lets no program raise a single window of another without the person's leave to control it.
func (d *mac) Raise(ctx context.Context, w Window) (bool, error) {
	for _, pid := range ancestors(w.PID, parentOf) {
		bundle, ok := bundleOf(programOf(pid))
		if !ok {
			continue
		}
		if err := d.open(ctx, bundle); err != nil {
			return false, fmt.Errorf("raising a window: %w", err)
		}
		return true, nil
	}
	return false, nil
}

// parentOf returns the parent of a process, 0 if there is no such process.
func parentOf(pid int) int {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0
	}
	return int(info.Eproc.Ppid)
}

// programOf returns the path of the program a process runs, "" if it is not known. kern.procargs2 is the number of its
// arguments, then the path, ended by a zero.
func programOf(pid int) string {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(b) < 5 {
		return ""
	}
	path, _, _ := bytes.Cut(b[4:], []byte{0})
	return string(path)
}

// bundleOf returns the application a program belongs to, unless it is CALMenu itself, which has no window to raise.
func bundleOf(program string) (string, bool) {
	bundle, _, ok := strings.Cut(program, ".app/Contents/MacOS/")
	return bundle + ".app", ok && !strings.HasSuffix(bundle, "/"+"CALMenu")
}
