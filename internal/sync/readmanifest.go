package sync

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// ReadManifest returns what has landed, newest first: each version of each name, the path of an earlier one being where it is
// kept, if it still is. There is nothing wrong with a state directory that does not exist yet, or with a last line that a
// crash has torn.
func ReadManifest(state string) ([]Artifact, error) {
	lines, err := readLines(filepath.Join(state, manifestName))
	if err != nil {
		return nil, err
	}
	var artifacts []Artifact
	newer := map[string]bool{}
	for _, l := range slices.Backward(lines) {
		if l.Event != eventLanded {
			continue
		}
		a := *l.Artifact
		if dest, ok := strings.CutSuffix(a.Path, string(filepath.Separator)+filepath.FromSlash(a.Name)); ok && newer[a.Name] {
			a.Path = filepath.Join(dest, filepath.FromSlash(versionName(a.Name, a.Version)))
		}
		newer[a.Name] = true
		artifacts = append(artifacts, a)
	}
	return artifacts, nil
}

// latest returns what is recorded of a name.
func (m *manifest) latest(name string) (Artifact, error) {
	lines, err := readLines(m.path)
	if err != nil {
		return Artifact{}, err
	}
	for _, l := range slices.Backward(lines) {
		if l.Event == eventLanded && l.Name == name {
			return *l.Artifact, nil
		}
	}
	return Artifact{}, fmt.Errorf("%s has not landed", display(name))
}
