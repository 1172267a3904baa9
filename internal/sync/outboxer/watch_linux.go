package outboxer

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

const (
	// gather is how long news is gathered after the first: programs touch a file several times in a row.
	gather = 5 * time.Millisecond
	// lookAgain is how often everything is listed where not every directory can be watched.
	lookAgain = 2 * time.Second

	watched = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CREATE | unix.IN_DELETE |
		unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK
)

// watch tells what changes, until ctx ends. When it cannot tell any more it lists all, and begins again.
func (s *server) watch(ctx context.Context) {
	for ctx.Err() == nil && s.out.failed() == nil {
		w, err := newWatcher(s)
		if err != nil {
			s.relist(nil)
			pause(ctx, lookAgain)
			continue
		}
		ended := context.AfterFunc(ctx, w.close)
		w.run(ctx)
		ended()
		w.close()
	}
}

// relist sends all there is, in place of all that was told before.
func (s *server) relist(entering func(string, *os.File)) {
	s.out.frame(wire.Reset, nil)
	l := newLister(s, wire.Watched)
	l.end(l.run("", entering))
	s.out.flush()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// watcher watches the directories of one outbox by inotify. A directory is watched before it is read, so that what is put
// into it is seen by one or the other.
type watcher struct {
	s      *server
	fd     *os.File
	dirs   map[int32]string // by watch
	byName map[string]int32
	poor   bool // there are directories that cannot be watched
	root   int32
	put    map[string]bool // names to look at; true: something was closed there, or came by that name
}

func newWatcher(s *server) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &watcher{
		s: s, fd: os.NewFile(uintptr(fd), "inotify"), dirs: map[int32]string{}, byName: map[string]int32{},
		put: map[string]bool{}, root: -1,
	}, nil
}

func (w *watcher) close() { _ = w.fd.Close() }

// add watches an open directory, whatever its name leads to by now.
func (w *watcher) add(name string, dir *os.File) {
	raw, err := w.fd.SyscallConn()
	if err != nil {
		w.poor = true
		return
	}
	var wd int
	err = errors.Join(raw.Control(func(fd uintptr) {
		wd, err = unix.InotifyAddWatch(int(fd), procPath(dir), watched&^unix.IN_DONT_FOLLOW)
	}), err)
	if err != nil {
		w.poor = true
		return
	}
	if name == "" {
		w.root = int32(wd)
	}
	w.dirs[int32(wd)], w.byName[name] = name, int32(wd)
}

// run lists all, then tells what changes. It returns when the outbox itself is another directory, when events were lost,
// or when it is closed.
func (w *watcher) run(ctx context.Context) {
	w.s.relist(w.add)
	if w.root < 0 {
		w.awaitRoot(ctx)
		return
	}
	buffer := make([]byte, 64<<10)
	for ctx.Err() == nil {
		var wait time.Time
		switch {
		case len(w.put) > 0:
			wait = time.Now().Add(gather)
		case w.poor:
			wait = time.Now().Add(lookAgain)
		}
		_ = w.fd.SetReadDeadline(wait)
		n, err := w.fd.Read(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && len(w.put) > 0:
			w.tell()
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.s.relist(nil)
		case err != nil:
			return
		case !w.events(buffer[:n]):
			return
		case len(w.put) >= 256:
			w.tell()
		}
	}
}

// awaitRoot waits until there is an outbox; now and then what there is instead is told again.
func (w *watcher) awaitRoot(ctx context.Context) {
	for range 20 {
		pause(ctx, lookAgain/4)
		if root, err := openRoot(w.s.box.Dir); err == nil {
			_ = root.Close()
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// events takes note of what has happened. It returns false if only a new start helps.
func (w *watcher) events(b []byte) bool {
	for len(b) >= unix.SizeofInotifyEvent {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&b[0])) // aligned: buffer and lengths are
		size := unix.SizeofInotifyEvent + int(e.Len)
		if size > len(b) {
			return false
		}
		name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:size]), "\x00")
		wd, mask := e.Wd, e.Mask
		b = b[size:]
		dir, known := w.dirs[wd]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			return false
		case mask&unix.IN_IGNORED != 0:
			w.forget(wd)
			if wd == w.root {
				return false
			}
			continue
		case !known:
			continue
		case wd == w.root && mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0:
			return false
		case name == "":
			continue // of a directory itself: the one above tells
		}
		full := path.Join(dir, name)
		if mask&unix.IN_ISDIR != 0 && mask&(unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_CREATE) != 0 {
			w.unwatch(full)
		}
		w.put[full] = w.put[full] || mask&(unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO) != 0
	}
	return true
}

func (w *watcher) forget(wd int32) {
	if name, ok := w.dirs[wd]; ok && w.byName[name] == wd {
		delete(w.byName, name)
	}
	delete(w.dirs, wd)
}

// unwatch drops the watches of a directory that is no longer where it was, and of those in it. One that has come is
// watched anew.
func (w *watcher) unwatch(name string) {
	for dir, wd := range w.byName {
		if dir == name || strings.HasPrefix(dir, name+"/") {
			if raw, err := w.fd.SyscallConn(); err == nil {
				_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
			}
			w.forget(wd)
		}
	}
}

// tell looks at the names that something has happened to and tells what they are now.
func (w *watcher) tell() {
	names := w.put
	w.put = map[string]bool{}
	root, err := openRoot(w.s.box.Dir)
	if err != nil {
		return // its own event is on its way
	}
	defer root.Close()
	var gone []byte
	put := newLister(w.s, wire.Watched)
	put.kind = wire.Put
	for name, closed := range names {
		if !w.look(root, name, closed, put) {
			gone = wire.AppendText(gone, name)
			if len(gone) > batchBytes {
				w.s.out.frame(wire.Gone, gone)
				gone = gone[:0]
			}
		}
	}
	if len(gone) > 0 {
		w.s.out.frame(wire.Gone, gone)
	}
	put.flush()
	w.s.out.flush()
}

// look sends what a name is now. It returns false if it is nothing.
func (w *watcher) look(root *os.File, name string, closed bool, put *lister) bool {
	dir, err := openBeneath(root, path.Dir(name), unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer dir.Close()
	e, err := statEntry(int(dir.Fd()), path.Base(name), name)
	if err != nil {
		return false
	}
	put.left = w.s.box.MaxEntries + 1
	switch {
	case e.Kind == 'd':
		if _, ok := w.byName[name]; ok {
			return put.send(&e) // watched already: what is in it tells for itself
		}
		put.subtree(root, name, w.add)
	case !closed && e.Kind == 'f' && e.Links == 1 && w.s.justMade(dir, &e):
		// It will be closed, and then it is of interest. One that was closed is told even if it seems open: the kernel
		// tells of a close before it counts one writer less, and no second event would come.
	default:
		put.send(&e)
	}
	return true
}

// justMade tells whether a file is still open for writing, where that costs little to know.
func (s *server) justMade(dir *os.File, e *wire.Entry) bool {
	f, err := openBeneath(dir, path.Base(e.Name), 0)
	if err != nil {
		return false
	}
	defer f.Close()
	busy, known := leased(int(f.Fd()))
	return known && busy
}

// procPath is a name that leads to an open file, whatever has become of its own.
func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.FormatUint(uint64(f.Fd()), 10) }
