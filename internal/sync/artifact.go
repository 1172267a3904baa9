package sync

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/calmenu/calmenu/internal/guest"
)

// Runner runs a program in the guest. *guest.Client is one.
type Runner interface {
	// Stream runs c with its output going to stdout and stderr and returns its exit code; err tells that it could not
	// be run to its end (connection lost, ctx ended).
	Stream(ctx context.Context, c guest.Cmd, stdout, stderr io.Writer) (exit int, err error)
}

// Report is what one pass did.
type Report struct {
	Landed    []Artifact    `json:"landed"`
	Refused   []Refusal     `json:"refused"`
	New       []Refusal     `json:"-"`         // of those, what no earlier pass has met
	Unchanged int           `json:"unchanged"` // artifacts of the guest that had landed before
	Waiting   int           `json:"waiting"`   // files still being written: the next pass looks at them again
	Bytes     int64         `json:"bytes"`     // of what landed
	Duration  time.Duration `json:"duration"`  // nanoseconds
}

// Artifact is a file, or a bundle directory, that has landed.
type Artifact struct {
	Name      string      `json:"name"`   // below the outbox, with slashes
	Path      string      `json:"path"`   // on the host, absolute
	SHA256    string      `json:"sha256"` // of the content; of a bundle: of the sorted list of its files and their sums
	Size      int64       `json:"size"`   // bytes
	Mode      fs.FileMode `json:"mode"`   // permission bits on the host
	ModTime   time.Time   `json:"mod_time"`
	LandedAt  time.Time   `json:"landed_at"`
	Workspace string      `json:"workspace"`
	Agent     string      `json:"agent,omitempty"`
	Version   int         `json:"version"` // 1 for the first content of this name
	Bundle    bool        `json:"bundle,omitempty"`

	Origin   string   `json:"origin,omitempty"`   // how it came: "ssh", "share", or "sign" for what was signed here
	Warnings []string `json:"warnings,omitempty"` // what would run by itself later; safe to show
	// Repository and Commit are where the guest's repository stood that had been worked in last when it landed: a path
	// below the guest's home, which may or may not be what it was built from.
	Repository string `json:"repository,omitempty"`
	Commit     string `json:"commit,omitempty"`
	// SignedFrom is the SHA-256 of the artifact that this is the signed copy of, and SignedBy who signed it.
	SignedFrom string `json:"signed_from,omitempty"`
	SignedBy   string `json:"signed_by,omitempty"`
}

// Build is what a guest says it was at work on.
type Build struct {
	Repository string // path below the guest's home, safe to show
	Commit     string // hexadecimal digits
}

// Refusal is something of the guest's that does not land.
type Refusal struct {
	Name   string `json:"name"` // escaped: safe to show
	Reason string `json:"reason"`
}

// Progress is how far the pass under way has come.
type Progress struct {
	Name       string // the artifact being received
	Files      int
	TotalFiles int
	Bytes      int64
	TotalBytes int64
	Elapsed    time.Duration // since the transfer began
	Rate       float64       // bytes per second over the last seconds
	Left       time.Duration // at that rate; 0 where it cannot be told
	Over       bool          // the pass has ended, whatever came of it
	Waiting    bool          // for another process's pass over the outbox; nothing else is known yet
}

// String says how far it has come, for people.
func (p Progress) String() string {
	if p.Waiting {
		return "waiting for another pass"
	}
	s := fmt.Sprintf("%s of %s", humanize.Bytes(uint64(p.Bytes)), humanize.Bytes(uint64(p.TotalBytes)))
	if p.TotalFiles > 1 {
		s = fmt.Sprintf("%d of %d files, %s", p.Files, p.TotalFiles, s)
	}
	if p.Rate > 0 {
		s += fmt.Sprintf(", %s/s", humanize.Bytes(uint64(p.Rate)))
	}
	if p.Left > 0 {
		s += fmt.Sprintf(", %v left", p.Left.Round(time.Second))
	}
	return s
}

// Mismatch is what is not on the host as it landed.
type Mismatch struct {
	Name   string       `json:"name"`
	Kind   MismatchKind `json:"kind"`
	Reason string       `json:"reason"`
}

// MismatchKind is a sort of Mismatch.
type MismatchKind string

// The sorts of Mismatch.
const (
	Missing MismatchKind = "missing"
	Altered MismatchKind = "changed"
	Extra   MismatchKind = "extra" // it never landed
)
