package sync

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
)

const (
	manifestName = "manifest.jsonl"
	compactAbove = 32 << 20 // bytes
)

// record is what is known about a name: no more than is asked for again, since there may be many.
type record struct {
	Version int
	Size    int64
	SHA256  string
	Bundle  bool
	Source  string
	end     int64 // offset behind the line that says so; 0: it was flushed by itself
}

// manifest is the append-only memory of an outbox: what has landed from which source. Processes take turns by the lock
// of the state directory.
//
// It is not flushed line by line, nor are the artifacts, no more than by any program that copies files: a killed process
// loses nothing of either. A host that crashes may; so lines written before another boot of the host, and not known to be
// flushed, are doubted until the artifact has been read.
type manifest struct {
	path    string
	at      int64       // bytes read or written by this process
	file    fs.FileInfo // whose
	known   map[string]record
	refused map[Refusal]bool
	keep    int

	boot    string          // of the last lines
	flushed int64           // offset up to which what lines say is on the disk, or doubted
	doubted map[string]bool // names whose last line is of an earlier boot, and was not flushed
	now     string          // the boot this is

	clock func() time.Time
}

func newManifest(o Options) manifest {
	return manifest{path: filepath.Join(o.State, manifestName), keep: o.KeepVersions, clock: o.Now}
}

// refresh reads what others have written since. flush is called before the manifest is written anew, and has to make
// durable what it speaks of.
func (m *manifest) refresh(flush func() error) error {
	info, err := os.Stat(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.reset()
		return nil
	case err != nil:
		return fmt.Errorf("reading the manifest: %w", err)
	case m.known == nil || !os.SameFile(info, m.file) || info.Size() < m.at:
		m.reset()
	case info.Size() == m.at:
		return nil
	}
	m.file = info
	if info.Size() > compactAbove {
		return m.rewrite(flush)
	}
	return m.read()
}

func (m *manifest) reset() {
	m.at, m.flushed, m.file, m.boot = 0, 0, nil, ""
	m.known, m.refused, m.doubted = map[string]record{}, map[Refusal]bool{}, map[string]bool{}
	if m.now == "" {
		m.now = bootID()
	}
}

// read applies what lies behind what was read before.
func (m *manifest) read() error {
	f, err := os.Open(m.path)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(m.at, io.SeekStart); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	if info, err := f.Stat(); err == nil && len(m.known) == 0 {
		m.known = make(map[string]record, max(info.Size()-m.at, 0)/leastLine)
	}
	from := m.at
	m.at, err = scanLines(f, func(text []byte, end int64) {
		if l, ok := readFact(text); ok && l.valid() {
			m.apply(l, from+end)
		}
	})
	if err != nil {
		return fmt.Errorf("reading the manifest %s: %w", m.path, err)
	}
	m.at += from
	if m.boot != m.now {
		m.doubt(m.at)
	}
	return nil
}

// rewrite reads the manifest and writes it anew, without what nobody asks for again.
func (m *manifest) rewrite(flush func() error) error {
	m.reset()
	if err := m.read(); err != nil {
		return err
	}
	doubted := m.doubted
	m.reset() // all of it is read again: meanwhile it needs no room
	if err := flush(); err != nil {
		return err
	}
	lines, err := readLines(m.path)
	if err != nil {
		return err
	}
	if err := m.compact(lines); err != nil {
		return err
	}
	if err := m.read(); err != nil {
		return err
	}
	m.flushed, m.doubted = m.at, doubted
	if m.file, err = os.Stat(m.path); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	return nil
}

// apply learns from a line that ends at an offset.
func (m *manifest) apply(l fact, end int64) {
	switch l.Event {
	case eventRefused:
		m.refused[Refusal{Name: l.Entry, Reason: l.Reason}] = true
	case eventBoot:
		if m.boot != "" && m.boot != l.Source {
			m.doubt(end)
		}
		m.boot = l.Source
	case eventFlushed:
		if through, err := strconv.ParseInt(l.Source, 10, 64); err == nil {
			m.flushed = max(m.flushed, min(through, end))
		}
	case eventSettled:
		clear(m.doubted)
	case eventLost:
		if r, ok := m.known[l.Entry]; ok {
			r.Source = ""
			m.known[l.Entry] = r
		}
	default:
		r := l.record()
		if m.boot != "" { // lines from before there were such marks were flushed one by one
			r.end = end
		}
		m.known[l.Name] = r
		delete(m.doubted, l.Name)
	}
}

// suspects is how many names there are whose last line is not flushed.
func (m *manifest) suspects() (n int) {
	for _, r := range m.known {
		if r.end > m.flushed {
			n++
		}
	}
	return n
}

// doubt is called when the host has booted since the line before an offset.
func (m *manifest) doubt(at int64) {
	for name, r := range m.known {
		if r.end > m.flushed {
			m.doubted[name] = true
		}
	}
	m.flushed = max(m.flushed, at)
}

// settle resolves doubts: what has not the content that the manifest says is as if it had never landed.
func (m *manifest) settle(holds func(name string, r record) bool) error {
	if len(m.doubted) == 0 {
		return nil
	}
	now := m.clock().UTC()
	var lines []line
	for name := range m.doubted {
		if !holds(name, m.known[name]) {
			lines = append(lines, line{Event: eventLost, Time: now, Entry: name})
		}
	}
	return m.append(append(lines, line{Event: eventSettled, Time: now, Source: m.now})...)
}

// compact drops what nobody asks for again: all but the last few lines of each name.
func (m *manifest) compact(lines []line) error {
	left := map[string]int{}
	var kept []line
	for _, l := range slices.Backward(lines) {
		if l.Artifact == nil {
			continue
		}
		if left[l.Name]++; m.keep < 0 || left[l.Name] <= m.keep+1 {
			kept = append(kept, l)
		}
	}
	slices.Reverse(kept)
	text, _, err := encode(kept)
	if err != nil {
		return err
	}
	return atomicfile.Write(m.path, text, 0o600)
}

// usage is the most that what is recorded may take up, with all versions that may be kept. It is not sure where bundles
// are, whose files are not counted.
func (m *manifest) usage() (u usage, sure bool) {
	sure = true
	for _, r := range m.known {
		n := r.Version
		if m.keep >= 0 {
			n = min(n, m.keep+1)
		}
		u.Files += n
		u.Bytes += int64(n) * r.Size
		sure = sure && !r.Bundle
	}
	return u, sure
}

// append writes lines, each whole. They are durable after sync.
func (m *manifest) append(lines ...line) (err error) {
	if len(lines) == 0 {
		return nil
	}
	if m.boot != m.now {
		lines = append([]line{{
			Event: eventBoot, Time: m.clock().UTC(), Source: m.now, Up: upTime(),
		}}, lines...)
	}
	b, ends, err := encode(lines)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(m.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("writing the manifest: %w", err)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text, from := b, info.Size()
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' { // torn by a crash: the next line must not suffer
			text, from = append([]byte{'\n'}, text...), from+1
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	m.at, m.file = info.Size()+int64(len(text)), info
	for i, l := range lines {
		m.apply(l.fact(), from+ends[i])
	}
	return nil
}
