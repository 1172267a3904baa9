package changes

import (
	"bytes"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/guest/changes/tally"
)

// The script's output is a row of fields, each ended by a NUL byte; the first byte says what it is:
//
//	h home                c clock (seconds)
//	+ "type size path": a file or folder that changed; in the home relative to it, otherwise absolute
//	x find's exit status: no more of these follow
//	r git directory       k "commit time subject"     e git's exit status: no more of these follow
//	z the end
const (
	maxField = 8 << 10 // what is longer is cut
	maxShown = 300     // characters of a path or a subject
)

// splitter hands on the fields written to it.
type splitter struct {
	field func(f string)
	rest  []byte
}

func (s *splitter) Write(b []byte) (int, error) {
	n := len(b)
	for {
		head, after, whole := bytes.Cut(b, []byte{0})
		room := max(0, maxField-len(s.rest))
		s.rest = append(s.rest, head[:min(len(head), room)]...)
		if !whole {
			return n, nil
		}
		s.field(string(s.rest))
		s.rest, b = s.rest[:0], after
	}
}

// changed is one file or folder.
type changed struct {
	dir  bool
	size int64
	path string
}

// parseChanged reads a "+" field without its "+".
func parseChanged(f string) (changed, bool) {
	kind, f, _ := strings.Cut(f, " ")
	size, name, ok := strings.Cut(f, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if !ok || err != nil || n < 0 || len(kind) != 1 {
		return changed{}, false
	}
	return changed{dir: kind == "d", size: n, path: strings.TrimPrefix(name, "./")}, true
}

// home collects what the script says on standard output.
type home struct {
	l       Limits
	clock   func(guest string)     // called once
	looked  func(gitDirs []string) // called once, with where to look for commits
	found   tally.Home
	records int
	repos   []Repo
	asked   int // of the git directories found the guest was asked for
	more    bool
	seen    string // every letter that came once
	strange bool
	partial bool // find could not look everywhere
	failed  []string
}

func newHome(l Limits, clock func(guest string), looked func(gitDirs []string)) *home {
	return &home{l: l, clock: clock, looked: looked, found: tally.Home{Top: l.Top, Repos: l.Repos}}
}

func (h *home) once(letter byte) bool {
	if strings.IndexByte(h.seen, letter) >= 0 {
		h.strange = true
		return false
	}
	h.seen += string(letter)
	return true
}

func (h *home) saw(letter byte) bool { return strings.IndexByte(h.seen, letter) >= 0 }

func (h *home) field(f string) {
	if f == "" {
		h.strange = true
		return
	}
	body := f[1:]
	switch f[0] {
	case '+':
		if c, ok := parseChanged(body); ok && !h.saw('x') {
			h.add(c)
			return
		}
		h.strange = true
	case 'h': // paths are relative to it
		h.once('h')
	case 'c':
		if h.once('c') {
			h.clock(body)
		}
	case 'x':
		if h.once('x') {
			h.partial = body != "0"
			h.asked = min(len(h.found.GitDirs), h.l.Repos)
			h.looked(h.found.GitDirs[:h.asked])
		}
	case 'r', 'k', 'e':
		h.repoField(f[0], body)
	case 'z':
		h.once('z')
	default:
		h.strange = true
	}
}

func (h *home) add(c changed) {
	if h.records++; h.records > h.l.Records {
		h.more = true
		return
	}
	h.found.Add(c.path, c.dir, c.size)
}

func (h *home) repoField(kind byte, body string) {
	if !h.saw('x') {
		h.strange = true
		return
	}
	last := len(h.repos) - 1
	if kind == 'r' {
		if last+1 >= h.asked {
			h.strange = true
			return
		}
		h.repos = append(h.repos, Repo{Path: strings.TrimPrefix(body, "./")})
		return
	}
	if last < 0 {
		h.strange = true
		return
	}
	r := &h.repos[last]
	if kind == 'e' {
		// What only looks like a repository is none; something called .git should be one.
		if body != "0" && path.Base(r.Path) == ".git" {
			h.failed = append(h.failed, r.Path)
		}
		return
	}
	id, rest, _ := strings.Cut(body, " ")
	at, subject, ok := strings.Cut(rest, " ")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || seconds < 0 || seconds > 1<<33 {
		h.strange = true
		return
	}
	if r.Commits == h.l.Commits {
		r.More = true
		return
	}
	r.Commits++
	if len(r.Newest) < h.l.Newest {
		c := Commit{ID: clean(id, 16), Time: time.Unix(seconds, 0).UTC(), Subject: clean(subject, maxShown)}
		r.Newest = append(r.Newest, c)
	}
}

// system collects what the script says on standard error. A shell's own complaint may be among it.
type system struct {
	l       Limits
	root    string // what paths begin with before the guest's own; empty but in tests
	found   tally.System
	records int
	more    bool
	ended   bool
	strange bool
}

func (s *system) field(f string) {
	if f == "x0" {
		s.ended = true
		return
	}
	body, ok := strings.CutPrefix(f, "+")
	c, good := parseChanged(body)
	if !ok || !good {
		s.strange = true
		return
	}
	if s.records++; s.records > s.l.Records {
		s.more = true
		return
	}
	s.found.Add(strings.TrimPrefix(c.path, s.root), c.dir, c.size)
}

// report puts together what both said.
func report(since time.Time, h *home, s *system) Report {
	r := Report{
		Since: since, Yours: Count(h.found.Yours), Git: Count(h.found.Git), System: Count(s.found.Found),
		Caches: Count(h.found.Caches.Plus(s.found.Caches)),
		Top:    make([]File, 0, len(h.found.Largest)), Repos: make([]Repo, 0, len(h.repos)),
	}
	for _, f := range h.found.Largest {
		r.Top = append(r.Top, File{Path: clean(f.Path, maxShown), Bytes: f.Bytes})
	}
	for _, repo := range h.repos {
		if repo.Commits > 0 {
			repo.Path = clean(workTree(repo.Path), maxShown)
			r.Repos = append(r.Repos, repo)
		}
	}
	doubt := func(is bool, reason string) {
		if is {
			r.Incomplete = true
			r.Reasons = append(r.Reasons, reason)
		}
	}
	doubt(!h.saw('z') || !h.saw('x'), "the search of the home did not come to its end")
	doubt(!s.ended, "the search outside of the home did not come to its end")
	doubt(h.partial, "not every folder of the home could be looked into")
	doubt(h.more || s.more, "more changed than is counted")
	doubt(len(h.found.GitDirs) > h.l.Repos, "there are more repositories than are asked for commits")
	for _, f := range h.failed {
		doubt(true, "the commits of "+clean(path.Dir(f), maxShown)+" could not be listed")
	}
	doubt(h.strange || s.strange, "part of the guest's answer is not understood")
	return r
}

// workTree is what a git directory is known by: the folder its .git is in, if it is one.
func workTree(gitDir string) string {
	if gitDir == ".git" {
		return "."
	}
	return strings.TrimSuffix(gitDir, "/.git")
}
