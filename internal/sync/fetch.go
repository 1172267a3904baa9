package sync

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
)

// A chunk is received, verified and landed before the next: what an interrupted transfer has to repeat is bounded, and
// so is the room that staging takes.
const (
	chunkFiles = 2000
	chunkBytes = 256 << 20
)

// chunk returns the first items of a plan that go in one transfer, at least one.
func chunk(items []item) []item {
	files, size := 0, int64(0)
	for i, it := range items {
		files += len(it.Files)
		size += it.Size
		if i > 0 && (files > chunkFiles || size > chunkBytes) {
			return items[:i]
		}
	}
	return items
}

// staged is an item that has been received, whole, into staging.
type staged struct {
	item
	at   string            // its name below the destination
	sums map[string]string // SHA-256 of each file by name
}

// fetchArgv is the one program that hands the content over. Names come on its standard input.
func fetchArgv(o Options) []string {
	return []string{
		"env", "LC_ALL=C", "tar", "--create", "--file=-", "--format=gnu", "--blocking-factor=64",
		"--owner=0", "--group=0", "--numeric-owner", "--no-recursion", "--hard-dereference", "--warning=no-file-ignored",
		"--directory=" + findRoot(o.GuestDir), "--null", "--no-unquote", "--verbatim-files-from", "--files-from=-",
	}
}

// receiver takes one transfer into staging.
type receiver struct {
	dest   *os.Root
	o      Options
	items  []staged
	want   map[string]place
	tell   meter
	buffer []byte
}

type place struct {
	item  int
	entry entry
}

// fetch receives items into staging, which is empty. It returns those of which every file has come in the size that was
// listed; the others are left out, to be tried again.
func fetch(ctx context.Context, r Runner, o Options, dest *os.Root, items []item, tell meter) ([]staged, error) {
	rc := &receiver{dest: dest, o: o, want: map[string]place{}, tell: tell, buffer: make([]byte, 128<<10)}
	var names bytes.Buffer
	limit := int64(1 << 20) // the archive's end and padding, generously
	for i, it := range items {
		s := staged{item: it, at: path.Join(stagingDir, fmt.Sprint(i)), sums: map[string]string{}}
		for _, d := range it.Dirs {
			if err := dest.Mkdir(s.place(d), 0o755); err != nil {
				return nil, err
			}
		}
		for _, e := range it.Files {
			rc.want[e.Name] = place{i, e}
			names.WriteString("./" + e.Name + "\x00")
			limit += e.Size + 4<<10 // header, long name, padding
		}
		rc.items = append(rc.items, s)
	}
	if len(rc.want) > 0 {
		if err := rc.run(ctx, r, &names, limit); err != nil {
			return nil, err
		}
	}
	var whole []staged
	for _, s := range rc.items {
		if len(s.sums) == len(s.Files) {
			whole = append(whole, s)
		}
	}
	return whole, nil
}

// place returns where a member of an item is staged.
func (s staged) place(name string) string {
	return s.at + strings.TrimPrefix(name, s.Name)
}

func (rc *receiver) run(ctx context.Context, r Runner, names io.Reader, limit int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	var complaints complaint
	parsed := make(chan error, 1)
	go func() {
		in := io.LimitReader(pr, limit)
		err := rc.receive(tar.NewReader(in))
		if err == nil {
			_, err = io.Copy(io.Discard, in) // padding after the archive's end
		}
		pr.CloseWithError(errOver)
		parsed <- err
	}()
	exit, err := stream(ctx, r, guest.Cmd{Argv: fetchArgv(rc.o), Stdin: names}, pw, &complaints)
	if err != nil {
		pw.CloseWithError(err)
	} else {
		_ = pw.Close()
	}
	local := <-parsed
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(local, errHost):
		return local
	case errors.Is(err, errOver) && local != nil:
		return fmt.Errorf("receiving from the outbox: %w", local)
	case errors.Is(err, errOver):
		return fmt.Errorf("receiving from the outbox: the guest sends more than the %d bytes it was asked for", limit)
	case err != nil:
		return fmt.Errorf("receiving from the outbox: %w", err)
	case exit > 2: // 1, 2: files changed or went away meanwhile
		return hint.Errorf("The guest needs GNU tar.",
			"receiving from the outbox: tar exited with %d: %s", exit, complaints.String())
	case local != nil:
		return fmt.Errorf("receiving from the outbox: %w: %s", local, complaints.String())
	}
	return nil
}

var (
	errOver = errors.New("the transfer is over")
	errHost = errors.New("the host cannot keep it")
)

// receive takes each file that was asked for once, in the size that was listed. It skips whatever else is there.
func (rc *receiver) receive(archive *tar.Reader) error {
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(h.Name, "./")
		p, ok := rc.want[name]
		if !ok || h.Typeflag != tar.TypeReg || h.Size != p.entry.Size {
			continue
		}
		delete(rc.want, name)
		s := &rc.items[p.item]
		sum, err := rc.file(archive, s.place(name), p.entry)
		if err != nil {
			return err
		}
		s.sums[name] = sum
		rc.tell(s.Name, 0, len(s.sums) == len(s.Files))
	}
}

// file writes one staged file and returns its SHA-256.
func (rc *receiver) file(content io.Reader, at string, e entry) (sum string, err error) {
	f, err := rc.dest.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", errors.Join(errHost, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = errors.Join(errHost, cerr)
		}
	}()
	h := sha256.New()
	for {
		n, rerr := content.Read(rc.buffer)
		if n > 0 {
			h.Write(rc.buffer[:n])
			if _, werr := f.Write(rc.buffer[:n]); werr != nil {
				return "", errors.Join(errHost, werr)
			}
			rc.tell(path.Base(e.Name), int64(n), false)
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			return "", rerr
		}
	}
	err = errors.Join(f.Chmod(hostMode(e, rc.o)), quarantine(f, rc.o.Agent))
	if err == nil {
		t := e.MTime.time()
		err = rc.dest.Chtimes(at, t, t)
	}
	if err != nil {
		return "", errors.Join(errHost, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// syncWorkers flush at the same time: file systems make one commit of several, and a commit is what takes time.
const syncWorkers = 32

// makeDurable flushes what has been received to the disk.
func makeDurable(dest *os.Root, items []staged) error {
	names := make(chan string)
	failed := make(chan error, syncWorkers)
	for range syncWorkers {
		go func() {
			var errs []error
			for name := range names {
				f, err := dest.Open(name)
				if err == nil {
					err = errors.Join(f.Sync(), f.Close())
				}
				errs = append(errs, err)
			}
			failed <- errors.Join(errs...)
		}()
	}
	for _, s := range items {
		for _, e := range s.Files {
			names <- s.place(e.Name)
		}
	}
	close(names)
	var errs []error
	for range syncWorkers {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

// hostMode is what a guest's file may be on the host: readable, never setuid, executable only where that is wanted.
func hostMode(e entry, o Options) os.FileMode {
	if e.Mode&0o100 != 0 && (o.Executable || runtime.GOOS == "darwin") {
		return 0o755
	}
	return 0o644
}
