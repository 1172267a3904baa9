package outboxer

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

// batchBytes is how much of a listing goes in one frame, about.
const batchBytes = 32 << 10

// list lists the outbox, or a bundle in it, and says so.
func (s *server) list(number uint32, bundle string) {
	l := newLister(s, number)
	more := l.run(bundle, nil)
	l.end(more)
	s.out.flush()
}

// lister sends entries as they are found: who asks takes some while others are looked for.
type lister struct {
	s      *server
	number uint32
	kind   byte
	left   int // entries that may still be sent
	before wire.Entry
	batch  []byte
}

func newLister(s *server, number uint32) *lister {
	return &lister{s: s, number: number, kind: wire.Entries, left: s.box.MaxEntries + 1}
}

// run walks the outbox, or what lies in it under a name, and tells whether there was more than is taken. entering,
// unless nil, is told each directory before it is read.
func (l *lister) run(name string, entering func(name string, dir *os.File)) (more bool) {
	root, err := openRoot(l.s.box.Dir)
	if err != nil {
		// There is none, or it is something else than a directory.
		if e, err := statEntry(unix.AT_FDCWD, l.s.box.Dir, ""); err == nil && name == "" {
			l.send(&e)
		}
		return false
	}
	defer root.Close()
	if name == "" {
		if e, _, err := fstatEntry(int(root.Fd()), ""); err == nil {
			l.send(&e)
		}
		return !l.walk(root, "", 0, entering)
	}
	return !l.subtree(root, name, entering)
}

// subtree sends what lies under a name, and itself. It returns false if that was too much.
func (l *lister) subtree(root *os.File, name string, entering func(string, *os.File)) bool {
	dir, err := openBeneath(root, path.Dir(name), unix.O_DIRECTORY)
	if err != nil {
		return true // gone
	}
	defer dir.Close()
	e, err := statEntry(int(dir.Fd()), path.Base(name), name)
	if err != nil {
		return true
	}
	if !l.send(&e) {
		return false
	}
	if e.Kind != 'd' {
		return true
	}
	sub, err := openBeneath(dir, path.Base(name), unix.O_DIRECTORY)
	if err != nil {
		return true
	}
	defer sub.Close()
	return l.walk(sub, name, strings.Count(name, "/")+1, entering)
}

// walk sends what is in a directory, which lies below depth others. It returns false if that was too much.
func (l *lister) walk(dir *os.File, name string, depth int, entering func(string, *os.File)) bool {
	if entering != nil {
		entering(name, dir)
	}
	fd, under := int(dir.Fd()), name
	if under != "" {
		under += "/"
	}
	for {
		names, err := dir.Readdirnames(1024)
		for _, n := range names {
			e, err := statEntry(fd, n, under+n)
			if err != nil {
				continue // gone meanwhile
			}
			if !l.send(&e) {
				return false
			}
			if e.Kind == 'd' && depth <= l.s.box.MaxDepth && !l.below(dir, n, e.Name, depth, entering) {
				return false
			}
		}
		if err != nil || len(names) == 0 {
			return true // io.EOF, or it cannot be read: its own entry has been sent
		}
	}
}

func (l *lister) below(dir *os.File, base, name string, depth int, entering func(string, *os.File)) bool {
	sub, err := openBeneath(dir, base, unix.O_DIRECTORY)
	if err != nil {
		return true
	}
	defer sub.Close()
	return l.walk(sub, name, depth+1, entering)
}

func (l *lister) send(e *wire.Entry) bool {
	if e.Name != "" {
		if l.left--; l.left <= 0 {
			return false
		}
	}
	if len(l.batch) == 0 && l.kind == wire.Entries {
		l.batch = wire.AppendUint(l.batch, uint64(l.number))
	}
	l.batch = wire.AppendEntry(l.batch, &l.before, e)
	l.before = *e
	if len(l.batch) >= batchBytes {
		l.flush()
	}
	return true
}

func (l *lister) flush() {
	if len(l.batch) > 0 {
		l.s.out.frame(l.kind, l.batch)
		l.s.out.flush()
		l.batch, l.before = l.batch[:0], wire.Entry{}
	}
}

func (l *lister) end(more bool) {
	l.flush()
	flag := uint64(0)
	if more {
		flag = 1
	}
	l.s.out.frame(wire.End, wire.AppendUint(wire.AppendUint(nil, uint64(l.number)), flag))
}

// openRoot opens the outbox. That its name is a link is its owner's affair no more than anybody's: it is not followed.
func openRoot(dir string) (*os.File, error) {
	fd, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), dir), nil
}

func openDir(dir string) (fd int, err error) {
	err = ignoringEINTR(func() error {
		fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fd, nil
}

func statEntry(dir int, name, full string) (wire.Entry, error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error {
		return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}); err != nil {
		return wire.Entry{}, err
	}
	e := wire.EntryOf(full, &st)
	if e.Kind == 'l' {
		b := make([]byte, 4096)
		if n, err := unix.Readlinkat(dir, name, b); err == nil {
			e.Target = string(b[:n])
		}
	}
	return e, nil
}

// fstatEntry also returns how many blocks of 512 bytes the file takes.
func fstatEntry(f int, full string) (wire.Entry, int64, error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(f, &st) }); err != nil {
		return wire.Entry{}, 0, err
	}
	return wire.EntryOf(full, &st), st.Blocks, nil
}

// ignoringEINTR repeats a call that a signal has interrupted.
func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
