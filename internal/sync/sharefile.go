package sync

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

// errSwapped says that a name is not what it was a moment ago.
var errSwapped = errors.New("it is something else by now")

// open opens a file of a listing if it still is that file. Nothing on the way is followed, nothing but a regular file is
// opened, and nothing is waited for.
func (t *shareTransport) open(e *Entry) (*os.File, error) {
	elements := strings.Split(e.Name, "/")
	at, err := openDir(int(t.dir.Fd()), ".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = at.Close() }()
	for _, name := range elements[:len(elements)-1] {
		below, err := openDir(int(at.Fd()), name)
		if err != nil {
			return nil, err
		}
		_ = at.Close()
		at = below
	}
	f, err := openFile(int(at.Fd()), elements[len(elements)-1])
	if err != nil {
		return nil, err
	}
	if now, err := statHandle(f, e.Name); err != nil || now.Kind != 'f' || now.Source() != e.Source() {
		_ = f.Close()
		return nil, errors.Join(errSwapped, err)
	}
	return f, nil
}

// openDir opens a directory in an open one. A link is not followed; anything that is no directory is not opened, so a
// device does not notice.
func openDir(at int, name string) (*os.File, error) {
	if strings.Contains(name, "/") || name == ".." || name == "" {
		return nil, os.ErrInvalid // no listing has it
	}
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func statAt(at int, name string) (Entry, error) {
	var st unix.Stat_t
	_, err := ignoringEINTR(func() (int, error) { return 0, unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return Entry{}, err
	}
	e := wire.EntryOf(name, &st)
	if e.Kind == 'l' {
		target := make([]byte, maxTarget+1)
		n, err := ignoringEINTR(func() (int, error) { return unix.Readlinkat(at, name, target) })
		if err != nil {
			return Entry{}, err
		}
		e.Target = string(target[:n])
	}
	return e, nil
}

func statHandle(f *os.File, name string) (Entry, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Entry{}, err
	}
	return wire.EntryOf(name, &st), nil
}

func stampTime(s Stamp) time.Time { return time.Unix(s.Sec, int64(s.Nano)) }

// dropped forgets a file that has come in part, and returns err.
func (f *Staged) dropped(err error) error { return errors.Join(err, f.Drop()) }

// hostOnly is an error if it is the host's own; what is the guest's doing is none.
func hostOnly(err error) error {
	if errors.Is(err, errHost) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return atHost(err)
	}
	return nil
}
