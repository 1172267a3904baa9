package journal

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

const (
	fileName = "events.jsonl"
	// rotateAt bounds what a reader has to fold: it reads this file and the one before it.
	rotateAt = 512 << 10
	keepOld  = 8
	maxLine  = 64 << 10
)

// Journal appends to and reads the journal in one directory. It holds no open file and may be used by many goroutines.
type Journal struct {
	dir  string
	self Process
}

// Open returns the journal in dir, which is made if it is missing.
func Open(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	return &Journal{dir: dir, self: Self()}, nil
}

// Dir returns the directory the journal is in.
func (j *Journal) Dir() string { return j.dir }

// Self identifies the calling process.
func Self() Process {
	pid := os.Getpid()
	start, _ := startTime(pid)
	return Process{PID: pid, Start: start}
}

// Alive tells whether the process is still the one that wrote the event.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	start, ok := startTime(p.PID)
	return ok && start == p.Start
}

// NewID returns an identifier for an operation or session.
func NewID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error since Go 1.24
	return hex.EncodeToString(b[:])
}

// Append writes one event with one write, so that events of several processes never mix. It fills in V, Time (unless
// set) and Process.
func (j *Journal) Append(e Event) error {
	e.V = SchemaVersion
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Process = j.self
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding a journal event: %w", err)
	}
	if len(line) > maxLine {
		return fmt.Errorf("writing the journal: an event of %d bytes is longer than %d", len(line), maxLine)
	}
	name := filepath.Join(j.dir, fileName)
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	// A line torn by a crash or a full disk has no newline; starting with one keeps the next event whole.
	_, err = f.Write(append(append([]byte{'\n'}, line...), '\n'))
	size := int64(0)
	if fi, serr := f.Stat(); serr == nil {
		size = fi.Size()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if size > rotateAt {
		j.rotate()
	}
	return nil
}

// rotate sets the full file aside. Writers open the file by name for each event, so none of them can lose one; whoever
// does not get the lock leaves the work to its holder.
func (j *Journal) rotate() {
	l := flock.New(filepath.Join(j.dir, "rotate.lock"))
	if ok, err := l.TryLock(); err != nil || !ok {
		return
	}
	defer func() { _ = l.Unlock() }()
	name := filepath.Join(j.dir, fileName)
	if fi, err := os.Stat(name); err != nil || fi.Size() <= rotateAt {
		return
	}
	old := filepath.Join(j.dir, fmt.Sprintf("events-%020d.jsonl", time.Now().UnixNano()))
	if os.Rename(name, old) != nil {
		return
	}
	olds := j.oldFiles()
	for len(olds) > keepOld {
		_ = os.Remove(olds[0])
		olds = olds[1:]
	}
}

func (j *Journal) oldFiles() []string {
	m, _ := filepath.Glob(filepath.Join(j.dir, "events-*.jsonl"))
	slices.Sort(m)
	return m
}

// Events returns the recent events, oldest first: those of the present file and of the one before it.
func (j *Journal) Events() ([]Event, error) {
	var all []Event
	for range 3 { // again if a rotation came between listing and reading
		all = all[:0]
		olds := j.oldFiles()
		files := []string{filepath.Join(j.dir, fileName)}
		if n := len(olds); n > 0 {
			files = []string{olds[n-1], files[0]}
		}
		for _, f := range files {
			es, err := readFile(f)
			if err != nil {
				return nil, err
			}
			all = append(all, es...)
		}
		if len(j.oldFiles()) == len(olds) {
			break
		}
	}
	return all, nil
}

func readFile(name string) ([]Event, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	return Parse(b), nil
}

// Parse decodes journal lines. Lines that are torn, not JSON, or of a newer schema are skipped.
func Parse(b []byte) []Event {
	var es []Event
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(make([]byte, 0, 4096), maxLine+1)
	for sc.Scan() {
		line := sc.Bytes()
		if len(line) == 0 {
			continue
		}
		var e Event
		if json.Unmarshal(line, &e) != nil || e.V < 1 || e.V > SchemaVersion || e.Kind == "" {
			continue
		}
		es = append(es, e)
	}
	return es
}

// Op is an operation in flight. Its methods never fail: an operation does not stop because its journal cannot be written,
// but End returns the first such error joined to the operation's own.
type Op struct {
	j         *Journal
	id        string
	workspace string
	verb      string
	last      Event
	err       error
}

// Begin records that an operation on a workspace begins.
func (j *Journal) Begin(workspace, verb string) *Op {
	o := &Op{j: j, id: NewID(), workspace: workspace, verb: verb}
	o.append(Event{Kind: OpBegin})
	return o
}

func (o *Op) append(e Event) {
	e.Op, e.Workspace, e.Verb = o.id, o.workspace, o.verb
	if err := o.j.Append(e); err != nil && o.err == nil {
		o.err = err
	}
}

// phaseInterval bounds how often progress within one phase is recorded.
const phaseInterval = 400 * time.Millisecond

// Phase records what the operation is doing. Progress within a phase is thinned out to what an eye can follow.
func (o *Op) Phase(name string, done, total int64) { o.PhaseDetail(name, "", done, total) }

// PhaseDetail is Phase with how far it is in words for people.
func (o *Op) PhaseDetail(name, detail string, done, total int64) {
	now := time.Now()
	if name == o.last.Phase && now.Sub(o.last.Time) < phaseInterval {
		return
	}
	o.last = Event{Kind: OpPhase, Time: now, Phase: name, Detail: detail, Done: done, Total: total}
	o.append(o.last)
}

// End records how the operation ended and returns err.
func (o *Op) End(err error, hint string) error {
	e := Event{Kind: OpEnd, Hint: hint}
	if err != nil {
		e.Error = clip(err.Error(), 4096)
	}
	o.append(e)
	if err != nil {
		return err
	}
	return o.err
}

// The Details of an operation's end that is neither a failure nor a success: somebody wanted it, or it was asked for in
// vain, as a workspace of a name that is taken, and changed nothing.
const (
	Cancelled = "cancelled"
	InVain    = "in vain"
)

// Cancel records that the operation was cancelled and returns err, which came of that.
func (o *Op) Cancel(err error) error {
	o.append(Event{Kind: OpEnd, Detail: Cancelled})
	return err
}

// Refuse records that the operation was asked for in vain and returns err, which says why.
func (o *Op) Refuse(err error) error {
	o.append(Event{Kind: OpEnd, Detail: InVain})
	return err
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}
