package sync

import (
	"os"

	"golang.org/x/sys/unix"
)

// maker makes small files in staging, each in as few system calls as it takes: they are felt thousands of times.
type maker struct {
	root  *os.Root
	agent string
	dir   *os.File // nil: not opened yet
	fd    int      // of dir
	plain map[os.FileMode]bool
}

func (m *maker) close() {
	if m.dir != nil {
		_ = m.dir.Close()
	}
}

// make makes a file whose name, directly in staging, is this program's own.
func (m *maker) make(s *small) (err error) {
	if m.dir == nil {
		if m.dir, err = m.root.Open("."); err != nil {
			return err
		}
		m.fd, m.plain = int(m.dir.Fd()), map[os.FileMode]bool{}
	}
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(m.fd, s.at, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(s.mode))
	})
	if err == nil {
		err = m.fill(fd, s)
	}
	if err != nil {
		return &os.PathError{Op: "making a file", Path: s.at, Err: err}
	}
	return nil
}

func (m *maker) fill(fd int, s *small) (err error) {
	defer func() {
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
	}()
	for b := s.content; len(b) > 0; {
		n, err := ignoringEINTR(func() (int, error) { return unix.Write(fd, b) })
		if err != nil {
			return err
		}
		b = b[n:]
	}
	if err := m.setMode(fd, s.mode); err != nil {
		return err
	}
	t := unix.NsecToTimespec(s.modTime.UnixNano())
	return unix.UtimesNanoAt(m.fd, s.at, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}

// setMode sets a mode, unless files are made with just that: the process's umask and the directory's ACL are the same for
// all of them.
func (m *maker) setMode(fd int, mode os.FileMode) error {
	if m.plain[mode] {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if m.plain[mode] = os.FileMode(st.Mode&0o7777) == mode; m.plain[mode] {
		return nil
	}
	return unix.Fchmod(fd, uint32(mode))
}
