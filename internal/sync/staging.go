package sync

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/calmenu/calmenu/internal/inspect"
)

// errHost is what an error of the host's own file system is: it ends a pass, whatever the guest has to say.
var errHost = errors.New("the host cannot keep it")

// hostError is one.
type hostError struct{ error }

func (e hostError) Unwrap() []error { return []error{errHost, e.error} }

// atHost marks an error as the host's.
func atHost(err error) error { return hostError{err} }

// verdict is what became of an item in one fetch.
type verdict int

const (
	changed verdict = iota // or nothing was heard of it: tried again
	whole
	busy
	refused
)

// Staging takes what a transport fetches into new inodes beside the artifacts, hashes it, and lands what is whole.
type Staging struct {
	dir   *os.Root // of what is on its way
	o     Options
	items []staged
	tell  tell
	limit *rate.Limiter // nil: none
	ctx   context.Context
	batch []*staged // received, not handed on yet
	stage backstage
	maker maker
}

// staged is an item on its way.
type staged struct {
	Item
	at      string   // its name in staging
	sums    []string // SHA-256 of each file in hexadecimal digits, "" before it is there
	sum     string   // of all of it, where it is known already
	made    bool     // the directories of a bundle are
	prefix  int64    // bytes of a large file that have come before
	verdict verdict
	reason  string // of a refusal
	mode    os.FileMode
	modTime time.Time
	// warnings tell what of it would run by itself later. It is looked at where it was received, which no guest reaches, and
	// before it has its name.
	warnings []string

	prefixHash hash.Hash // of those

	nameless bool // it has no name in staging, but is open
	fd       int  // then
}

// drop closes an inode that has no name, which is its end if it has got none.
func (s *staged) drop() {
	if s.nameless {
		s.nameless = false
		_ = syscall.Close(s.fd)
	}
}

// batchFiles is how many files are landed and recorded together. Up to three batches of them may be open.
const batchFiles = 128

func newStaging(
	ctx context.Context, dir *os.Root, o Options, items []Item, tell tell, land func([]*staged) error,
) *Staging {
	s := &Staging{ctx: ctx, dir: dir, o: o, tell: tell, items: make([]staged, len(items)), maker: maker{root: dir, agent: o.Agent}}
	s.stage.land, s.stage.buffers = land, make(chan []byte, smallMost)
	s.stage.make = func(f *small) error {
		defer s.stage.free(f.content)
		if err := s.maker.make(f); err != nil {
			return atHost(err)
		}
		return nil
	}
	if o.RateLimit > 0 {
		s.limit = rate.NewLimiter(rate.Limit(o.RateLimit), int(max(o.RateLimit/10, 4<<10)))
	}
	files := 0
	for _, it := range items {
		files += len(it.Files)
	}
	sums := make([]string, files)
	for i, it := range items {
		n := len(it.Files)
		s.items[i] = staged{Item: it, at: strconv.Itoa(i), sums: sums[:n:n]}
		sums = sums[n:]
		if it.Bundle {
			s.items[i].mode = 0o755
		}
		if s.items[i].resumable() {
			s.items[i].at = partPrefix + partKey(&it)
		}
	}
	return s
}

// place returns where a member of an item is staged.
func (s *staged) place(name string) string {
	return s.at + strings.TrimPrefix(name, s.Name)
}

// Create begins a file of an item, both by their index.
func (s *Staging) Create(item, file int) (*Staged, error) {
	it := &s.items[item]
	if err := s.makeDirs(it); err != nil {
		return nil, err
	}
	e := &it.Files[file]
	f := &Staged{of: s, item: it, file: file, entry: e, at: it.place(e.Name), hash: sha256.New()}
	if !it.Bundle && e.Size <= smallFile {
		f.small = s.stage.buffer()
	}
	if f.small != nil {
		return f, nil
	}
	return f, f.inode()
}

func (s *Staging) makeDirs(it *staged) error {
	if it.made {
		return nil
	}
	it.made = true
	for _, d := range it.Dirs {
		if err := s.dir.Mkdir(it.place(d), 0o755); err != nil {
			return atHost(err)
		}
	}
	return nil
}

// Whole says that an item is as it was listed. It counts only if all of its files have come in the size that was listed.
func (s *Staging) Whole(item int) error {
	it := &s.items[item]
	for _, sum := range it.sums {
		if sum == "" {
			return nil
		}
	}
	if err := s.makeDirs(it); err != nil {
		return err
	}
	for _, e := range it.Links { // last: nothing is written through them
		if err := s.dir.Symlink(e.Target, it.place(e.Name)); err != nil {
			return atHost(err)
		}
	}
	it.verdict = whole
	s.batch = append(s.batch, it)
	if len(s.batch) < batchFiles {
		return nil
	}
	return s.hand()
}

// Busy says that a program of the guest still writes to an item.
func (s *Staging) Busy(item int) { s.items[item].verdict = busy }

// Changed says that an item is no longer as it was listed.
func (s *Staging) Changed(item int) { s.items[item].verdict = changed }

// Refuse says that an item cannot be had, and why. The reason is for people; it need not be safe to show.
func (s *Staging) Refuse(item int, reason string) {
	s.items[item].verdict, s.items[item].reason = refused, display(reason)
}

// hand has what has been received landed.
func (s *Staging) hand() error {
	batch := s.batch
	s.batch = nil
	if len(batch) == 0 {
		return nil
	}
	return s.stage.add(step{batch: batch})
}

// flush returns when what has been received has landed.
func (s *Staging) flush() error {
	err := s.hand()
	return errors.Join(err, s.stage.wait())
}

// Staged is a file being received.
type Staged struct {
	of    *Staging
	item  *staged
	file  int
	entry *Entry
	at    string
	f     *os.File // nil: it is received in memory
	small []byte
	size  int64
	hash  hash.Hash
}

// Write takes the next bytes. More than were listed are an error, which concerns this file alone.
func (f *Staged) Write(b []byte) (int, error) {
	if f.size+int64(len(b)) > f.entry.Size {
		return 0, errTooLong
	}
	if err := f.keep(b); err != nil {
		return 0, atHost(err)
	}
	f.size += int64(len(b))
	f.of.tell(path.Base(f.entry.Name), int64(len(b)), false)
	return len(b), f.of.slow(len(b))
}

// slow waits as long as the rate limit asks for after so many bytes. Whoever sends waits too, when nobody takes.
func (s *Staging) slow(n int) error {
	if s.limit == nil {
		return nil
	}
	for n > 0 {
		some := min(n, s.limit.Burst())
		if err := s.limit.WaitN(s.ctx, some); err != nil {
			return err
		}
		n -= some
	}
	return nil
}

var errTooLong = errors.New("more bytes than were listed")

// Hole takes a hole as the file's next bytes: zeros that need no room on the disk.
func (f *Staged) Hole(size int64) error {
	if size < 0 || f.size+size > f.entry.Size || f.size+size < f.size {
		return errTooLong
	}
	if err := f.inode(); err != nil {
		return err
	}
	for left := size; left > 0; {
		n := min(left, int64(len(zeros)))
		f.hash.Write(zeros[:n])
		left -= n
	}
	f.size += size
	if _, err := f.f.Seek(f.size, io.SeekStart); err != nil {
		return atHost(err)
	}
	if err := f.f.Truncate(f.size); err != nil {
		return atHost(err)
	}
	f.of.tell(path.Base(f.entry.Name), size, false)
	return nil
}

var zeros [64 << 10]byte

// Clone has fill put the content into the inode by itself, as by FICLONE, and reads it for its hash and its size.
func (f *Staged) Clone(ctx context.Context, fill func(*os.File) error) error {
	if err := f.inode(); err != nil {
		return err
	}
	if err := fill(f.f); err != nil {
		return err
	}
	if _, err := f.f.Seek(0, io.SeekStart); err != nil {
		return atHost(err)
	}
	b := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.f.Read(b)
		f.size += int64(n)
		if f.size > f.entry.Size {
			return errTooLong
		}
		f.hash.Write(b[:n])
		f.of.tell(path.Base(f.entry.Name), int64(n), false)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return atHost(err)
		}
	}
}

// Done says that all has come. A file of another size than was listed is dropped.
func (f *Staged) Done() error {
	if f.size != f.entry.Size {
		return f.Drop()
	}
	t, mode := f.entry.MTime.Time(), hostMode(f.entry, f.of.o)
	if err := f.make(mode, t); err != nil {
		return err
	}
	if !f.item.Bundle {
		f.item.mode = mode
	}
	if t.After(f.item.modTime) {
		f.item.modTime = t
	}
	f.item.sums[f.file] = hex.EncodeToString(f.hash.Sum(nil))
	f.of.tell(f.item.Name, 0, f.file == len(f.item.Files)-1)
	return nil
}

// make looks at the file, and has it made with this mode and time.
func (f *Staged) make(mode os.FileMode, t time.Time) error {
	var content io.ReaderAt = f.f
	if f.f == nil {
		content = bytes.NewReader(f.small)
	}
	if !f.item.Bundle {
		f.item.warnings = inspect.File(f.item.Name, content, f.size, inspect.Limits{})
	}
	if f.f == nil {
		content := f.small
		f.small = nil
		return f.of.stage.add(step{file: &small{item: f.item, content: content, mode: mode, modTime: t}})
	}
	err := errors.Join(f.f.Chmod(mode), quarantine(f.f, f.of.o.Agent), f.f.Close())
	if err == nil {
		err = f.of.dir.Chtimes(f.at, t, t)
	}
	if err != nil {
		return atHost(err)
	}
	return nil
}

// Drop forgets what has come.
func (f *Staged) Drop() error {
	if f.f == nil {
		f.of.stage.free(f.small)
		f.small = nil
		return nil
	}
	if err := errors.Join(f.f.Close(), f.of.dir.Remove(f.at)); err != nil {
		return atHost(err)
	}
	return nil
}

// hostMode is what a guest's file may be on the host: readable, never setuid, executable only where that is wanted.
func hostMode(e *Entry, o Options) os.FileMode {
	if e.Mode&0o100 != 0 && (o.Executable || runtime.GOOS == "darwin") {
		return 0o755
	}
	return 0o644
}
