package sync

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
)

const (
	manifestName    = "manifest.jsonl"
	manifestVersion = 1
	maxLine         = 64 << 10 // bytes
	compactAbove    = 32 << 20 // bytes
)

// Events of the manifest.
const (
	eventLanded  = "landed"
	eventSeen    = "seen" // content that is there already comes from another source now: not sent again
	eventRefused = "refused"
)

// line is one of the manifest.
type line struct {
	V      int       `json:"v"`
	Event  string    `json:"event"`
	Time   time.Time `json:"time"`
	Source string    `json:"source,omitempty"`
	Entry  string    `json:"entry,omitempty"` // what was refused, escaped
	Reason string    `json:"reason,omitempty"`
	*Artifact
}

// record is what is known about a name.
type record struct {
	Artifact
	Source string
}

// manifest is the append-only memory of an outbox: what has landed from which source. Processes take turns by the lock
// of the state directory.
type manifest struct {
	path    string
	size    int64 // bytes read or written by this process
	known   map[string]record
	refused map[Refusal]bool
	keep    int
}

// refresh reads what others have written since.
func (m *manifest) refresh() error {
	info, err := os.Stat(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.size, m.known, m.refused = 0, map[string]record{}, map[Refusal]bool{}
		return nil
	case err != nil:
		return fmt.Errorf("reading the manifest: %w", err)
	case m.known != nil && info.Size() == m.size:
		return nil
	}
	lines, err := readLines(m.path)
	if err != nil {
		return err
	}
	if info.Size() > compactAbove {
		if lines, err = m.compact(lines); err != nil {
			return err
		}
	}
	m.known, m.refused = map[string]record{}, map[Refusal]bool{}
	for _, l := range lines {
		m.apply(l)
	}
	if info, err = os.Stat(m.path); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	m.size = info.Size()
	return nil
}

func (m *manifest) apply(l line) {
	switch {
	case l.Event == eventRefused:
		m.refused[Refusal{Name: l.Entry, Reason: l.Reason}] = true
	case l.Artifact != nil:
		m.known[l.Name] = record{Artifact: *l.Artifact, Source: l.Source}
	}
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

// sources are the known names with what they came from.
func (m *manifest) sources() map[string]string {
	s := make(map[string]string, len(m.known))
	for name, r := range m.known {
		s[name] = r.Source
	}
	return s
}

// append writes lines, each whole. They are durable after sync.
func (m *manifest) append(lines ...line) (err error) {
	if len(lines) == 0 {
		return nil
	}
	var b bytes.Buffer
	for _, l := range lines {
		l.V = manifestVersion
		if err := json.NewEncoder(&b).Encode(l); err != nil {
			return fmt.Errorf("writing the manifest: %w", err)
		}
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
	text := b.Bytes()
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' { // torn by a crash: the next line must not suffer
			text = append([]byte{'\n'}, text...)
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	m.size = info.Size() + int64(len(text))
	for _, l := range lines {
		m.apply(l)
	}
	return nil
}

func (m *manifest) sync() error {
	f, err := os.OpenFile(m.path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
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

func parseLines(r io.Reader) ([]line, error) {
	var lines []line
	in := bufio.NewReaderSize(r, maxLine)
	tooLong := false
	for {
		text, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			continue
		}
		var l line
		if !tooLong && json.Unmarshal(text, &l) == nil && l.V == manifestVersion && l.valid() {
			lines = append(lines, l)
		}
		tooLong = false
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (l line) valid() bool {
	if l.Event == eventRefused {
		return l.Entry != "" && l.Artifact == nil
	}
	return (l.Event == eventLanded || l.Event == eventSeen) && l.Artifact != nil && l.Name != ""
}

// ReadManifest returns what has landed, newest first: each version of each name. There is nothing wrong with a state
// directory that does not exist yet, or with a last line that a crash has torn.
func ReadManifest(state string) ([]Artifact, error) {
	lines, err := readLines(filepath.Join(state, manifestName))
	if err != nil {
		return nil, err
	}
	var artifacts []Artifact
	for _, l := range slices.Backward(lines) {
		if l.Event == eventLanded {
			artifacts = append(artifacts, *l.Artifact)
		}
	}
	return artifacts, nil
}

// Refused is a refusal that is recorded.
type Refused struct {
	Refusal
	Time time.Time `json:"time"`
}

// ReadRefusals returns what was refused, newest first.
func ReadRefusals(state string) ([]Refused, error) {
	lines, err := readLines(filepath.Join(state, manifestName))
	if err != nil {
		return nil, err
	}
	var refused []Refused
	for _, l := range slices.Backward(lines) {
		if l.Event == eventRefused {
			refused = append(refused, Refused{Refusal{Name: l.Entry, Reason: l.Reason}, l.Time})
		}
	}
	return refused, nil
}
