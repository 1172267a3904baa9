package sync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Verify reads every artifact's latest version on the host and returns those that are not as they landed, by name.
func Verify(o Options) ([]Mismatch, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	lines, err := readLines(filepath.Join(o.State, manifestName))
	if err != nil {
		return nil, err
	}
	latest := map[string]Artifact{}
	for _, l := range lines {
		if l.Artifact != nil {
			latest[l.Name] = *l.Artifact
		}
	}
	if len(latest) == 0 {
		return nil, nil
	}
	dest, err := os.OpenRoot(o.Dest)
	if err != nil {
		return nil, onHost(err)
	}
	defer func() { _ = dest.Close() }()
	var bad []Mismatch
	for name, a := range latest {
		// The manifest is the host's own, but names in it have come from a guest: they are checked again.
		if reason := checkName(name, o.Limits); reason != "" {
			bad = append(bad, Mismatch{Name: display(name), Reason: reason})
			continue
		}
		sum, err := digestOf(dest, name, a.Bundle)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			bad = append(bad, Mismatch{Name: name, Reason: "is not there any more"})
		case err != nil:
			bad = append(bad, Mismatch{Name: name, Reason: "cannot be read: " + err.Error()})
		case sum != a.SHA256:
			bad = append(bad, Mismatch{Name: name, Reason: "has other content than what landed"})
		}
	}
	slices.SortFunc(bad, func(a, b Mismatch) int { return strings.Compare(a.Name, b.Name) })
	return bad, nil
}
