package sync

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

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
func chunk(items []Item) []Item {
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

// fetchArgv is the one program that hands the content over. Names come on its standard input.
func fetchArgv(o Options) []string {
	return []string{
		"env", "LC_ALL=C", "tar", "--create", "--file=-", "--format=gnu", "--blocking-factor=64",
		"--owner=0", "--group=0", "--numeric-owner", "--no-recursion", "--hard-dereference", "--warning=no-file-ignored",
		"--directory=" + findRoot(o.GuestDir), "--null", "--no-unquote", "--verbatim-files-from", "--files-from=-",
	}
}

// Fetch transfers items by tar, some at a time, and lists the outbox after each transfer: an item is whole if both
// listings agree about it.
func (t *tarTransport) Fetch(ctx context.Context, items []Item, into *Staging) error {
	for first := 0; first < len(items); {
		todo := chunk(items[first:])
		if err := t.transfer(ctx, todo, first, into); err != nil {
			return err
		}
		l, err := t.List(ctx)
		if err != nil {
			return err
		}
		err = judge(l, t.o, todo, first, into, func(i int) bool {
			return slices.ContainsFunc(todo[i].Files, func(e Entry) bool { return l.Open[e.Name] })
		})
		if err != nil {
			return err
		}
		first += len(todo)
	}
	return nil
}

// receiver takes one transfer into staging.
type receiver struct {
	o      Options
	into   *Staging
	want   map[string]place
	buffer []byte
}

type place struct {
	item, file int
	size       int64
}

// transfer receives items, of which the first has an index in staging.
func (t *tarTransport) transfer(ctx context.Context, items []Item, first int, into *Staging) error {
	rc := &receiver{o: t.o, into: into, want: map[string]place{}, buffer: make([]byte, 128<<10)}
	var names bytes.Buffer
	limit := int64(1 << 20) // the archive's end and padding, generously
	for i, it := range items {
		for j, e := range it.Files {
			rc.want[e.Name] = place{first + i, j, e.Size}
			names.WriteString("./" + e.Name + "\x00")
			limit += e.Size + 4<<10 // header, long name, padding
		}
	}
	if len(rc.want) == 0 {
		return nil
	}
	return rc.run(ctx, t.r, &names, limit)
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
	exit, err := stream(ctx, r, guest.Cmd{Argv: fetchArgv(rc.o), Stdin: names}, pw, &complaints,
		func(n int) time.Duration { return earned(int64(n), 0) })
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

var errOver = errors.New("the transfer is over")

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
		if !ok || h.Typeflag != tar.TypeReg || h.Size != p.size {
			continue
		}
		delete(rc.want, name)
		f, err := rc.into.Create(p.item, p.file)
		if err != nil {
			return err
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{f}, archive, rc.buffer); err != nil {
			return errors.Join(err, f.Drop())
		}
		if err := f.Done(); err != nil {
			return err
		}
	}
}
