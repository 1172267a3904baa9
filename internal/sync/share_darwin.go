package sync

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settled is how long a file must be left alone before it is taken: who has it open is not known here.
const settled = 2 * time.Second

// openFile opens a regular file in an open directory: no link, and nothing that opening waits for. The guest cannot make
// devices: it writes with the rights of the account that CALMenu runs as.
func openFile(at int, name string) (*os.File, error) {
	if e, err := statAt(at, name); err != nil || e.Kind != 'f' {
		return nil, errSwapped
	}
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func writtenTo(*os.File) bool { return false }
