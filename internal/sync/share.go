package sync

import (
	"context"
	"fmt"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/clone"
)

// shareTransport brings in an outbox that is a folder of the host into which the guest writes. Everything in it may be
// something else at the next instant: every name is opened by the handle of the directory it lies in, never through a
// link, and what was opened is looked at before it is read. What comes to staging is a copy in an inode of its own.
type shareTransport struct {
	dir *os.File
	o   Options
}

// OverShare is the transport by a staging folder of the host, which only the guest writes to and only this reads.
func OverShare(dir string, o Options) (Transport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the shared outbox: %w", err)
	}
	return &shareTransport{dir: os.NewFile(uintptr(fd), dir), o: o}, nil
}

func (t *shareTransport) Close() error { return t.dir.Close() }

// namesAtOnce is how many names of a directory are read at a time: one may have millions.
const namesAtOnce = 512

// List looks at everything that is in the folder.
func (t *shareTransport) List(ctx context.Context) (Listing, error) {
	l := lister{ctx: ctx, o: t.o, now: time.Now(), listing: Listing{Open: map[string]bool{}}}
	root, err := statHandle(t.dir, "")
	if err != nil {
		return Listing{}, fmt.Errorf("looking at the shared outbox: %w", err)
	}
	if root.Links == 0 { // it was deleted, and may be another one by now
		return Listing{}, fmt.Errorf("looking at the shared outbox: %w", os.ErrNotExist)
	}
	l.listing.Root = &root
	d, err := openDir(int(t.dir.Fd()), ".")
	if err == nil {
		err = l.directory(d, "", 0)
	}
	if err != nil {
		return Listing{}, fmt.Errorf("looking at the shared outbox: %w", err)
	}
	return l.listing, nil
}

// lister is one look at the folder.
type lister struct {
	ctx     context.Context
	o       Options
	now     time.Time
	listing Listing
	full    bool
}

// directory lists an open directory, which it closes, and those below it.
func (l *lister) directory(d *os.File, name string, depth int) error {
	defer func() { _ = d.Close() }()
	for {
		names, err := d.Readdirnames(namesAtOnce)
		for _, n := range names {
			if err := l.entry(d, path.Join(name, n), n, depth); err != nil || l.full {
				return err
			}
		}
		if err != nil || len(names) == 0 {
			return nil //nolint:nilerr // the end, or a directory that is gone by now
		}
	}
}

func (l *lister) entry(d *os.File, name, last string, depth int) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	e, err := statAt(int(d.Fd()), last)
	if err != nil {
		return nil //nolint:nilerr // gone by now
	}
	if len(l.listing.Entries) >= l.o.Limits.MaxFiles {
		l.full, l.listing.More = true, true
		return nil
	}
	e.Name = name
	l.listing.Entries = append(l.listing.Entries, e)
	if age := l.now.Sub(stampTime(e.CTime)); e.Kind == 'f' && age >= 0 && age < settled {
		l.listing.Open[name] = true
	}
	if e.Kind != 'd' || depth > l.o.Limits.MaxDepth { // one more than allowed, so that it is seen and refused
		return nil
	}
	below, err := openDir(int(d.Fd()), last)
	if err != nil {
		return nil //nolint:nilerr // gone, or no directory any more
	}
	return l.directory(below, name, depth+1)
}

// Fetch copies items, some at a time, and lists the folder after each time: an item is whole if both listings agree about
// it, and no file of it was open for writing before it was copied or after.
func (t *shareTransport) Fetch(ctx context.Context, items []Item, into *Staging) error {
	for first := 0; first < len(items); {
		todo := chunk(items[first:])
		writing := map[int]bool{}
		for i, it := range todo {
			busy, err := t.copy(ctx, it, first+i, into)
			if err != nil {
				return err
			}
			writing[i] = busy
		}
		l, err := t.List(ctx)
		if err != nil {
			return err
		}
		err = judge(l, t.o, todo, first, into, func(i int) bool { return writing[i] })
		if err != nil {
			return err
		}
		first += len(todo)
	}
	return nil
}

// copy copies the files of an item, as long as they are what was listed. It reports whether one is being written to.
func (t *shareTransport) copy(ctx context.Context, it Item, item int, into *Staging) (writing bool, err error) {
	for i := range it.Files {
		e := &it.Files[i]
		f, err := t.open(e)
		if err != nil {
			return false, ctx.Err() // not what was listed any more: the item is not whole
		}
		writing, err := t.copyFile(ctx, f, e, item, i, into)
		_ = f.Close()
		if err != nil || writing {
			return writing, err
		}
	}
	return false, nil
}

func (t *shareTransport) copyFile(
	ctx context.Context, f *os.File, e *Entry, item, file int, into *Staging,
) (writing bool, err error) {
	if writtenTo(f) {
		return true, nil
	}
	s, err := into.Create(item, file)
	if err != nil {
		return false, err
	}
	err = s.Clone(ctx, func(to *os.File) error {
		_, err := clone.Into(to, f, e.Size)
		return err
	})
	switch after, serr := statHandle(f, e.Name); {
	case ctx.Err() != nil:
		return false, s.dropped(ctx.Err())
	case err != nil:
		return false, s.dropped(hostOnly(err))
	case serr != nil, after.Source() != e.Source():
		return false, s.dropped(nil)
	case writtenTo(f):
		return true, s.dropped(nil)
	}
	return false, s.Done()
}

// judge gives the verdict on items that have been transferred, by a listing from after that.
func judge(
	l Listing, o Options, todo []Item, first int, into *Staging, writing func(i int) bool,
) error {
	now := sources(l, o)
	for i, it := range todo {
		switch source, there := now[it.Name]; {
		case !there || source != it.Source:
			into.Changed(first + i)
		case writing(i):
			into.Busy(first + i)
		default:
			if err := into.Whole(first + i); err != nil {
				return err
			}
		}
	}
	return into.flush()
}
