package sync

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	watchedEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_ATTRIB | unix.IN_ONLYDIR
	// maxWatches bounds how many directories are watched; with more, the folder is looked at every second.
	maxWatches = 2048
)

// Watch has the kernel tell of what the guest does in the folder. Directories are watched by their handles, so that none
// is watched through a link.
func (t *shareTransport) Watch(ctx context.Context, news func(Change)) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return t.poll(ctx, news)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer func() { _ = events.Close() }()
	defer context.AfterFunc(ctx, func() { _ = events.Close() })()
	w := &watches{t: t, fd: fd}
	buffer := make([]byte, 64<<10)
	for dirs := true; ; {
		if dirs && !w.all(ctx) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return t.poll(ctx, news)
		}
		news(Change{Look: true, Dirs: dirs})
		n, err := events.Read(buffer)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("watching the shared outbox: %w", err)
		}
		dirs = ofDirectories(buffer[:n])
	}
}

// ofDirectories tells whether there are events about directories among some, or some were lost.
func ofDirectories(b []byte) bool {
	for len(b) >= unix.SizeofInotifyEvent {
		mask, name := binary.NativeEndian.Uint32(b[4:]), int(binary.NativeEndian.Uint32(b[12:]))
		if mask&(unix.IN_ISDIR|unix.IN_Q_OVERFLOW) != 0 {
			return true
		}
		b = b[min(len(b), unix.SizeofInotifyEvent+name):]
	}
	return false
}

// watches are those of one watch.
type watches struct {
	t  *shareTransport
	fd int
	n  int
}

// all watches every directory there is. It returns false if there are too many, or one cannot be watched.
func (w *watches) all(ctx context.Context) bool {
	w.n = 0
	d, err := openDir(int(w.t.dir.Fd()), ".")
	return err == nil && w.below(ctx, d, 0)
}

func (w *watches) below(ctx context.Context, d *os.File, depth int) bool {
	defer func() { _ = d.Close() }()
	if w.n++; w.n > maxWatches || ctx.Err() != nil {
		return false
	}
	_, err := unix.InotifyAddWatch(w.fd, fmt.Sprintf("/proc/self/fd/%d", d.Fd()), watchedEvents)
	if err != nil {
		return false
	}
	for read := 0; depth <= w.t.o.Limits.MaxDepth && read < w.t.o.Limits.MaxFiles; {
		names, err := d.Readdirnames(namesAtOnce)
		read += len(names)
		for _, n := range names {
			if e, err := statAt(int(d.Fd()), n); err != nil || e.Kind != 'd' {
				continue
			}
			sub, err := openDir(int(d.Fd()), n)
			if err != nil {
				continue // gone by now
			}
			if !w.below(ctx, sub, depth+1) {
				return false
			}
		}
		if err != nil || len(names) == 0 {
			break
		}
	}
	return true
}
