// Package changes tells what a rollback would undo: it asks a running guest, in one command, for the files and folders
// that changed since an instant, and for the commits made since then.
//
// What must hold: everything the guest says is hostile, so it is bounded in size, number and time, and cleaned before
// anybody sees it; names travel apart by NUL bytes. What could not be looked at is said, never left out silently, and
// doubt about the clock makes the report larger, never smaller. Nothing in the guest is changed (but for a temporary
// file on macOS, whose find takes an instant from nothing else).
package changes

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits bound a scan; what is 0 gets its default.
type Limits struct {
	Timeout time.Duration // default 30 s; what was found until then is the report
	Records int           // changed files and folders taken, in the home and outside of it each; default 1,000,000
	Top     int           // of the largest files are named; default 10
	Repos   int           // repositories asked for commits; default 16
	Commits int           // commits counted in each; default 1,000
	Newest  int           // commits told of in each; default 3
}

func (l Limits) withDefaults() Limits {
	fill := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	if l.Timeout <= 0 {
		l.Timeout = 30 * time.Second
	}
	fill(&l.Records, 1_000_000)
	fill(&l.Top, 10)
	fill(&l.Repos, 16)
	fill(&l.Commits, 1000)
	fill(&l.Newest, 3)
	return l
}

// Report is what changed in a guest since an instant. Its texts are fit to be shown.
type Report struct {
	Since time.Time `json:"since"` // by the host's clock
	// Yours is what changed in the home but for Git and Caches.
	Yours Count `json:"yours"`
	// Git is what repositories in the home keep for themselves.
	Git Count `json:"git"`
	// System is what changed outside of the home.
	System Count `json:"system"`
	// Caches are logs, caches and temporary files, wherever they are, and what CALMenu writes at every start.
	Caches Count `json:"caches"`
	// Top are the largest of Yours, relative to the home.
	Top []File `json:"top"`
	// Repos are the repositories with new commits, relative to the home.
	Repos []Repo `json:"repos"`
	// Incomplete says that there may be more, Reasons why.
	Incomplete bool     `json:"incomplete"`
	Reasons    []string `json:"reasons,omitempty"`
}

// Count is a number of changed files and folders.
type Count struct {
	Files   int   `json:"files"`   // new or changed: content, name, owner or mode
	Folders int   `json:"folders"` // with names added or removed
	Bytes   int64 `json:"bytes"`   // of the files, as large as they are now
}

// None tells that there is nothing.
func (c Count) None() bool { return c.Files == 0 && c.Folders == 0 }

// File is a changed file.
type File struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// Repo is a repository with new commits.
type Repo struct {
	Path    string `json:"path"`
	Commits int    `json:"commits"`
	More    bool   `json:"more,omitempty"` // there are more than that
	// Newest are the first few of them.
	Newest []Commit `json:"newest"`
}

// Commit is a new commit.
type Commit struct {
	ID      string    `json:"id"` // abbreviated
	Time    time.Time `json:"time"`
	Subject string    `json:"subject"`
}

// clean makes a text of the guest fit to be shown: one line, no control or direction characters, at most limit runes.
func clean(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			b.WriteString("...")
			break
		}
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			r = '?'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
