// Package snapshot keeps what people know of snapshots (name, kind, reason, age) beside what a driver keeps of them
// (content), and runs create, rollback and undo as sequences that never discard the only copy of anything.
//
// What must hold: the driver alone decides which snapshots exist; the catalogue only describes them, so a lost or stale
// catalogue loses names, never content. A rollback always leaves the replaced state behind as an undo snapshot.
package snapshot

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// Kind says why a snapshot was taken.
type Kind string

// The kinds of snapshot.
const (
	Manual  Kind = "manual"  // asked for by a person
	Session Kind = "session" // before an agent session
	Undo    Kind = "undo"    // what a rollback replaced
)

// Snapshot is one point a workspace can be rolled back to.
type Snapshot struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // for people: any text of up to 80 characters
	Kind    Kind      `json:"kind"`
	Created time.Time `json:"created"`
	Agent   string    `json:"agent,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	// Mode asks for a snapshot with memory ("warm") or without ("cold"); empty is as configured. It is not kept.
	Mode      string `json:"-"`
	SizeBytes int64  `json:"size_bytes"` // what deleting it would free, as far as the driver can tell
}

// Catalog describes the snapshots of one workspace. Callers hold the workspace's lock while they change it.
type Catalog struct {
	driver    vm.Driver
	workspace string
	file      string
}

// Open returns the catalogue of a workspace; dir is the workspace's directory.
func Open(driver vm.Driver, workspace, dir string) *Catalog {
	return &Catalog{driver: driver, workspace: workspace, file: filepath.Join(dir, "snapshots.json")}
}

// newID returns an identifier that sorts by time and is valid for every driver.
func newID(now time.Time) string {
	var b [3]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("s%s%x", now.UTC().Format("20060102150405"), b)
}

// List returns the snapshots that exist, newest first.
func (c *Catalog) List(ctx context.Context) ([]Snapshot, error) {
	have, err := c.driver.Snapshots(ctx, c.workspace)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots of %q: %w", c.workspace, err)
	}
	known, err := c.read()
	if err != nil {
		return nil, err
	}
	list := make([]Snapshot, 0, len(have))
	for _, h := range have {
		s, ok := known[h.ID]
		if !ok {
			s = Snapshot{ID: h.ID, Name: h.ID, Kind: Manual, Created: h.Created}
		}
		s.SizeBytes = h.SizeBytes
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b Snapshot) int {
		if d := b.Created.Compare(a.Created); d != 0 {
			return d
		}
		return strings.Compare(b.ID, a.ID)
	})
	return list, nil
}

// Create takes a snapshot of the workspace as it is now. o is the driver's (see vm.Snapshotter).
func (c *Catalog) Create(ctx context.Context, s Snapshot, o vm.SnapshotOptions) (Snapshot, error) {
	now := time.Now()
	s.ID, s.Created = newID(now), now
	list, err := c.List(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	if s.Name == "" {
		s.Name = unused(list, now.Format("2006-01-02 15:04:05"))
	}
	if err := ValidName(s.Name); err != nil {
		return Snapshot{}, err
	}
	if named(list, s.Name) {
		return Snapshot{}, hint.Errorf("Choose another name, or delete the other snapshot first.",
			"a snapshot named %q exists already", s.Name)
	}
	if err := c.describe(list, s); err != nil {
		return Snapshot{}, err
	}
	if err := c.driver.CreateSnapshot(ctx, c.workspace, s.ID, o); err != nil {
		return Snapshot{}, fmt.Errorf("taking a snapshot of %q: %w", c.workspace, err)
	}
	return s, nil
}

func named(list []Snapshot, name string) bool {
	return slices.ContainsFunc(list, func(s Snapshot) bool { return s.Name == name })
}

// unused returns the name with a number if it is taken: a clock's second can hold two snapshots.
func unused(list []Snapshot, name string) string {
	numbered := name
	for n := 2; named(list, numbered); n++ {
		numbered = fmt.Sprintf("%s (%d)", name, n)
	}
	return numbered
}

// Find returns the snapshot whose identifier or name is ref. An empty ref is the newest one that is no undo.
func (c *Catalog) Find(ctx context.Context, ref string) (Snapshot, error) {
	list, err := c.List(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	for _, s := range list {
		if ref == "" && s.Kind != Undo || ref != "" && (s.ID == ref || s.Name == ref) {
			return s, nil
		}
	}
	if ref == "" {
		return Snapshot{}, hint.Wrap(fmt.Errorf("workspace %q has no snapshot to roll back to: %w", c.workspace,
			vm.ErrNoSnapshot), fmt.Sprintf("Take one first: CALMenu snapshot create %s", c.workspace))
	}
	return Snapshot{}, hint.Wrap(fmt.Errorf("workspace %q has no snapshot %q: %w", c.workspace, ref, vm.ErrNoSnapshot),
		fmt.Sprintf("`CALMenu snapshot list %s` shows what there is.", c.workspace))
}

// FindUndo returns what the last rollback replaced.
func (c *Catalog) FindUndo(ctx context.Context) (Snapshot, error) {
	list, err := c.List(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	for _, s := range list {
		if s.Kind == Undo {
			return s, nil
		}
	}
	return Snapshot{}, hint.Wrap(fmt.Errorf("workspace %q has no rollback to undo: %w", c.workspace, vm.ErrNoSnapshot),
		"Only a rollback leaves an undo behind.")
}

// Restore makes the stopped machine's disk that of s and returns the undo snapshot that holds what it replaced. Undo
// snapshots do not pile up: older ones than the keepUndo newest are deleted once the rollback is complete.
func (c *Catalog) Restore(ctx context.Context, s Snapshot) (Snapshot, error) {
	now := time.Now()
	list, err := c.List(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	undo := Snapshot{
		ID: newID(now), Kind: Undo, Created: now,
		Name:   unused(list, "before rollback "+now.Format("2006-01-02 15:04:05")),
		Reason: fmt.Sprintf("replaced by a rollback to %q", s.Name),
	}
	if err := c.describe(list, undo); err != nil {
		return Snapshot{}, err
	}
	if err := c.driver.Restore(ctx, c.workspace, s.ID, undo.ID); err != nil {
		return Snapshot{}, fmt.Errorf("rolling back %q to %q: %w", c.workspace, s.Name, err)
	}
	return undo, c.pruneUndo(ctx)
}

const keepUndo = 3

func (c *Catalog) pruneUndo(ctx context.Context) error {
	list, err := c.List(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, s := range list {
		if s.Kind != Undo {
			continue
		}
		if n++; n > keepUndo {
			err = errors.Join(err, c.Delete(ctx, s.ID))
		}
	}
	return err
}

// PruneSessions deletes the session snapshots beyond the newest keep and those older than maxAge (0: no limit), and
// returns what it deleted.
func (c *Catalog) PruneSessions(ctx context.Context, keep int, maxAge time.Duration) ([]Snapshot, error) {
	list, err := c.List(ctx)
	if err != nil {
		return nil, err
	}
	var gone []Snapshot
	for _, s := range Expired(list, time.Now(), keep, maxAge) {
		if err := c.Delete(ctx, s.ID); err != nil {
			return gone, err
		}
		gone = append(gone, s)
	}
	return gone, nil
}

// Expired returns the session snapshots of a list (newest first) that the retention rules let go. The newest one is
// always kept: it is what a running session can be rolled back to.
func Expired(list []Snapshot, now time.Time, keep int, maxAge time.Duration) []Snapshot {
	var gone []Snapshot
	n := 0
	for _, s := range list {
		if s.Kind != Session {
			continue
		}
		n++
		if n > 1 && (n > keep || maxAge > 0 && now.Sub(s.Created) > maxAge) {
			gone = append(gone, s)
		}
	}
	return gone
}

// Delete deletes a snapshot by identifier.
func (c *Catalog) Delete(ctx context.Context, id string) error {
	if err := c.driver.DeleteSnapshot(ctx, c.workspace, id); err != nil {
		return fmt.Errorf("deleting snapshot %s of %q: %w", id, c.workspace, err)
	}
	known, err := c.read()
	if err != nil {
		return err
	}
	delete(known, id)
	return c.write(known)
}

// ValidName refuses names that a list, a menu or a terminal could not show safely.
func ValidName(name string) error {
	bad := name == "" || utf8.RuneCountInString(name) > 80 || !utf8.ValidString(name) ||
		strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
	if bad {
		return hint.Errorf("Use 1 to 80 printable characters, with no space at either end.",
			"%q is not a name for a snapshot", name)
	}
	return nil
}

// describe records what is known of a snapshot that is about to be made, so that a crash right after that does not turn it
// into one without a name, or an undo into none. What it describes beside the snapshots there are (list) is left from
// attempts that failed, and goes.
func (c *Catalog) describe(list []Snapshot, s Snapshot) error {
	known, err := c.read()
	if err != nil {
		return err
	}
	for id := range known {
		if !slices.ContainsFunc(list, func(l Snapshot) bool { return l.ID == id }) {
			delete(known, id)
		}
	}
	known[s.ID] = s
	return c.write(known)
}

func (c *Catalog) read() (map[string]Snapshot, error) {
	known := map[string]Snapshot{}
	b, err := os.ReadFile(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the snapshot catalogue: %w", err)
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, hint.Wrap(fmt.Errorf("reading %s: %w", c.file, err),
			"Move the file aside: the snapshots stay, only their names are lost.")
	}
	return known, nil
}

func (c *Catalog) write(known map[string]Snapshot) error {
	b, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the snapshot catalogue: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o700); err != nil {
		return fmt.Errorf("writing the snapshot catalogue: %w", err)
	}
	return atomicfile.Write(c.file, b, 0o600)
}
