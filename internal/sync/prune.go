package sync

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PruneOptions say which earlier versions go: those that either of both does not keep.
type PruneOptions struct {
	Keep      int           // earlier versions kept of each name; less than 0: all
	OlderThan time.Duration // age from which an earlier version goes; 0: none by age
	DryRun    bool          // look, and leave them
}

// Pruned is an earlier version that is gone, or would be.
type Pruned struct {
	Name    string    `json:"name"`
	Version int       `json:"version"`
	Size    int64     `json:"size"` // bytes freed
	Time    time.Time `json:"time"` // when it landed, or was last changed where that is not recorded
}

// Prune drops earlier versions of artifacts. What has a name now stays.
func Prune(ctx context.Context, o Options, p PruneOptions) ([]Pruned, error) {
	e, err := open(nil, o, nil)
	if err != nil {
		return nil, err
	}
	defer e.close()
	var gone []Pruned
	err = e.locked(ctx, func() error {
		gone, err = e.prune(p)
		return err
	})
	return gone, onHost(err)
}

func (e *engine) prune(p PruneOptions) ([]Pruned, error) {
	ages, err := e.readAges(e.o.Now())
	if err != nil {
		return nil, err
	}
	all, err := e.versions(ages)
	if err != nil {
		return nil, err
	}
	var gone []Pruned
	kept := map[string]int{}
	for _, v := range all { // newest first
		old := p.OlderThan > 0 && ages.of(v) >= p.OlderThan
		if !old && (p.Keep < 0 || kept[v.Name] < p.Keep) {
			kept[v.Name]++
			continue
		}
		if !p.DryRun {
			if err := e.dest.RemoveAll(v.at); err != nil {
				return gone, err
			}
		}
		gone = append(gone, v.Pruned)
	}
	return gone, nil
}

// version is one that is kept.
type version struct {
	Pruned
	at string
}

// versions lists earlier versions, by name, the newest first.
func (e *engine) versions(ages ages) ([]version, error) {
	var all []version
	err := fs.WalkDir(e.dest.FS(), versionsDir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, n, ok := versionOf(p)
		if !ok {
			return nil
		}
		v := version{Pruned: Pruned{Name: name, Version: n}, at: p}
		if v.Size, v.Time, err = extent(e.dest, p); err != nil {
			return err
		}
		if at, ok := ages.landed[versionKey{name, n}]; ok {
			v.Time = at.shown
		}
		all = append(all, v)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	slices.SortFunc(all, func(a, b version) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Version, a.Version))
	})
	return all, err
}

// versionOf undoes versionName.
func versionOf(p string) (name string, version int, ok bool) {
	below, found := strings.CutPrefix(p, versionsDir+"/")
	ext := path.Ext(below)
	if !found || len(ext) < 2 || strings.Trim(ext[1:], "0123456789") != "" {
		return "", 0, false
	}
	n, err := strconv.Atoi(ext[1:])
	if err != nil {
		return "", 0, false
	}
	dirs := strings.Split(strings.TrimSuffix(below, ext), "/")
	for i, d := range dirs[:len(dirs)-1] {
		bare := strings.TrimSuffix(d, ".dir")
		if e := path.Ext(bare); bare != d && len(e) > 1 && strings.Trim(e[1:], "0123456789") == "" {
			dirs[i] = bare
		}
	}
	return strings.Join(dirs, "/"), n, true
}

// extent is what a version holds, and when it was last changed.
func extent(dest *os.Root, name string) (size int64, t time.Time, err error) {
	err = fs.WalkDir(dest.FS(), name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			size += info.Size()
		}
		if m := info.ModTime(); m.After(t) {
			t = m
		}
		return nil
	})
	return size, t.UTC(), err
}
