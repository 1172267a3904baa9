package sync

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
)

const (
	manifestName    = "manifest.jsonl"
	manifestVersion = 1
	maxLine         = 64 << 10 // bytes
	usualLine       = 512      // the same, of most
	compactAbove    = 32 << 20 // bytes
)

// Events of the manifest.
const (
	eventLanded  = "landed"
	eventSeen    = "seen" // content that is there already comes from another source now: not sent again
	eventRefused = "refused"
	eventBoot    = "boot"    // of the host, by Source: lines follow that were written since
	eventFlushed = "flushed" // what the lines before the offset in Source say is on the disk
	eventSettled = "settled" // what they say has been looked at since the host has booted
	eventLost    = "lost"    // an artifact that was not on the disk when it had
)

// line is one of the manifest.
type line struct {
	V      int       `json:"v"`
	Event  string    `json:"event"`
	Time   time.Time `json:"time"`
	Source string    `json:"source,omitempty"`
	Entry  string    `json:"entry,omitempty"` // what was refused, escaped
	Reason string    `json:"reason,omitempty"`

	Up time.Duration `json:"up,omitempty"` // nanoseconds, of a boot: since it, when the line was written

	*Artifact

	text []byte // as it was encoded, while it has not changed since; a line is written twice
}

// record is what is known about a name: no more than is asked for again, since there may be many.
type record struct {
	Version int
	Size    int64
	SHA256  string
	Bundle  bool
	Source  string
}

func recordOf(a *Artifact, source string) record {
	return record{Version: a.Version, Size: a.Size, SHA256: a.SHA256, Bundle: a.Bundle, Source: source}
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
	sources map[string]string // of known
	refused map[Refusal]bool
	keep    int

	boot    string           // of the last lines
	suspect map[string]int64 // names whose last line is not flushed, with the offset behind it
	doubted map[string]bool  // those of an earlier boot
	now     string           // the boot this is

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
	m.at, m.file, m.boot = 0, nil, ""
	m.known, m.sources, m.refused = map[string]record{}, map[string]string{}, map[Refusal]bool{}
	m.suspect, m.doubted = map[string]int64{}, map[string]bool{}
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
	from := m.at
	m.at, err = scanLines(f, func(l line, end int64) { m.apply(l, from+end) })
	if err != nil {
		return fmt.Errorf("reading the manifest %s: %w", m.path, err)
	}
	m.at += from
	if m.boot != m.now {
		m.doubt()
	}
	return nil
}

// rewrite reads the manifest and writes it anew, without what nobody asks for again.
func (m *manifest) rewrite(flush func() error) error {
	lines, err := readLines(m.path)
	if err != nil {
		return err
	}
	m.reset()
	for _, l := range lines {
		m.apply(l, 0)
	}
	if m.boot != m.now {
		m.doubt()
	}
	doubted := m.doubted
	if err := flush(); err != nil {
		return err
	}
	if lines, err = m.compact(lines); err != nil {
		return err
	}
	m.reset()
	for _, l := range lines {
		m.apply(l, 0)
	}
	clear(m.suspect)
	m.doubted = doubted
	if m.file, err = os.Stat(m.path); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	m.at = m.file.Size()
	return nil
}

// apply learns from a line that ends at an offset.
func (m *manifest) apply(l line, end int64) {
	switch {
	case l.Event == eventRefused:
		m.refused[Refusal{Name: l.Entry, Reason: l.Reason}] = true
	case l.Event == eventBoot:
		if m.boot != "" && m.boot != l.Source {
			m.doubt()
		}
		m.boot = l.Source
	case l.Event == eventFlushed:
		if through, err := strconv.ParseInt(l.Source, 10, 64); err == nil {
			maps.DeleteFunc(m.suspect, func(_ string, end int64) bool { return end <= through })
		}
	case l.Event == eventSettled:
		clear(m.doubted)
	case l.Event == eventLost:
		if r, ok := m.known[l.Entry]; ok {
			r.Source = ""
			m.known[l.Entry], m.sources[l.Entry] = r, ""
		}
	case l.Artifact != nil:
		m.known[l.Name], m.sources[l.Name] = recordOf(l.Artifact, l.Source), l.Source
		delete(m.doubted, l.Name)
		if m.boot != "" { // lines from before there were such marks were flushed one by one
			m.suspect[l.Name] = end
		}
	}
}

// doubt is called when the host has booted since the last line.
func (m *manifest) doubt() {
	for name := range m.suspect {
		m.doubted[name] = true
	}
	clear(m.suspect)
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
func (m *manifest) compact(lines []line) ([]line, error) {
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
	var b bytes.Buffer
	for _, l := range kept {
		if err := json.NewEncoder(&b).Encode(l); err != nil {
			return nil, fmt.Errorf("compacting the manifest: %w", err)
		}
	}
	return kept, atomicfile.Write(m.path, b.Bytes(), 0o600)
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
		m.apply(l, from+ends[i])
	}
	return nil
}

// encode writes lines, and where each ends.
func encode(lines []line) (text []byte, ends []int64, err error) {
	var b bytes.Buffer
	b.Grow(usualLine * len(lines))
	ends = make([]int64, 0, len(lines))
	to := json.NewEncoder(&b)
	for _, l := range lines {
		if l.text != nil {
			b.Write(l.text)
		} else {
			l.V = manifestVersion
			if err := to.Encode(l); err != nil {
				return nil, nil, fmt.Errorf("writing the manifest: %w", err)
			}
		}
		ends = append(ends, int64(b.Len()))
	}
	return b.Bytes(), ends, nil
}

// readLines returns the lines of a manifest, oldest first. Lines torn by a crash, of a later version, or too long are
// passed over.
func readLines(name string) ([]line, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	defer f.Close()
	lines, err := parseLines(f)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest %s: %w", name, err)
	}
	return lines, nil
}

func parseLines(r io.Reader) (lines []line, err error) {
	_, err = scanLines(r, func(l line, _ int64) { lines = append(lines, l) })
	return lines, err
}

// scanLines hands on each line with the offset behind it, and returns how much it has read.
func scanLines(r io.Reader, take func(l line, end int64)) (read int64, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	tooLong := false
	for {
		text, err := in.ReadSlice('\n')
		read += int64(len(text))
		if errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			continue
		}
		var l line
		if !tooLong && json.Unmarshal(text, &l) == nil && l.V == manifestVersion && l.valid() {
			take(l, read)
		}
		tooLong = false
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
}

func (l line) valid() bool {
	switch l.Event {
	case eventRefused:
		return l.Entry != "" && l.Artifact == nil
	case eventLost:
		return l.Entry != "" && l.Artifact == nil
	case eventBoot, eventFlushed, eventSettled:
		return l.Source != "" && l.Artifact == nil
	}
	return (l.Event == eventLanded || l.Event == eventSeen) && l.Artifact != nil && l.Name != ""
}
