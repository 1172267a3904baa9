package sync

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// plan is what a pass is to do about a listing.
type plan struct {
	Fetch     []Item
	Waiting   []string // open for writing in the guest
	Unchanged int
	Refused   []Refusal
	Tight     bool // something was refused for want of room
}

// usage is what the destination holds.
type usage struct {
	Files int
	Bytes int64
}

// makePlan decides what becomes of each entry of a listing. known is what has landed. It is a pure
// function: the same listing in any order gives the same plan. The listing is the plan's from then on.
func makePlan(l Listing, known map[string]record, used usage, o Options) plan {
	p := planner{
		o: o, known: known, dead: map[string]bool{}, dirs: map[string]bool{}, bundles: map[string]*Item{}, most: len(l.Entries),
	}
	if l.Root == nil {
		return p.plan
	}
	if l.Root.Kind != 'd' {
		p.refuse(o.GuestDir, "the outbox itself is "+kindName(l.Root.Kind)+", not a directory")
		return p.plan
	}
	entries := l.Entries
	sortEntries(entries)
	if l.More {
		p.refuse(o.GuestDir, fmt.Sprintf("has more than %s entries: the rest was not looked at",
			humanize.Comma(int64(o.Limits.MaxFiles))))
	}
	p.claim(entries)
	p.countLinks(entries)
	for i, e := range entries {
		if i > 0 && entries[i-1].Name == e.Name {
			continue // a listing never holds a name twice; the first is as good as any other lie
		}
		p.sort(&entries[i], entries[i:i+1:i+1])
	}
	p.finish(l.Open, used)
	return p.plan
}

type inode struct{ device, inode uint64 }

type planner struct {
	o       Options
	known   map[string]record
	claims  map[string]string // clash key -> the name that has it
	links   map[inode]uint64
	dirs    map[string]bool // directories that things may lie in
	dead    map[string]bool // directories whose content has been decided upon already
	bundles map[string]*Item
	items   []Item
	most    int // items that there can be
	plan    plan
}

func (p *planner) refuse(name, reason string) {
	p.plan.Refused = append(p.plan.Refused, Refusal{Name: display(name), Reason: reason})
}

// claim gives names that have landed, and the directories above them, the right of way over names that clash with them.
func (p *planner) claim(entries []Entry) {
	above := map[string]bool{}
	for name := range p.known {
		for dir := path.Dir(name); dir != "." && !above[dir]; dir = path.Dir(dir) {
			above[dir] = true
		}
	}
	p.claims = make(map[string]string, len(entries))
	for _, e := range entries {
		if _, landed := p.known[e.Name]; landed || above[e.Name] {
			key := clashKey(e.Name)
			if _, ok := p.claims[key]; !ok {
				p.claims[key] = e.Name
			}
		}
	}
}

func (p *planner) countLinks(entries []Entry) {
	p.links = map[inode]uint64{}
	for _, e := range entries {
		if e.Kind == 'f' && e.Links > 1 {
			p.links[inode{e.Device, e.Inode}]++
		}
	}
}

// sort puts one entry, which is also a list of its own, where it belongs. Parents come before what lies in them.
func (p *planner) sort(e *Entry, alone []Entry) {
	parent := path.Dir(e.Name)
	if p.dead[parent] || p.o.excluded(e.Name) {
		p.dead[e.Name] = true
		return
	}
	bundle := p.bundles[bundleOf(e.Name)]
	key := clashKey(e.Name)
	owner, claimed := p.claims[key]
	if !claimed {
		owner = e.Name
	}
	if reason := p.check(e, parent, owner); reason != "" {
		p.dead[e.Name] = e.Name != "." // which only a liar lists, and in which everything lies
		if bundle == nil {
			p.refuse(e.Name, reason)
			return
		}
		p.refuse(bundle.Name, fmt.Sprintf("holds %s: %s", display(e.Name), reason))
		p.dead[bundle.Name] = true
		delete(p.bundles, bundle.Name)
		return
	}
	if !claimed {
		p.claims[key] = e.Name
	}
	if e.Kind == 'd' {
		p.dirs[e.Name] = true
	}
	switch {
	case bundle != nil && e.Kind == 'd':
		bundle.Dirs = append(bundle.Dirs, e.Name)
	case bundle != nil && e.Kind == 'l':
		bundle.Links = append(bundle.Links, *e)
	case bundle != nil:
		bundle.Files = append(bundle.Files, *e)
		bundle.Size += e.Size
	case e.Kind == 'd' && bundleOf(e.Name) == e.Name:
		p.bundles[e.Name] = &Item{Name: e.Name, Bundle: true, Dirs: []string{e.Name}}
	case e.Kind == 'f':
		if e.HasSource(p.known[e.Name].Source) { // most of them, most of the time
			p.plan.Unchanged++
			return
		}
		if p.items == nil {
			p.items = make([]Item, 0, p.most)
		}
		p.items = append(p.items, Item{Name: e.Name, Files: alone, Size: e.Size, Source: e.Source()})
	}
}

// check returns why an entry cannot land, or "". owner has the right to its name, or to one that clashes with it.
func (p *planner) check(e *Entry, parent, owner string) string {
	if reason := checkName(e.Name, p.o.Limits); reason != "" {
		return reason
	}
	if parent != "." && !p.dirs[parent] {
		return "lies below something that is not a directory"
	}
	if owner != e.Name {
		return fmt.Sprintf("differs from %s only by case or by how it is encoded", display(owner))
	}
	switch {
	case e.Kind == 'd', e.Kind == 'l' && p.bundles[bundleOf(e.Name)] != nil:
		return "" // where links of a bundle lead is looked at when all of it is known
	case e.Kind != 'f':
		return "is " + kindName(e.Kind)
	case e.Links > 1 && p.links[inode{e.Device, e.Inode}] < e.Links:
		return "is a hard link: it has names outside of the outbox"
	case e.Size > p.o.Limits.MaxFile && !e.HasSource(p.known[e.Name].Source): // what has landed is no less there for it
		return fmt.Sprintf("is larger than %s", humanize.Bytes(uint64(p.o.Limits.MaxFile)))
	}
	return ""
}

// finish turns what is left into work, within the quotas. What does not fit keeps nothing back that does.
func (p *planner) finish(open map[string]bool, used usage) {
	for _, b := range p.bundles {
		if link, reason := strayLink(b); reason != "" {
			p.refuse(b.Name, fmt.Sprintf("holds %s: %s", display(link), reason))
			continue
		}
		b.Source = bundleSource(b)
		p.items = append(p.items, *b)
	}
	slices.SortFunc(p.items, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
	p.plan.Fetch = p.items[:0] // never more than has been looked at
	for _, it := range p.items {
		switch {
		case p.known[it.Name].Source == it.Source:
			p.plan.Unchanged++
		case slices.ContainsFunc(it.Files, func(e Entry) bool { return open[e.Name] }):
			p.plan.Waiting = append(p.plan.Waiting, it.Name)
		case used.Bytes+it.Size > p.o.Limits.MaxTotal:
			p.plan.Tight = true
			p.refuse(it.Name, fmt.Sprintf("would make more than the %s that are kept in all",
				humanize.Bytes(uint64(p.o.Limits.MaxTotal))))
		case used.Files+it.names() > p.o.Limits.MaxFiles:
			p.plan.Tight = true
			p.refuse(it.Name, fmt.Sprintf("would make more than the %s files that are kept in all",
				humanize.Comma(int64(p.o.Limits.MaxFiles))))
		default:
			used.Bytes += it.Size
			used.Files += it.names()
			p.plan.Fetch = append(p.plan.Fetch, it)
		}
	}
}

// sources are the files and bundles of a listing by name, whatever else is wrong with them, each with its source.
func sources(l Listing, o Options) map[string]string {
	now := make(map[string]string, len(l.Entries))
	bundles := map[string]*Item{}
	out := map[string]bool{}
	sortEntries(l.Entries)
	for _, e := range l.Entries {
		if out[path.Dir(e.Name)] || o.excluded(e.Name) {
			out[e.Name] = true
			continue
		}
		if name := bundleOf(e.Name); name != "" && (name != e.Name || e.Kind == 'd') {
			b := bundles[name]
			if b == nil {
				b = &Item{Name: name, Bundle: true}
				bundles[name] = b
			}
			switch e.Kind {
			case 'd':
				b.Dirs = append(b.Dirs, e.Name)
			case 'l':
				b.Links = append(b.Links, e)
			default:
				b.Files = append(b.Files, e)
			}
		} else if e.Kind == 'f' {
			now[e.Name] = e.Source()
		}
	}
	for name, b := range bundles {
		now[name] = bundleSource(b)
	}
	return now
}

// sortEntries puts entries in the order of their names: parents come before what lies in them.
// They are large: what is sorted is their numbers, and then each is moved once.
func sortEntries(entries []Entry) {
	order := make([]int, len(entries)) // of each place, who comes there; -1: it is there
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &entries[i], &entries[j]
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Source(), b.Source()))
	})
	for i := range order {
		if order[i] < 0 {
			continue
		}
		first, at := entries[i], i
		for order[at] != i {
			from := order[at]
			entries[at], order[at] = entries[from], -1
			at = from
		}
		entries[at], order[at] = first, -1
	}
}

// bundleSource identifies a bundle's content as entry.source does a file's.
func bundleSource(b *Item) string {
	h := sha256.New()
	for _, d := range b.Dirs {
		fmt.Fprintf(h, "d %s\x00", d)
	}
	for _, e := range b.Links {
		fmt.Fprintf(h, "l %s %s\x00%s\x00", e.Source(), e.Name, e.Target)
	}
	for _, e := range b.Files {
		fmt.Fprintf(h, "f %s %s\x00", e.Source(), e.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func kindName(kind byte) string {
	switch kind {
	case 'f':
		return "a file"
	case 'd':
		return "a directory"
	case 'l':
		return "a symbolic link"
	case 'p':
		return "a FIFO"
	case 's':
		return "a socket"
	case 'b', 'c':
		return "a device"
	}
	return "of an unknown kind"
}
