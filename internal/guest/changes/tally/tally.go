// Package tally counts what changed in a guest: which files are the user's, which git's, which caches. The host does it
// with what a search in the guest lists; CALMenu's own program in the guest does it there, so that tens of thousands of
// names need not travel.
//
// What must hold: it takes names as they are, from either side, and keeps no more of them than it is told to.
package tally

import (
	"cmp"
	"slices"
	"strings"
)

// Count is a number of changed files and folders.
type Count struct {
	Files, Folders int
	Bytes          int64 // of the files
}

// add counts a file or folder. Sizes may be anybody's word: a sum that would be too large stays at the largest number.
func (c *Count) add(dir bool, size int64) {
	if dir {
		c.Folders++
		return
	}
	c.Files++
	if c.Bytes += size; c.Bytes < 0 {
		c.Bytes = 1<<63 - 1
	}
}

// Plus is the sum of two.
func (c Count) Plus(o Count) Count {
	c.Files += o.Files
	c.Folders += o.Folders
	if c.Bytes += o.Bytes; c.Bytes < 0 {
		c.Bytes = 1<<63 - 1
	}
	return c
}

// File is a changed file.
type File struct {
	Path  string
	Bytes int64
}

// Home is what changed in a home.
type Home struct {
	Top   int // how many of the largest files are kept
	Repos int // of how many git directories the names are kept; one more says that there are more

	Yours, Git, Caches Count
	Largest            []File   // of Yours, in order
	GitDirs            []string // in which commits may have been made, beginning with "./"
}

// Add counts a file or folder, by its name below the home.
func (h *Home) Add(file string, dir bool, size int64) {
	if cached(file) {
		h.Caches.add(dir, size)
		return
	}
	if git, ok := gitDirOf(file); ok {
		h.AddGitDir(git)
	}
	if inRepository(file) {
		h.Git.add(dir, size)
		return
	}
	h.Yours.add(dir, size)
	if !dir {
		h.Rank(File{Path: file, Bytes: size})
	}
}

// AddIn counts what Add would be told of as the folder's name followed by this one. It is for many names of one folder: most
// are nothing special, which is seen without putting them together.
func (h *Home) AddIn(f Folder, name []byte, dir bool, size int64) {
	if !f.plain || special(name) {
		h.Add(f.name+string(name), dir, size)
		return
	}
	h.Yours.add(dir, size)
	if dir || h.ranksBelow(f.name, name, size) {
		return
	}
	h.Rank(File{Path: f.name + string(name), Bytes: size})
}

// ranksBelow tells whether a file is none of the largest, as most are.
func (h *Home) ranksBelow(folder string, name []byte, size int64) bool {
	if len(h.Largest) < h.Top || h.Top == 0 {
		return h.Top == 0
	}
	last := h.Largest[len(h.Largest)-1]
	if size != last.Bytes {
		return size < last.Bytes
	}
	n := min(len(folder), len(last.Path))
	if c := strings.Compare(folder[:n], last.Path[:n]); c != 0 {
		return c > 0
	}
	return n == len(folder) && string(name) >= last.Path[n:] || n < len(folder)
}

// AddGitDir keeps the name of a git directory.
func (h *Home) AddGitDir(dir string) {
	if len(h.GitDirs) <= h.Repos && !slices.Contains(h.GitDirs, dir) {
		h.GitDirs = append(h.GitDirs, dir)
	}
}

// Rank keeps the largest files, in order; of two as large the one whose name is first.
func (h *Home) Rank(f File) {
	order := func(a, b File) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Path, b.Path)) }
	if n := len(h.Largest); n >= h.Top {
		if n == 0 || order(f, h.Largest[n-1]) >= 0 {
			return
		}
		h.Largest = h.Largest[:n-1]
	}
	i, _ := slices.BinarySearchFunc(h.Largest, f, order)
	h.Largest = slices.Insert(h.Largest, i, f)
}

// Merge adds what another part of the same home counted.
func (h *Home) Merge(o *Home) {
	h.Yours, h.Git, h.Caches = h.Yours.Plus(o.Yours), h.Git.Plus(o.Git), h.Caches.Plus(o.Caches)
	for _, f := range o.Largest {
		h.Rank(f)
	}
	for _, dir := range o.GitDirs {
		h.AddGitDir(dir)
	}
}

// System is what changed outside of a home.
type System struct{ Found, Caches Count }

// Add counts a file or folder, by its absolute name.
func (s *System) Add(file string, dir bool, size int64) {
	if cachedInSystem(file) {
		s.Caches.add(dir, size)
	} else {
		s.Found.add(dir, size)
	}
}

// Merge adds what another part of the same system counted.
func (s *System) Merge(o *System) {
	s.Found, s.Caches = s.Found.Plus(o.Found), s.Caches.Plus(o.Caches)
}
