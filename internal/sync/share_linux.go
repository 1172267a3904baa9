package sync

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settled is how long a file must be left alone before it is taken. That it is closed is known; this makes sure that a
// write while it is copied gives it another time, which the kernel counts in ticks of up to 10 ms.
const settled = 50 * time.Millisecond

// openFile opens a regular file in an open directory. It is got hold of first, without opening it, and then opened by
// that hold: whatever has its name by then, a device or a link is never opened.
func openFile(at int, name string) (*os.File, error) {
	hold, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(hold) }()
	var st unix.Stat_t
	if err := unix.Fstat(hold, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errSwapped
	}
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Open(fmt.Sprintf("/proc/self/fd/%d", hold), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// writtenTo tells whether some program, the guest's included, has a file open for writing: the kernel gives a lease for
// reading only while none has (fcntl(2), F_SETLEASE). The lease is let go of at once, so that nobody waits for it. Where
// there are no leases, what has settled counts as closed.
func writtenTo(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}
