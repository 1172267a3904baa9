package sync

import (
	"path/filepath"
	"slices"
	"time"
)

// Refused is a refusal that is recorded.
type Refused struct {
	Refusal
	Time time.Time `json:"time"`
}

// ReadRefusals returns what was refused, newest first.
func ReadRefusals(state string) ([]Refused, error) {
	lines, err := readLines(filepath.Join(state, manifestName))
	if err != nil {
		return nil, err
	}
	var refused []Refused
	for _, l := range slices.Backward(lines) {
		if l.Event == eventRefused {
			refused = append(refused, Refused{Refusal{Name: l.Entry, Reason: l.Reason}, l.Time})
		}
	}
	return refused, nil
}
