package outboxer

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// openAt opens a name below a directory, for reading. No link is followed, and nothing outside is reached.
func openAt(dir int, name string, flags int) (int, error) {
	var fd int
	flags |= unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Openat2(dir, name, &unix.OpenHow{
			Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		return err
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // a kernel or a sandbox from before openat2
		return openStepwise(dir, name, flags)
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// atPath is what a directory is opened with that is only gone through.
const atPath = unix.O_PATH

// nextHole tells where the next data, and then the next hole, begin at or after an offset. A file without holes is data to
// its end.
func nextHole(f int, at, size int64) (data, hole int64) {
	data, err := unix.Seek(f, at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size
	case err != nil:
		return at, size
	}
	if hole, err = unix.Seek(f, data, unix.SEEK_HOLE); err != nil {
		hole = size
	}
	return min(data, size), min(hole, size)
}

// leased tells whether a file is open for writing, by asking for a lease that is only given if it is not (fcntl(2)), and
// giving that back at once. known is false where leases are not to be had: for files of others, and on some file systems.
func leased(f int) (busy, known bool) {
	_, err := unix.FcntlInt(uintptr(f), unix.F_SETLEASE, unix.F_RDLCK)
	if errors.Is(err, unix.EAGAIN) {
		return true, true
	}
	if err != nil {
		return false, false
	}
	_, _ = unix.FcntlInt(uintptr(f), unix.F_SETLEASE, unix.F_UNLCK)
	return false, true
}

// openForWriting are the inodes that programs whose descriptors this one may see have open for writing: the mode of a link
// below fd tells (proc_pid_fd(5)).
func openForWriting() map[inode]bool {
	open := map[inode]bool{}
	proc, err := os.ReadDir("/proc")
	if err != nil {
		return open
	}
	for _, p := range proc {
		if strings.Trim(p.Name(), "0123456789") != "" {
			continue
		}
		dir := path.Join("/proc", p.Name(), "fd")
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			var link, file unix.Stat_t
			at := path.Join(dir, fd.Name())
			if unix.Lstat(at, &link) != nil || link.Mode&0o200 == 0 || unix.Stat(at, &file) != nil {
				continue
			}
			open[inode{uint64(file.Dev), file.Ino}] = true
		}
	}
	return open
}

// widePipe is how much a pipe to OpenSSH's server is to hold, in bytes: as much as anybody may ask for without privileges.
const widePipe = 1 << 20

// widen has a pipe hold more: with 64 KiB, as pipes have by themselves, its two ends wait for each other all the time. What is no
// pipe stays as it is.
func widen(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, widePipe) })
	}
}
