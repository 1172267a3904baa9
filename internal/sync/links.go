package sync

import (
	"path"
	"strings"
	"unicode/utf8"
)

// A bundle of macOS holds symbolic links: a framework's "Current" and what leads through it. They land if they lead, step
// by step and through whatever other links, to something in the same bundle, and are made when all else of it is there.
// They are never followed here.

const (
	maxLinkSteps = 40   // links on the way, as kernels have it
	maxTarget    = 1024 // bytes
)

// strayLink returns a link of a bundle that does not stay inside, and what is wrong with it, or "".
func strayLink(b *Item) (name, reason string) {
	if len(b.Links) == 0 {
		return "", ""
	}
	r := resolver{root: b.Name, kinds: map[string]byte{}, targets: map[string]string{}}
	for _, d := range b.Dirs {
		r.kinds[d] = 'd'
	}
	for _, e := range b.Files {
		r.kinds[e.Name] = 'f'
	}
	for _, e := range b.Links {
		r.kinds[e.Name], r.targets[e.Name] = 'l', e.Target
	}
	for _, e := range b.Links {
		r.steps = 0
		if _, reason := r.follow(path.Dir(e.Name), e.Target); reason != "" {
			return e.Name, reason
		}
	}
	return "", ""
}

// resolver follows links on paper.
type resolver struct {
	root    string
	kinds   map[string]byte
	targets map[string]string
	steps   int
}

// follow returns what a link's target, in a directory, leads to.
func (r *resolver) follow(dir, target string) (to, reason string) {
	if r.steps++; r.steps > maxLinkSteps {
		return "", "is a symbolic link that leads through too many others"
	}
	switch {
	case target == "" || len(target) > maxTarget || !utf8.ValidString(target) || strings.IndexFunc(target, deceives) >= 0:
		return "", "is a symbolic link with no name as its target"
	case path.IsAbs(target):
		return "", "is a symbolic link that leaves the bundle"
	}
	at := dir
	for element := range strings.SplitSeq(target, "/") {
		if r.kinds[at] != 'd' {
			return "", "is a symbolic link to nothing in the bundle"
		}
		switch element {
		case "", ".":
			continue
		case "..":
			if at == r.root {
				return "", "is a symbolic link that leaves the bundle"
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, element)
		switch r.kinds[next] {
		case 'l':
			if at, reason = r.follow(at, r.targets[next]); reason != "" {
				return "", reason
			}
		case 0:
			return "", "is a symbolic link to nothing in the bundle"
		default:
			at = next
		}
	}
	return at, ""
}

// names is how many files and links an item makes on the host.
func (it *Item) names() int { return len(it.Files) + len(it.Links) }
