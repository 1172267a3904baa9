package sync

import (
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// renameNew gives what has a name in one open directory a name in another, in which there is none of that name.
func renameNew(from int, name string, to int, as string) error {
	return unix.Renameat2(from, name, to, as, unix.RENAME_NOREPLACE)
}

// noRenameNew tells an error of a file system that knows no such thing.
func noRenameNew(err error) bool { return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) }

// bootID is another one each time the host has booted; "" where that is not known.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// upTime is how long the host has been running, asleep or awake. It is no clock that can be turned.
func upTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// flushAll writes what the file system of a directory still holds in memory to the disk.
func flushAll(dir *os.File) error { return unix.Syncfs(int(dir.Fd())) }
