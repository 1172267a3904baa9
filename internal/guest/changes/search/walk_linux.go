package search

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/guest/changes/ext4"
	"github.com/calmenu/calmenu/internal/guest/changes/tally"
)

// walk finds the names of inodes and counts them.
type walk struct {
	changed *ext4.Changed
	homeDir string // absolute
	list    *lister
	found   tally.Home
	system  tally.System
	left    atomic.Int64 // names still to be found
	fresh   int64        // files that changed at or after this (seconds since 1970) are asked for their size
	missed  atomic.Bool  // a folder could not be looked into
	workers int          // how many folders are read at once

	mu   sync.Mutex
	more *sync.Cond
	busy int
	root area
	home area
}

// area is one of the two parts of a file system that are searched.
type area struct {
	fd   int      // of its top
	dirs []string // still to be read, below its top, the next one last
}

// writeback is how long a file's last bytes may wait to be given a place on the disk, and its inode there not know its
// size: Linux writes out what is 30 s old, every 5 s. After it the table is believed.
const writeback = 60 * time.Second

func newWalk(p *place, changed *ext4.Changed, now time.Time, top, repos int, list *lister) *walk {
	w := &walk{
		changed: changed, homeDir: p.homeDir, list: list, found: tally.Home{Top: top, Repos: repos},
		fresh: now.Add(-writeback).Unix(),
		root:  area{fd: p.rootFD, dirs: []string{""}}, home: area{fd: p.homeFD, dirs: []string{""}},
		workers: workers,
	}
	w.more = sync.NewCond(&w.mu)
	for _, in := range changed.All() {
		if in.Type == 'd' {
			w.left.Add(1)
		} else {
			w.left.Add(int64(in.Links))
		}
	}
	// Nobody else meets the tops.
	if changed.Find(p.homeInode) >= 0 {
		w.left.Add(-1)
		w.found.Add("", true, 0)
	}
	if changed.Find(ext4.Root) >= 0 {
		w.left.Add(-1)
		w.system.Add("/", true, 0)
	}
	return w
}

// workers is usually how many folders are read at once: guests have two processors.
const workers = 2

// run looks into folders, those of the home first, until there are no more or all names are found.
func (w *walk) run() {
	var all sync.WaitGroup
	for range w.workers {
		all.Go(func() {
			r := reader{w: w, entries: make([]byte, 64<<10), found: tally.Home{Top: w.found.Top, Repos: w.found.Repos}}
			for a, dir, ok := w.next(); ok; a, dir, ok = w.next() {
				r.read(a, dir)
				w.done(a, r.folders, r.found.GitDirs)
				r.folders = r.folders[:0]
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.found.Merge(&r.found)
			w.system.Merge(&r.system)
		})
	}
	all.Wait()
}

func (w *walk) next() (a *area, dir string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.left.Load() <= 0 {
			w.more.Broadcast()
			return nil, "", false
		}
		for _, a := range []*area{&w.home, &w.root} {
			if n := len(a.dirs); n > 0 {
				dir, a.dirs = a.dirs[n-1], a.dirs[:n-1]
				w.busy++
				return a, dir, true
			}
		}
		if w.busy == 0 {
			w.more.Broadcast()
			return nil, "", false
		}
		w.more.Wait()
	}
}

// done adds the folders that were found in one, and has commits listed as soon as there is a git directory.
func (w *walk) done(a *area, found, gitDirs []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	if len(gitDirs) > 0 && w.list.done == nil {
		w.list.begin(gitDirs[:1:1])
	}
	for _, dir := range found {
		if a == &w.root && dir == "usr" {
			// It is large and changes seldom: whatever else there is goes first.
			a.dirs = append([]string{dir}, a.dirs...)
			continue
		}
		a.dirs = append(a.dirs, dir)
	}
	w.more.Broadcast()
}

// reader is one worker with its buffers and what it counted.
type reader struct {
	w       *walk
	entries []byte
	stat    unix.Statx_t
	folder  tally.Folder // that is being read
	counted int64        // names in it that changed
	folders []string     // in the one that was read
	found   tally.Home
	system  tally.System
}

// read looks through one folder.
func (r *reader) read(a *area, dir string) {
	path := dir
	if path == "" {
		path = "."
	}
	fd, err := unix.Openat2(a.fd, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOATIME,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		// It is gone, replaced, or another file system's.
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) &&
			!errors.Is(err, unix.EXDEV) {
			r.w.missed.Store(true)
		}
		return
	}
	defer func() { _ = unix.Close(fd) }()
	if dir != "" {
		dir += "/"
	}
	r.folder, r.counted = tally.FolderOf(dir), 0
	defer func() { r.w.left.Add(-r.counted) }()
	for {
		n, err := unix.Getdents(fd, r.entries)
		if err != nil {
			r.w.missed.Store(true)
		}
		if err != nil || n <= 0 {
			return
		}
		// struct linux_dirent64: inode, offset, length of the entry, type, name.
		for b := r.entries[:n]; len(b) > 19; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size < 20 || size > len(b) {
				break
			}
			name := b[19:size]
			end := bytes.IndexByte(name, 0)
			if end <= 0 {
				break // the kernel ends every name so
			}
			name = name[:end]
			r.entry(a, fd, dir, binary.NativeEndian.Uint64(b), b[18], name)
			b = b[size:]
		}
	}
}

// entry looks at one name in a folder.
func (r *reader) entry(a *area, fd int, dir string, inode uint64, kind byte, name []byte) {
	if string(name) == "." || string(name) == ".." {
		return
	}
	if kind == unix.DT_DIR {
		below := dir + string(name)
		if a == &r.w.root && r.w.elsewhere(below) {
			return
		}
		r.folders = append(r.folders, below)
	}
	i := r.w.changed.Find(inode)
	if i < 0 {
		return
	}
	in := &r.w.changed.All()[i]
	size := in.Size
	if in.Type == 'f' && in.Change >= r.w.fresh && (in.Size == 0 || in.Write >= r.w.fresh) {
		if now, ok := r.size(fd, name); ok {
			size = now
		}
	}
	r.counted++
	if a == &r.w.root {
		r.system.Add("/"+dir+string(name), in.Type == 'd', size)
	} else {
		r.found.AddIn(r.folder, name, in.Type == 'd', size)
	}
}

// size asks for a file's size. The name is one of r.entries, where a zero byte follows it: there may be tens of thousands to
// ask for, in a guest whose processor is emulated, so nothing is copied for a call and the scheduler is not told of it.
func (r *reader) size(fd int, name []byte) (int64, bool) {
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_STATX_DONT_SYNC
	_, _, errno := unix.RawSyscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), flags,
		unix.STATX_SIZE, uintptr(unsafe.Pointer(&r.stat)), 0)
	return int64(r.stat.Size), errno == 0 && r.stat.Mask&unix.STATX_SIZE != 0
}

// elsewhere tells whether a folder of the root is looked into by somebody else, or not at all.
func (w *walk) elsewhere(dir string) bool {
	switch dir {
	case "proc", "sys", "dev", "run":
		return true
	}
	return "/"+dir == w.homeDir
}
