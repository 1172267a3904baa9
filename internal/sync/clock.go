package sync

import (
	"path/filepath"
	"time"
)

// A host's clock may be turned, by days and back. What is recorded bears the time that it showed then. But no version is
// deleted for an age that only a turn of the clock has given it: what has landed after something else is no older than
// that, whatever both say, and how long the host has been running is counted by a clock that nobody turns.

// ages tells how old versions are, by a manifest.
type ages struct {
	now    time.Time // as late as it can be
	landed map[versionKey]landing
}

type versionKey struct {
	name    string
	version int
}

// landing is when a version landed.
type landing struct {
	shown  time.Time // by the host's clock
	latest time.Time // as far as that can be told
}

// readAges reads what is recorded of versions, at a time that the host's clock shows.
func (e *engine) readAges(now time.Time) (ages, error) {
	lines, err := readLines(filepath.Join(e.o.State, manifestName))
	if err != nil {
		return ages{}, err
	}
	boot, up := bootID(), upTime()
	since := time.Duration(-1) // the first line of this boot; less than 0: there is none
	for _, l := range lines {
		if l.Event != eventBoot || l.Source != boot || l.Up <= 0 || l.Up > up {
			continue
		}
		if t := l.Time.Add(up - l.Up); t.Before(now) {
			now = t
		}
		since = max(since, up-l.Up)
	}
	a := ages{now: now, landed: map[versionKey]landing{}}
	var latest time.Time // of what landed so far
	for _, l := range lines {
		if l.Event == eventBoot && l.Source == boot && l.Up > 0 && since >= 0 {
			latest = later(latest, now.Add(-since))
		}
		if l.Event != eventLanded || l.Artifact == nil {
			continue
		}
		at := landing{shown: l.LandedAt, latest: l.LandedAt}
		if !l.LandedAt.After(now) {
			latest = later(latest, l.LandedAt)
			at.latest = latest
		}
		a.landed[versionKey{l.Name, l.Version}] = at
	}
	return a, nil
}

// of is how old a version is at most; less than 0: it is of a time to come.
func (a ages) of(v version) time.Duration {
	if at, ok := a.landed[versionKey{v.Name, v.Version}]; ok {
		return a.now.Sub(at.latest)
	}
	return a.now.Sub(v.Time)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
