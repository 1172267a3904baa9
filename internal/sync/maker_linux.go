package sync

import (
	"crypto/rand"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maker makes small files in as few system calls as it takes: they are felt thousands of times. Where the file system can,
// they have no name before their own: to be named twice is a third of what a file costs, and those who name in one directory
// wait for each other.
type maker struct {
	root     *os.Root
	agent    string
	dir      *os.File // nil: not opened yet
	fd       int      // of dir
	plain    map[os.FileMode]bool
	nameless bool

	apart int           // where inodes without a name are made: fd, or a directory in it
	moved int           // how often that was changed
	made  int           // inodes there, of the last tryInodes
	took  time.Duration // making those
}

func (m *maker) close() {
	if m.dir == nil {
		return
	}
	m.leaveApart()
	_ = m.dir.Close()
}

func (m *maker) open() (err error) {
	if m.dir, err = m.root.Open("."); err != nil {
		return err
	}
	m.fd, m.plain = int(m.dir.Fd()), map[os.FileMode]bool{}
	m.apart = m.fd
	const trial = "trial"
	fd, err := m.inode(m.apart, ".", unix.O_TMPFILE, 0o600)
	if err != nil {
		return nil //nolint:nilerr // a kernel or a file system without such files
	}
	if setTime(fd, "", time.Now(), unix.AT_EMPTY_PATH) == nil && linkNew(fd, m.fd, trial) == nil {
		m.nameless = unix.Unlinkat(m.fd, trial, 0) == nil
	}
	return unix.Close(fd)
}

const (
	// slowInode is more than it takes to make an inode, many times over.
	slowInode = 100 * time.Microsecond
	tryInodes = 32
	maxMoves  = 8
)

// moveAway has inodes made elsewhere if they take long. ext4 gives none a number that was given up in the last five minutes, and
// for each searches anew past all of those in the block group of the directory it is made in (recently_deleted in
// fs/ext4/ialloc.c): where somebody has just deleted some thousands, a file takes twenty times as long.
func (m *maker) moveAway(took time.Duration) {
	m.made++
	m.took += took
	if m.made < tryInodes {
		return
	}
	slow := m.took > tryInodes*slowInode
	m.made, m.took = 0, 0
	if !slow || m.moved == maxMoves {
		return
	}
	m.moved++
	fd, err := makeApart(m.fd)
	if err != nil {
		m.moved = maxMoves
		return
	}
	m.leaveApart()
	m.apart = fd
}

func (m *maker) leaveApart() {
	if m.apart != m.fd {
		_ = unix.Close(m.apart)
		m.apart = m.fd
	}
}

// topDir is FS_TOPDIR_FL of linux/fs.h.
const topDir = 0x20000

// makeApart makes a directory in an open one whose inodes are in another block group, where the file system is ext4: those in a
// directory that is marked as the top of a hierarchy are put where few others are, and the name decides among such places
// (find_group_orlov in the same file).
func makeApart(dir int) (int, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(dir, &fs); err != nil {
		return -1, err
	}
	if fs.Type != unix.EXT4_SUPER_MAGIC {
		return -1, errors.ErrUnsupported
	}
	flags, err := unix.IoctlGetInt(dir, unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(dir, unix.FS_IOC_SETFLAGS, flags|topDir)
	}
	name := "apart-" + rand.Text()
	if err == nil {
		err = unix.Mkdirat(dir, name, 0o700)
	}
	if err != nil {
		return -1, err
	}
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func (m *maker) inode(dir int, name string, how int, mode os.FileMode) (int, error) {
	return ignoringEINTR(func() (int, error) {
		return unix.Openat(dir, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|how, uint32(mode))
	})
}

// linkNew gives an open inode that has no name one in an open directory, in which there is none of that name (open(2)).
func linkNew(fd, dir int, as string) error {
	// Linux 6.10 lets everybody name what they have opened; before, only who may read everything.
	if err := unix.Linkat(fd, "", dir, as, unix.AT_EMPTY_PATH); err == nil || errors.Is(err, unix.EEXIST) {
		return err
	}
	return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), dir, as, unix.AT_SYMLINK_FOLLOW)
}

// make makes a file, without a name or with one directly in staging that is this program's own.
func (m *maker) make(s *small) error {
	if m.dir == nil {
		if err := m.open(); err != nil {
			return err
		}
	}
	dir, name, how := m.fd, s.item.at, unix.O_CREAT|unix.O_EXCL
	if m.nameless {
		dir, name, how = m.apart, ".", unix.O_TMPFILE
	}
	began := time.Now()
	fd, err := m.inode(dir, name, how, s.mode)
	if err == nil && m.nameless {
		m.moveAway(time.Since(began))
	}
	if err == nil {
		err = m.fill(fd, s)
		if err == nil && m.nameless {
			s.item.fd, s.item.nameless = fd, true
			return nil
		}
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return &os.PathError{Op: "making a file", Path: s.item.at, Err: err}
	}
	return nil
}

func (m *maker) fill(fd int, s *small) error {
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
	if m.nameless {
		return setTime(fd, "", s.modTime, unix.AT_EMPTY_PATH)
	}
	return setTime(m.fd, s.item.at, s.modTime, unix.AT_SYMLINK_NOFOLLOW)
}

func setTime(fd int, name string, at time.Time, how int) error {
	t := unix.NsecToTimespec(at.UnixNano())
	return unix.UtimesNanoAt(fd, name, []unix.Timespec{t, t}, how)
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
