package sync

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
)

// Options say what is brought from where to where.
type Options struct {
	Workspace string // recorded with each artifact
	Agent     string // recorded with each artifact; may be empty

	GuestDir string // the outbox in the guest, absolute or under the home of its user; default "output"
	Dest     string // where artifacts land: a directory of the host, made when missing
	State    string // manifest and lock, never shared with a guest: a directory of the host, made when missing

	Origin string // recorded with each artifact
	// Built tells what the guest was at work on; it is asked once in a pass that lands something. nil: nobody knows.
	Built func(context.Context) Build

	Limits  Limits
	Exclude []string // patterns of path.Match, against the whole name or any one element of it: not landed, not reported

	// RateLimit is the most bytes a second that are taken from the guest; 0: as many as come.
	RateLimit int64

	// KeepVersions is how many earlier contents of a name are kept; 0 means 5, less than 0 all of them.
	KeepVersions int
	// Now is the clock of the host that is recorded; nil: time.Now. It may be turned at any time.
	Now func() time.Time
	// Executable keeps the owner's executable bit. It is always kept on macOS, where quarantine stands guard.
	Executable bool
}

// Limits bound what a guest can make the host keep. A zero field takes its default.
type Limits struct {
	MaxFile  int64 // bytes of one file; default 2 GB
	MaxTotal int64 // bytes of everything kept in Dest, earlier versions included; default 20 GB
	MaxFiles int   // files kept in Dest, earlier versions included, and entries looked at in the guest; default 20,000
	MaxDepth int   // directories above a file; default 32
	MaxName  int   // bytes of one element of a name; default and most 240, which leaves room for a version's number
}

// maxPath bounds a whole name in bytes. With the destination before it, macOS still opens it (PATH_MAX 1024).
const maxPath = 800

// maxVersionless is the most bytes of a name's element, so that ".<version>" and ".dir" still fit into 255.
const maxVersionless = 240

func (o Options) withDefaults() (Options, error) {
	if o.GuestDir == "" {
		o.GuestDir = "output"
	}
	if c := path.Clean(o.GuestDir); c == "." || c == "/" || c == ".." || strings.HasPrefix(c, "../") ||
		strings.ContainsRune(c, 0) {
		return o, hint.Errorf("Name a directory below the guest's home, such as output.",
			"taking artifacts from %q: not a directory of its own", o.GuestDir)
	}
	o.GuestDir = path.Clean(o.GuestDir)
	if o.Dest == "" || o.State == "" {
		return o, fmt.Errorf("taking artifacts of %q: no directory of the host to put them into", o.Workspace)
	}
	var err error
	if o.Dest, err = filepath.Abs(o.Dest); err != nil {
		return o, fmt.Errorf("taking artifacts of %q: %w", o.Workspace, err)
	}
	for _, p := range o.Exclude {
		if _, err := path.Match(p, ""); err != nil {
			return o, hint.Errorf("See the patterns of Go's path.Match: *, ?, [a-z].",
				"excluding %q from the artifacts: %w", p, err)
		}
	}
	if o.KeepVersions == 0 {
		o.KeepVersions = 5
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &o.Limits
	setDefault(&l.MaxFile, 2e9)
	setDefault(&l.MaxTotal, 20e9)
	setDefault(&l.MaxFiles, 20_000)
	setDefault(&l.MaxDepth, 32)
	setDefault(&l.MaxName, maxVersionless)
	l.MaxName = min(l.MaxName, maxVersionless)
	return o, nil
}

func setDefault[T int | int64](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

func (o Options) excluded(name string) bool {
	for _, pattern := range o.Exclude {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
		for element := range strings.SplitSeq(name, "/") {
			if ok, _ := path.Match(pattern, element); ok {
				return true
			}
		}
	}
	return false
}
