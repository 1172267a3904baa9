package sync

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sharedOutbox is an outbox that is a folder of the host, into which a test writes as a guest would.
func (b *outbox) overShare() Transport {
	b.Helper()
	t, err := OverShare(b.dir, b.o)
	b.must(err)
	b.Cleanup(func() { b.must(t.Close()) })
	return t
}

// shared makes one pass over the folder, after what was written to it last has settled.
func (b *outbox) shared() Report {
	b.Helper()
	time.Sleep(2 * settled)
	r, err := Once(b.Context(), b.overShare(), b.o, nil)
	b.must(err)
	return r
}

// vault is a directory with a secret of the host, of which the kernel tells whoever looks into it.
type vault struct {
	dir, secret string
	events      int // inotify
}

func newVault(b *outbox) vault {
	b.Helper()
	v := vault{dir: filepath.Join(filepath.Dir(b.o.State), "vault")}
	v.secret = filepath.Join(v.dir, "file")
	b.must(os.MkdirAll(v.dir, 0o755))
	b.must(os.WriteFile(v.secret, []byte(canary), 0o600))
	var err error
	v.events, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	b.must(err)
	b.Cleanup(func() { _ = unix.Close(v.events) })
	const any = unix.IN_OPEN | unix.IN_ACCESS | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVE | unix.IN_CREATE | unix.IN_DELETE
	for _, p := range []string{v.dir, v.secret} {
		_, err := unix.InotifyAddWatch(v.events, p, any)
		b.must(err)
	}
	return v
}

// untouched fails if anybody has opened, read, listed or changed the secret or its directory.
func (v vault) untouched(b *outbox) {
	b.Helper()
	buffer := make([]byte, 4096)
	n, err := unix.Read(v.events, buffer)
	if errors.Is(err, unix.EAGAIN) {
		return
	}
	b.must(err)
	b.Errorf("the canary was touched: %#x", binary.NativeEndian.Uint32(buffer[4:min(n, 8)]))
}

// swaps is how often a path is swapped while it is copied.
func swaps(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("CAL_TEST_OUTBOX_SWAPS"))
	if err != nil {
		n = 300
	}
	if testing.Short() {
		n = min(n, 50)
	}
	t.Logf("%d swaps (CAL_TEST_OUTBOX_SWAPS)", n)
	return n
}

// TestSharedPathSwappedForALink has a guest make of a file, and of the directory it lies in, links to a secret of the
// host and FIFOs, over and over, while passes are made. What lands is what the guest wrote, or nothing.
func TestSharedPathSwappedForALink(t *testing.T) {
	t.Parallel()
	b := newOutbox(t)
	v := newVault(b)
	content := strings.Repeat("harmless", 64<<10)
	dir, file := filepath.Join(b.dir, "dir"), filepath.Join(b.dir, "dir", "file")
	wanted := int64(swaps(t))
	ctx, stop := context.WithCancel(t.Context())
	var swapped atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			_ = os.MkdirAll(dir, 0o755)
			_ = os.WriteFile(file, []byte(content), 0o644)
			time.Sleep(settled + time.Duration(n%5)*2*time.Millisecond) // for it to be taken, and then swapped in the midst of that
			for i := range 200 {
				switch (n + i) % 4 {
				case 0:
					_ = os.Rename(file, file+"-away")
					_ = os.Symlink(v.secret, file)
					_ = os.Remove(file)
					_ = os.Rename(file+"-away", file)
				case 1:
					_ = os.Rename(dir, dir+"-away")
					_ = os.Symlink(v.dir, dir)
					_ = os.Remove(dir)
					_ = os.Rename(dir+"-away", dir)
				case 2:
					_ = os.Rename(file, file+"-away")
					_ = syscall.Mkfifo(file, 0o644)
					_ = os.Remove(file)
					_ = os.Rename(file+"-away", file)
				case 3:
					_ = os.Link(file, file+"-2")
					_ = os.Remove(file + "-2")
				}
				swapped.Add(1)
			}
			_ = os.RemoveAll(dir)
		}
	}()
	passes, landedIn := 0, 0
	for swapped.Load() < wanted || passes < 10 {
		b.put(fmt.Sprint("good", passes), "good")
		r, err := Once(ctx, b.overShare(), b.o, nil)
		b.must(err)
		passes++
		for _, a := range r.Landed {
			if !strings.HasPrefix(a.Name, "good") {
				landedIn++
			}
		}
	}
	stop()
	<-ended
	v.untouched(b)
	t.Logf("%d swaps, %d passes, %d of which landed what was swapped", swapped.Load(), passes, landedIn)
	b.must(filepath.WalkDir(b.o.Dest, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		got, err := os.ReadFile(p)
		if string(got) != content && string(got) != "good" {
			t.Errorf("%s has %d bytes that are not the guest's file", p, len(got))
		}
		return err
	}))
}

// TestSharedPathSwappedWhileItIsCopied swaps the path of a file, or the directory it lies in, for a link to a secret of the
// host once in each copy of it.
func TestSharedPathSwappedWhileItIsCopied(t *testing.T) {
	t.Parallel()
	b := newOutbox(t)
	v := newVault(b)
	content := strings.Repeat("harmless", 16<<10)
	dir, file := filepath.Join(b.dir, "dir"), filepath.Join(b.dir, "dir", "file")
	tr := b.overShare().(*shareTransport)
	b.must(os.MkdirAll(filepath.Join(b.o.Dest, stagingDir), 0o700))
	dest, err := os.OpenRoot(b.o.Dest)
	b.must(err)
	defer dest.Close()
	verdicts := map[verdict]int{}
	for i := range swaps(t) {
		b.put("dir/file", content)
		l, err := tr.List(t.Context())
		b.must(err)
		l.Open = nil // it has not settled, and is taken all the same
		p := makePlan(l, nil, usage{}, tr.o)
		if len(p.Fetch) != 1 {
			t.Fatalf("%+v", p)
		}
		begin, swapped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(swapped)
			<-begin
			for spin := 0; spin < i%64*500; spin++ { // at another instant each time
				_ = spin
			}
			if i%2 == 0 {
				_ = os.Remove(file)
				_ = os.Symlink(v.secret, file)
			} else {
				_ = os.Rename(dir, dir+"-away")
				_ = os.Symlink(v.dir, dir)
			}
		}()
		s := newStaging(t.Context(), dest, tr.o, p.Fetch, func(string, int64, bool) {}, func([]*staged) error { return nil })
		close(begin)
		b.must(tr.Fetch(t.Context(), p.Fetch, s))
		verdicts[s.items[0].verdict]++
		if got, err := dest.ReadFile(s.items[0].at); s.items[0].verdict == whole && (err != nil || string(got) != content) {
			t.Fatalf("whole, but %d bytes, %v", len(got), err)
		} else if strings.Contains(string(got), canary) {
			t.Fatal("the secret is in staging")
		}
		<-swapped
		b.must(dest.RemoveAll(s.items[0].at))
		for _, left := range []string{dir, dir + "-away"} {
			b.must(os.RemoveAll(left))
		}
	}
	v.untouched(b)
	t.Logf("%d whole, %d changed", verdicts[whole], verdicts[changed])
}

// TestSharedFileThatIsStillWritten is not taken before it is closed, however long it is left alone.
func TestSharedFileThatIsStillWritten(t *testing.T) {
	b := newOutbox(t)
	b.put("other", "other")
	f, err := os.Create(filepath.Join(b.dir, "log"))
	b.must(err)
	_, err = f.WriteString("half")
	b.must(err)
	if r := b.shared(); len(r.Landed) != 1 || r.Landed[0].Name != "other" || r.Waiting != 1 {
		t.Errorf("landed %v, %d wait", landed(r), r.Waiting)
	}
	_, err = f.WriteString(" and half")
	b.must(err)
	b.must(f.Close())
	if r := b.shared(); len(r.Landed) != 1 || b.have("log") != "half and half" {
		t.Errorf("landed %v: %q", landed(r), b.have("log"))
	}
}

// TestSharedFileThatNeverRests is not taken; the rest is.
func TestSharedFileThatNeverRests(t *testing.T) {
	b := newOutbox(t)
	b.put("still", "still")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			f, err := os.OpenFile(filepath.Join(b.dir, "grows"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err == nil {
				_, _ = f.WriteString("more")
				_ = f.Close()
			}
		}
	}()
	for range 5 {
		r := b.shared()
		for _, a := range r.Landed {
			if a.Name != "still" {
				t.Errorf("landed %s", a.Name)
			}
		}
	}
	stop()
	<-ended
	if b.have("still") != "still" {
		t.Error("what is still did not land")
	}
}

// TestSharedDevicesAreNotOpened has a FIFO, on which opening would wait, and a device, which opening would tell of.
func TestSharedDevicesAreNotOpened(t *testing.T) {
	b := newOutbox(t)
	b.must(syscall.Mkfifo(filepath.Join(b.dir, "fifo"), 0o644))
	tr := b.overShare().(*shareTransport)
	for _, name := range []string{"fifo", "device", "link", "dir", "dir/../fifo", "../state", "..", ""} {
		switch name {
		case "device":
			if err := syscall.Mknod(filepath.Join(b.dir, name), syscall.S_IFCHR|0o644, 1<<8|5); err != nil {
				t.Skipf("making a device needs root: %v", err)
			}
		case "link":
			b.must(os.Symlink("fifo", filepath.Join(b.dir, name)))
		case "dir":
			b.must(os.Mkdir(filepath.Join(b.dir, name), 0o755))
		}
		if f, err := tr.open(&Entry{Name: name, Kind: 'f'}); err == nil {
			_ = f.Close()
			t.Errorf("%q was opened", name)
		}
	}
}

// TestSharedHostileCorpus makes one pass over all that a hostile guest may put out.
func TestSharedHostileCorpus(t *testing.T) {
	t.Parallel()
	b := newOutbox(t)
	testCorpus(t, b, b.shared)
}

// TestSharedFolderOfManyFiles bounds what is looked at.
func TestSharedFolderOfManyFiles(t *testing.T) {
	b := newOutbox(t)
	b.o.Limits.MaxFiles = 100
	for i := range 300 {
		b.put(fmt.Sprintf("d%d/%d", i%7, i), "x")
	}
	l, err := b.overShare().List(t.Context())
	b.must(err)
	if len(l.Entries) != 100 || !l.More {
		t.Errorf("%d entries, more %v", len(l.Entries), l.More)
	}
}

// TestSharedOutboxIsWatched lands what is put into it, into directories made later as well, and says when it is gone.
func TestSharedOutboxIsWatched(t *testing.T) {
	b := newOutbox(t)
	b.put("before", "before")
	reports, ended := make(chan Report, 10), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	tr := b.overShare()
	go func() { ended <- Watch(ctx, tr, b.o, func(r Report) { reports <- r }, nil) }()
	for _, name := range []string{"before", "after", "new/dir/deep", "new/dir/again"} {
		b.put(name, name)
		for landed := false; !landed; {
			select {
			case r := <-reports:
				for _, a := range r.Landed {
					landed = landed || a.Name == name
				}
			case err := <-ended:
				t.Fatal(err)
			case <-time.After(time.Minute):
				t.Fatalf("%s does not land", name)
			}
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestSharedSparseFile keeps holes.
func TestSharedSparseFile(t *testing.T) {
	b := newOutbox(t)
	p := filepath.Join(b.dir, "sparse")
	b.must(os.WriteFile(p, []byte("begin"), 0o644))
	b.must(os.Truncate(p, 64<<20))
	r := b.shared()
	if len(r.Landed) != 1 || r.Landed[0].Size != 64<<20 {
		t.Fatalf("%+v", r)
	}
	info, err := os.Stat(r.Landed[0].Path)
	b.must(err)
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<20 {
		t.Errorf("it takes %d bytes", used)
	}
}
