package inspect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// maxWarnings bounds what is said about one artifact.
const maxWarnings = 8

// headSize is how much of a file's beginning tells what it is: a tar's magic number ends at 262.
const headSize = 512

// File looks at a file. name is its own, of which only the last element counts.
func File(name string, content io.ReaderAt, size int64, l Limits) []string {
	s := newLook(l)
	s.file("", path.Base(name), content, size, 0)
	return s.warnings()
}

// Bundle looks at a directory that is one thing to its user, such as an application.
func Bundle(name string, tree fs.FS, l Limits) []string {
	s := newLook(l)
	s.app(name, func(below string) bool {
		info, err := fs.Stat(tree, below)
		return err == nil && info.Mode().IsRegular()
	})
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		if err := s.member(); err != nil {
			return err
		}
		if d.IsDir() {
			if path.Ext(strings.ToLower(p)) == ".app" {
				s.app(p, func(below string) bool {
					info, err := fs.Stat(tree, path.Join(p, below))
					return err == nil && info.Mode().IsRegular()
				})
			}
			if does := byName(p); does != "" {
				s.holds(p, does)
			}
			return nil
		}
		return s.inBundle(tree, p, d)
	})
	s.incomplete(err)
	return s.warnings()
}

// inBundle looks at one file of a bundle. The programs and libraries of an application are what it is made of; what is
// looked for is what opening it does not run.
func (s *look) inBundle(tree fs.FS, p string, d fs.DirEntry) error {
	if does := byName(p); does != "" {
		s.holds(p, does)
		return nil
	}
	if !d.Type().IsRegular() || archiveOf(p, nil) == noArchive {
		return nil
	}
	f, err := tree.Open(p)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if at, ok := f.(io.ReaderAt); ok {
		s.file(p, path.Base(p), at, info.Size(), 1)
	}
	return nil
}

// look is one look at one artifact.
type look struct {
	limits  Limits
	end     time.Time
	members int
	bytes   int64
	found   []string
	seen    map[string]int // sentence without the member's name -> how often
	missed  bool           // a limit was met
}

func newLook(l Limits) *look {
	l = l.withDefaults()
	return &look{limits: l, end: time.Now().Add(l.Time), seen: map[string]int{}}
}

// errLimit ends a look that has gone as far as it may.
var errLimit = errors.New("a limit of looking was met")

// member counts one more member.
func (s *look) member() error {
	s.members++
	if s.members > s.limits.Members || s.members&0xff == 0 && time.Now().After(s.end) {
		return errLimit
	}
	return nil
}

// read counts n more bytes.
func (s *look) read(n int) error {
	s.bytes += int64(n)
	if s.bytes > s.limits.Bytes || time.Now().After(s.end) {
		return errLimit
	}
	return nil
}

// incomplete notes that an error kept something from being looked at.
func (s *look) incomplete(err error) {
	if err != nil {
		s.missed = true
	}
}

// say notes a warning. Of one sort a few are named, the others counted.
func (s *look) say(where, sort, text string) {
	key := where + "\x00" + sort
	s.seen[key]++
	if s.seen[key] <= 2 && len(s.found) < maxWarnings {
		s.found = append(s.found, text)
	}
}

func (s *look) holds(member, does string) {
	s.say("", does, fmt.Sprintf("holds %s, which %s", Name(member), does))
}

func (s *look) warnings() []string {
	more := 0
	for _, n := range s.seen {
		more += n
	}
	if more -= len(s.found); more > 0 {
		s.found = append(s.found, fmt.Sprintf("and %d more like these", more))
	}
	if s.missed {
		s.found = append(s.found, "could not be looked at completely")
	}
	return s.found
}

// file looks at one file. within is where it lies in an artifact, or "" if it is the artifact; depth counts the archives
// around it.
func (s *look) file(within, name string, content io.ReaderAt, size int64, depth int) {
	head := make([]byte, min(size, headSize))
	n, err := content.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		s.incomplete(err)
	}
	head = head[:n]
	kind := archiveOf(name, head)
	does := byName(name)
	if does == "" && kind == noArchive {
		does = byContent(head)
	}
	switch {
	case does != "" && within == "":
		s.say("", does, does)
	case does != "":
		s.holds(within, does)
	}
	if does == java { // says all there is to say
		return
	}
	s.archive(within, name, kind, content, size, depth)
}

// app notes an application without a signature. has tells whether a file is there.
func (s *look) app(name string, has func(below string) bool) {
	if path.Ext(strings.ToLower(name)) != ".app" {
		return
	}
	if has("Contents/_CodeSignature/CodeResources") || has("_CodeSignature/CodeResources") {
		return
	}
	if strings.Contains(strings.Trim(name, "/"), "/") {
		s.holds(name, "is an application without a signature")
		return
	}
	s.say("", "app", "is an application without a signature")
}
