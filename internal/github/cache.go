package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

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
	// Boot identifies the run of the machine it is of, Final says that nothing ran in the guest after it: it was made at
	// the end of a clean shutdown.
	Boot  string `json:"boot"`
	Final bool   `json:"final"`
}

// Save keeps a survey in a workspace's directory. boot identifies the run of the machine, such as by process and start.
func Save(dir string, s Survey, boot string, final bool) error {
	b, err := json.Marshal(Cached{Version: cacheVersion, Survey: s, Boot: boot, Final: final})
	if err != nil {
		return fmt.Errorf("keeping the survey of work at risk: %w", err)
	}
	if err := atomicfile.Write(filepath.Join(dir, cacheName), b, cacheFileMode); err != nil {
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

// Stale returns the survey as what it is worth now: Unknown unless it is of the given run of the machine (empty: the
// machine is stopped, and only a final survey of its last run counts) and no older than maxAge (0: any age).
func (c Cached) Stale(boot string, now time.Time, maxAge time.Duration) Survey {
	s := c.Survey
	reason := ""
	switch {
	case s.Unknown:
	case boot == "" && !c.Final:
		reason = "the machine ran on after its repositories were looked through"
	case boot != "" && c.Boot != boot:
		reason = "the machine was started again after its repositories were looked through"
	case maxAge > 0 && now.Sub(s.Time) > maxAge:
		reason = "the repositories were looked through too long ago"
	}
	if reason != "" {
		s.Unknown = true
		s.Reasons = append([]string{reason}, s.Reasons...)
	}
	return s
}
