package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// Catalog describes the snapshots of one workspace. Callers hold the workspace's lock while they change it; reading needs
// none.
type Catalog struct {
	// UndoKeep is how many undo snapshots a rollback leaves; 0 is DefaultUndoKeep.
	UndoKeep int

	driver    vm.Driver
	workspace string
	file      string
	now       func() time.Time
	save      func(file string, data []byte, mode os.FileMode) error
	// fault is called at each step of a change; tests stop there as a crash would.
	fault func(step string) error
}

// DefaultUndoKeep is how many rollbacks can be undone unless somebody says otherwise.
const DefaultUndoKeep = 3

// Open returns the catalogue of a workspace; dir is the workspace's directory.
func Open(driver vm.Driver, workspace, dir string) *Catalog {
	return &Catalog{
		driver: driver, workspace: workspace, file: filepath.Join(dir, "snapshots.json"),
		now: time.Now, save: atomicfile.Write, fault: func(string) error { return nil },
	}
}

// OnStep has f called after each step of a change, which ends where f fails: tests end it there, as a crash would.
func (c *Catalog) OnStep(f func(step string) error) { c.fault = f }

// List returns the snapshots that exist, newest first. It changes nothing, and does not wait for who does.
func (c *Catalog) List(ctx context.Context) ([]Snapshot, error) {
	// The catalogue is read last: whatever the driver has by then, has been described before it was made.
	have, err := c.existing(ctx)
	if err != nil {
		return nil, err
	}
	b, err := c.read()
	if err != nil {
		return nil, err
	}
	return b.describe(have), nil
}

func (c *Catalog) existing(ctx context.Context) ([]vm.Snapshot, error) {
	have, err := c.driver.Snapshots(ctx, c.workspace)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots of %q: %w", c.workspace, err)
	}
	return have, nil
}

// Find returns the snapshot whose identifier or name is ref. An empty ref is the newest one that is no undo.
func (c *Catalog) Find(ctx context.Context, ref string) (Snapshot, error) {
	list, err := c.List(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	return c.find(list, ref)
}

func (c *Catalog) find(list []Snapshot, ref string) (Snapshot, error) {
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

// book is the catalogue's file.
type book struct {
	Version   int                 `json:"version"`
	Snapshots map[string]Snapshot `json:"snapshots"`
	Intent    *intent             `json:"intent,omitempty"`
}

// bookVersion is that of the file's shape. Files without one are a bare map of snapshots.
const bookVersion = 1

// intent is a change that was begun. One that is found is of a process that died, as changes are made under the
// workspace's lock.
type intent struct {
	Op    string    `json:"op"`
	IDs   []string  `json:"ids"` // the snapshots it makes or removes
	Began time.Time `json:"began"`
}

// describe puts the driver's facts and the catalogue's words together, newest first.
func (b *book) describe(have []vm.Snapshot) []Snapshot {
	list := make([]Snapshot, 0, len(have))
	for _, h := range have {
		s, ok := b.Snapshots[h.ID]
		if !ok {
			s = Snapshot{ID: h.ID, Name: h.ID, Kind: kindOf(h.ID), Created: h.Created}
		}
		s.SizeBytes, s.Warm = h.SizeBytes, h.Memory
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b Snapshot) int {
		if d := b.Created.Compare(a.Created); d != 0 {
			return d
		}
		return strings.Compare(b.ID, a.ID)
	})
	return list
}

func (c *Catalog) read() (*book, error) {
	data, err := os.ReadFile(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return &book{Version: bookVersion, Snapshots: map[string]Snapshot{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the snapshot catalogue: %w", err)
	}
	b, err := parse(data)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("reading %s: %w", c.file, err),
			"Move the file aside: the snapshots stay, only their names are lost.")
	}
	return b, nil
}

func parse(data []byte) (*book, error) {
	var shape map[string]json.RawMessage
	if err := json.Unmarshal(data, &shape); err != nil {
		return nil, err
	}
	b := &book{Version: bookVersion}
	if _, ok := shape["version"]; !ok {
		if err := json.Unmarshal(data, &b.Snapshots); err != nil {
			return nil, err
		}
	} else if err := json.Unmarshal(data, b); err != nil {
		return nil, err
	}
	if b.Version != bookVersion {
		return nil, fmt.Errorf("it is of version %d, and this CALMenu knows %d", b.Version, bookVersion)
	}
	if b.Snapshots == nil {
		b.Snapshots = map[string]Snapshot{}
	}
	return b, nil
}

func (c *Catalog) write(b *book) error {
	data, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the snapshot catalogue: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o700); err != nil {
		return fmt.Errorf("writing the snapshot catalogue: %w", err)
	}
	return c.save(c.file, data, 0o600)
}
