package sync

import (
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
