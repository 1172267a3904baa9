package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/atomicfile"
)

const (
	cacheName     = "work-at-risk.json"
	cacheVersion  = 1
	maxCache      = 32 << 20
	cacheFileMode = 0o600
)

// Cached is a survey kept for when the guest does not run.
type Cached struct {
	Version int    `json:"version"`
	Survey  Survey `json:"survey"`
}

// Save keeps a survey in a workspace's directory, for when the guest cannot be asked.
func Save(dir string, s Survey) error {
	b, err := json.Marshal(Cached{Version: cacheVersion, Survey: s})
	if err == nil {
		err = atomicfile.Write(filepath.Join(dir, cacheName), b, cacheFileMode)
	}
	if err != nil {
		return fmt.Errorf("keeping the survey of work at risk: %w", err)
	}
	return nil
}

// Forget removes what Save kept: something has run in the guest since.
func Forget(dir string) error {
	if err := os.Remove(filepath.Join(dir, cacheName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting the survey of work at risk: %w", err)
	}
	return nil
}

// Load returns the survey kept in a workspace's directory. With an error, and where none was kept, its Survey is Unknown,
// so that it counts as work at risk.
func Load(dir string) (Cached, error) {
	unknown := func(reason string) Cached {
		return Cached{Survey: Survey{Unknown: true, Reasons: []string{reason}}}
	}
	name := filepath.Join(dir, cacheName)
	fi, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return unknown("the workspace was never looked through"), nil
	}
	if err == nil && fi.Size() > maxCache {
		err = errors.New("it is too large")
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(name)
	}
	var c Cached
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil && c.Version != cacheVersion {
		err = fmt.Errorf("it has version %d", c.Version)
	}
	if err != nil {
		return unknown("what was found last cannot be read"), fmt.Errorf("reading the survey of work at risk: %w", err)
	}
	return c, nil
}

// Stale returns the survey as what it is worth if more may have happened in the guest since, for the given reason: Unknown.
func (c Cached) Stale(reason string) Survey {
	s := c.Survey
	s.Reasons = append([]string{reason}, s.Reasons...)
	s.Unknown = true
	return s
}
