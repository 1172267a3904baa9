package sync

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// renameNew gives what has a name in one open directory a name in another, in which there is none of that name.
func renameNew(from int, name string, to int, as string) error {
	return unix.RenameatxNp(from, name, to, as, unix.RENAME_EXCL)
}

// noRenameNew tells an error of a file system that knows no such thing.
func noRenameNew(err error) bool { return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) }

// bootID is another one each time the host has booted; "" where that is not known.
func bootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}

// upTime is how long the host has been running, asleep or awake (clock_gettime(3)). It is no clock that can be turned.
func upTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// flushAll writes what the file systems still hold in memory to the disk.
func flushAll(*os.File) error { return unix.Sync() }
