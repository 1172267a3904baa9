package sync

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// Verify reads every artifact's latest version on the host and returns what is not as it landed, by name: what is
// missing, has other content, or lies there without having landed.
func Verify(o Options) ([]Mismatch, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	latest, err := readLatest(o.State)
	if err != nil {
		return nil, err
	}
	dest, err := os.OpenRoot(o.Dest)
	if errors.Is(err, fs.ErrNotExist) && len(latest) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, onHost(err)
	}
	defer func() { _ = dest.Close() }()
	var bad []Mismatch
	for name, a := range latest {
		if m, ok := verify(dest, name, a, o.Limits); !ok {
			bad = append(bad, m)
		}
	}
	extra, err := strangers(dest, latest)
	if err != nil {
		return nil, onHost(err)
	}
	bad = append(bad, extra...)
	slices.SortFunc(bad, func(a, b Mismatch) int { return cmp.Compare(a.Name, b.Name) })
	return bad, nil
}

// readLatest returns what is recorded of each name.
func readLatest(state string) (map[string]Artifact, error) {
	lines, err := readLines(filepath.Join(state, manifestName))
	if err != nil {
		return nil, err
	}
	latest := map[string]Artifact{}
	for _, l := range lines {
		if l.Artifact != nil {
			latest[l.Name] = *l.Artifact
		}
	}
	return latest, nil
}

// Unchanged returns an error unless an artifact is on the host as it landed.
func Unchanged(o Options, a Artifact) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	dest, err := os.OpenRoot(o.Dest)
	if err != nil {
		return onHost(err)
	}
	defer func() { _ = dest.Close() }()
	if m, ok := verify(dest, a.Name, a, o.Limits); !ok {
		return errors.New(m.Reason)
	}
	return nil
}

func verify(dest *os.Root, name string, a Artifact, l Limits) (Mismatch, bool) {
	// The manifest is the host's own, but names in it have come from a guest: they are checked again.
	if reason := checkName(name, l); reason != "" {
		return Mismatch{Name: display(name), Kind: Altered, Reason: reason}, false
	}
	sum, err := digestOf(dest, name, a.Bundle)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Mismatch{Name: name, Kind: Missing, Reason: "is not there any more"}, false
	case err != nil:
		return Mismatch{Name: name, Kind: Altered, Reason: "cannot be read: " + err.Error()}, false
	case sum != a.SHA256:
		return Mismatch{Name: name, Kind: Altered, Reason: "has other content than what landed"}, false
	}
	return Mismatch{}, true
}

// strangers finds what lies among the artifacts without having landed. Directories on the way to artifacts, and what
// lies in bundles, are no strangers.
func strangers(dest *os.Root, latest map[string]Artifact) ([]Mismatch, error) {
	above := map[string]bool{".": true}
	for name := range latest {
		for d := path.Dir(name); !above[d]; d = path.Dir(d) {
			above[d] = true
		}
	}
	var found []Mismatch
	err := fs.WalkDir(dest.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		a, known := latest[p]
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case p == versionsDir || p == stagingDir, known && a.Bundle && d.IsDir():
			return fs.SkipDir
		case known, d.IsDir() && above[p]:
			return nil
		}
		found = append(found, Mismatch{Name: display(p), Kind: Extra, Reason: "did not land: something else put it there"})
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return found, err
}
