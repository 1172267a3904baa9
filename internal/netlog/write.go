package netlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel"
)

// Entry is one line: a connection or refusal, or several of the same kind.
type Entry struct {
	Workspace string `json:"workspace"`
	tunnel.Connection
	// Count is how many there were, if more than one: bytes and durations are then of all, and Time is the first's.
	Count int `json:"count,omitempty"`
}

// Times is how many connections or refusals the entry stands for.
func (e Entry) Times() int { return max(e.Count, 1) }

// Bounds of a log.
const (
	maxFile = 4 << 20 // bytes, after which a file gives way to a new one
	keepOld = 3       // files beside the present one
	// gather is how long refusals of the same kind are counted before the count is written.
	gather  = 10 * time.Second
	perTime = 200 // entries written within that time; what comes beyond is counted
	maxKind = 256 // kinds counted at once; what comes beyond is one more
)

// Others is the host of the entry that stands for more kinds than are counted.
const Others = "(others)"

// Log writes the log of one workspace. Its methods may be called from several goroutines.
type Log struct {
	dir, workspace string

	mu      sync.Mutex // guards all below
	counted map[kind]*Entry
	since   time.Time // when the present time of gathering began
	written int       // within it
	timer   *time.Timer
	closed  bool
	failed  error
}

type kind struct {
	allowed      bool
	host, reason string
	port         int
	way          tunnel.Way
}

// Open returns the log of a workspace in a directory, which must be there.
func Open(dir, workspace string) *Log {
	return &Log{dir: dir, workspace: workspace, counted: map[kind]*Entry{}}
}

// Path is where the present lines are.
func (l *Log) Path() string { return file(l.dir, l.workspace) }

func file(dir, workspace string) string { return filepath.Join(dir, "network-"+workspace+".jsonl") }

func oldFile(dir, workspace string, n int) string {
	return fmt.Sprintf("%s.%d", file(dir, workspace), n)
}

// Add records a connection or refusal. It returns an error once for each time writing began to fail.
func (l *Log) Add(c tunnel.Connection) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	now := time.Now()
	if l.since.IsZero() || now.Sub(l.since) >= gather {
		l.begin(now)
	}
	k := kind{allowed: c.Allowed, host: c.Host, port: c.Port, reason: c.Reason, way: c.Way}
	same, known := l.counted[k]
	if !known && len(l.counted) >= maxKind {
		k = kind{allowed: c.Allowed, host: Others}
		c.Host, c.Port, c.Reason = Others, 0, "more than can be told apart"
		same, known = l.counted[k]
	}
	switch {
	case known && (!c.Allowed || l.written >= perTime):
		same.Count++
		same.BytesUp += c.BytesUp
		same.BytesDown += c.BytesDown
		same.Duration += c.Duration
		return nil
	case l.written >= perTime:
		l.counted[k] = &Entry{Workspace: l.workspace, Connection: c, Count: 1}
		return nil
	}
	if !known {
		// What follows of the same kind is counted from here on; this one is written.
		l.counted[k] = &Entry{Workspace: l.workspace, Connection: c}
		l.counted[k].BytesUp, l.counted[k].BytesDown, l.counted[k].Duration = 0, 0, 0
	}
	l.written++
	return l.write(Entry{Workspace: l.workspace, Connection: c})
}

// begin writes what was counted and begins to count anew.
func (l *Log) begin(now time.Time) {
	l.flush()
	l.since, l.written = now, 0
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(gather, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.flush()
		l.since = time.Time{}
	})
}

// flush writes what was counted.
func (l *Log) flush() {
	for _, e := range l.counted {
		if e.Count == 0 {
			continue
		}
		if err := l.write(*e); err != nil {
			break
		}
	}
	clear(l.counted)
}

// Close writes what was counted. Nothing is added after it.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.failed = nil
	l.flush()
	return l.failed
}

func (l *Log) write(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding a line of the network log: %w", err)
	}
	err = l.append(append(line, '\n'))
	if err != nil && l.failed != nil {
		return nil // told of already
	}
	l.failed = err
	return err
}

func (l *Log) append(line []byte) error {
	f, err := os.OpenFile(l.Path(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the network log: %w", err)
	}
	_, err = f.Write(line)
	full := false
	if fi, serr := f.Stat(); serr == nil {
		full = fi.Size() > maxFile
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the network log: %w", err)
	}
	if full {
		l.rotate()
	}
	return nil
}

// rotate sets the full file aside, and drops the oldest.
func (l *Log) rotate() {
	for n := keepOld; n > 1; n-- {
		_ = os.Rename(oldFile(l.dir, l.workspace, n-1), oldFile(l.dir, l.workspace, n))
	}
	_ = os.Rename(l.Path(), oldFile(l.dir, l.workspace, 1))
}

// Remove deletes the log of a workspace.
func Remove(dir, workspace string) error {
	var errs []error
	for n := range keepOld + 1 {
		name := file(dir, workspace)
		if n > 0 {
			name = oldFile(dir, workspace, n)
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
