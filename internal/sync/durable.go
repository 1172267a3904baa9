package sync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
)

// intentName is where a batch is noted that is about to land.
const intentName = "landing.jsonl"

// intend notes what is about to land, and keeps the text with each line; nothing when it has, and is in the manifest.
func (m *manifest) intend(lines []line) error {
	text, ends, err := encode(lines)
	if err != nil {
		return err
	}
	from := int64(0)
	for i, end := range ends {
		lines[i].text = text[from:end]
		from = end
	}
	if err := rewriteInPlace(m.intent(), text); err != nil {
		return fmt.Errorf("noting what is about to land: %w", err)
	}
	return nil
}

// rewriteInPlace gives a file another content. It is not emptied in the same breath as it is written: ext4 takes that for
// the way programs replace files that must not be lost, and begins to write them out (auto_da_alloc of ext4(5)). This one
// a crash of the host may take.
func rewriteInPlace(name string, text []byte) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		err = f.Truncate(0)
	}
	if err == nil && len(text) > 0 {
		_, err = f.Write(text)
	}
	return err
}

func (m *manifest) intent() string { return filepath.Join(filepath.Dir(m.path), intentName) }

// recover records what a process that was killed had landed, but not recorded any more.
func (e *engine) recover() error {
	lines, err := readLines(e.manifest.intent())
	if err != nil || len(lines) == 0 {
		return err
	}
	var landed []line
	for _, l := range lines {
		if l.Artifact == nil || checkName(l.Name, e.o.Limits) != "" || e.manifest.known[l.Name].Source == l.Source {
			continue
		}
		if e.holds(l.Name, l.fact().record()) {
			landed = append(landed, l)
		}
	}
	return errors.Join(e.manifest.append(landed...), e.manifest.intend(nil))
}

// holds tells whether the host has an artifact as it landed.
func (e *engine) holds(name string, r record) bool {
	info, err := e.dest.Lstat(name)
	if err != nil || info.IsDir() != r.Bundle || !r.Bundle && info.Size() != r.Size {
		return false
	}
	sum, err := digestOf(e.dest, name, r.Bundle)
	return err == nil && sum == r.SHA256
}

// Flush makes what has landed safe from a crash of the host, and notes that it is. Until then it is as safe as any file
// that was just copied: what a crash takes is noticed, and fetched again if the guest still has it.
func Flush(ctx context.Context, o Options) error { return flush(ctx, o, nil) }

// flush is Flush for some names below the destination, or for all that has landed.
func flush(ctx context.Context, o Options, names []string) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	if err := noteFlushed(ctx, o, names); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("flushing artifacts: %w", err)
	}
	return nil
}

func noteFlushed(ctx context.Context, o Options, names []string) error {
	m := newManifest(o)
	m.reset()
	if err := m.read(); err != nil {
		return err
	}
	suspects := m.suspects()
	if m.boot != m.now || suspects == 0 {
		return nil // all that was written since the host has booted is flushed; the rest has to be looked at first
	}
	through := m.at
	if suspects > len(names) {
		names = nil
	}
	if err := flushNames(o.Dest, names); err != nil {
		return err
	}
	before, err := flushFile(m.path)
	if err != nil {
		return err
	}
	// A lock of its own: the engine's, which may be held meanwhile, is of this process too.
	lock := flock.New(filepath.Join(o.State, "lock"), flock.SetPermissions(0o600))
	defer lock.Close()
	if ok, err := lock.TryLockContext(ctx, lockRetry); err != nil || !ok {
		return err
	}
	if now, err := os.Stat(m.path); err != nil || !os.SameFile(now, before) {
		return err // written anew meanwhile, after another flush
	}
	return m.append(line{Event: eventFlushed, Time: o.Now().UTC(), Source: strconv.FormatInt(through, 10)})
}

func flushFile(name string) (os.FileInfo, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	return info, errors.Join(err, f.Sync())
}

// flushNames flushes files and the directories they are in, or the whole file system of a directory if there are none: a
// commit of one costs what a commit of many costs.
func flushNames(dest string, names []string) error {
	root, err := os.OpenRoot(dest)
	if err != nil {
		return err
	}
	defer root.Close()
	if len(names) == 0 {
		d, err := root.Open(".")
		if err != nil {
			return err
		}
		defer d.Close()
		return flushAll(d)
	}
	flushed := map[string]bool{}
	for _, name := range names {
		for _, n := range []string{name, path.Dir(name)} {
			if flushed[n] {
				continue
			}
			flushed[n] = true
			f, err := root.Open(n)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

// flushFew is up to how many artifacts are flushed one by one.
const flushFew = 64

// flusher flushes, a little later, what a watch has landed.
type flusher struct {
	o      Options
	landed chan []Artifact
}

func newFlusher(o Options) *flusher { return &flusher{o: o, landed: make(chan []Artifact, 1)} }

// add is told what has landed. It never waits.
func (f *flusher) add(landed []Artifact) {
	for {
		select {
		case f.landed <- landed:
			return
		case more := <-f.landed:
			landed = append(more, landed...)
		}
	}
}

// run flushes until ctx ends. What it cannot flush, a later flush does, or the next boot's doubt finds.
func (f *flusher) run(ctx context.Context) {
	for {
		var landed []Artifact
		select {
		case <-ctx.Done():
			return
		case landed = <-f.landed:
		}
		var names []string
		for _, a := range landed {
			if a.Bundle || len(landed) > flushFew {
				names = nil
				break
			}
			names = append(names, a.Name)
		}
		_ = flush(ctx, f.o, names)
		timer := time.NewTimer(flushEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// flushEvery is the least time between two flushes.
const flushEvery = 2 * time.Second
