package outboxer

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// openBeneath opens a name below a directory, as openAt does.
func openBeneath(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := openAt(int(dir.Fd()), name, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openStepwise opens a name below a directory one element at a time.
func openStepwise(dir int, name string, flags int) (int, error) {
	at, opened := dir, -1
	defer func() {
		if opened >= 0 {
			_ = unix.Close(opened)
		}
	}()
	elements := strings.Split(name, "/")
	for i, e := range elements {
		if e == ".." {
			return -1, &os.PathError{Op: "open", Path: name, Err: unix.EXDEV}
		}
		how := flags
		if i < len(elements)-1 {
			how = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | atPath
		}
		var fd int
		err := ignoringEINTR(func() (err error) {
			fd, err = unix.Openat(at, e, how, 0)
			return err
		})
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: name, Err: err}
		}
		if opened >= 0 {
			_ = unix.Close(opened)
		}
		at, opened = fd, fd
	}
	opened = -1
	return at, nil
}

type inode struct{ device, inode uint64 }

// writers knows which files are open for writing where the file itself does not tell.
type writers struct {
	mu   sync.Mutex
	asOf time.Time
	open map[inode]bool
}

func newWriters() *writers { return &writers{} }

// has tells whether a program has a file open for writing. A look at all processes is good enough if it was taken after
// since, when the file was known to be what it is still: it was closed then.
func (w *writers) has(f int, id inode, since time.Time) bool {
	if busy, known := leased(f); known {
		return busy
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asOf.After(since) {
		w.asOf = time.Now()
		w.open = openForWriting()
	}
	return w.open[id]
}
