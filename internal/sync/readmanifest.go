package sync

import (
	"fmt"
	"path/filepath"
	"slices"
)

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
