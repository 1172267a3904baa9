package sync

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/sync/corpus"
)

// A guest's listing is drawn from few elements, so that names meet, clash, and lie in one another.
func drawListing(t *rapid.T) Listing {
	element := rapid.SampledFrom([]string{
		"a", "A", "b", "e\u0301", "\u00e9", "x.app", "X.app", "y.xcresult", "..", ".", "", ".versions", "tab\t", "\xff",
		strings.Repeat("n", 239), strings.Repeat("n", 241),
	})
	l := Listing{Root: &Entry{Kind: 'd'}, More: rapid.Bool().Draw(t, "more"), Open: map[string]bool{}}
	for i := range rapid.IntRange(0, 30).Draw(t, "entries") {
		name := strings.Join(rapid.SliceOfN(element, 1, 4).Draw(t, "name"), "/")
		l.Entries = append(l.Entries, Entry{
			Name: name, Kind: rapid.SampledFrom([]byte("ffffddddlpsbc?")).Draw(t, "kind"),
			Size:  rapid.SampledFrom([]int64{0, 1, 60, 100, 101, 1<<63 - 1}).Draw(t, "size"),
			Inode: uint64(rapid.IntRange(1, 40).Draw(t, "inode")), Links: uint64(rapid.IntRange(1, 2).Draw(t, "links")),
			MTime: Stamp{Sec: int64(i)},
		})
		if rapid.IntRange(0, 9).Draw(t, "open") == 0 {
			l.Open[name] = true
		}
	}
	return l
}

func planOptions() Options {
	return Options{GuestDir: "output", Limits: Limits{MaxFile: 100, MaxTotal: 300, MaxFiles: 8, MaxDepth: 2, MaxName: 240}}
}

func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, o := drawListing(t), planOptions()
		known := map[string]record{}
		for _, e := range l.Entries {
			if rapid.IntRange(0, 3).Draw(t, "known") == 0 {
				known[e.Name] = record{Source: rapid.SampledFrom([]string{e.Source(), "other"}).Draw(t, "source")}
			}
		}
		used := usage{Files: rapid.IntRange(0, 8).Draw(t, "files"), Bytes: int64(rapid.IntRange(0, 300).Draw(t, "bytes"))}
		p := makePlan(l, known, used, o)

		keys, size, files := map[string]string{}, used.Bytes, used.Files
		for _, it := range p.Fetch {
			for _, n := range slices.Concat(it.Dirs, names(it.Files)) {
				if reason := checkName(n, o.Limits); reason != "" {
					t.Fatalf("%q is fetched, though: %s", n, reason)
				}
				if n != it.Name && !strings.HasPrefix(n, it.Name+"/") {
					t.Fatalf("%q holds %q", it.Name, n)
				}
				for d := n; d != "."; d = path.Dir(d) {
					if other, ok := keys[clashKey(d)]; ok && other != d {
						t.Fatalf("%q and %q are both fetched", d, other)
					}
					keys[clashKey(d)] = d
				}
				if l.Open[n] && !slices.Contains(it.Dirs, n) {
					t.Fatalf("%q is fetched, though it is open", n)
				}
			}
			for _, e := range it.Files {
				if e.Kind != 'f' || e.Size > o.Limits.MaxFile {
					t.Fatalf("%q is fetched: %+v", e.Name, e)
				}
			}
			if known[it.Name].Source == it.Source {
				t.Fatalf("%q is fetched again", it.Name)
			}
			size += it.Size
			files += len(it.Files)
		}
		if len(p.Fetch) > 0 && (size > o.Limits.MaxTotal || files > o.Limits.MaxFiles) {
			t.Fatalf("%d bytes in %d files are kept", size, files)
		}
		if !slices.IsSortedFunc(p.Fetch, func(a, b Item) int { return strings.Compare(a.Name, b.Name) }) {
			t.Fatal("out of order")
		}

		// The order of a listing means nothing.
		shuffled := l
		shuffled.Entries = slices.Clone(l.Entries)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(l.Entries), func(i, j int) { //nolint:gosec // not for secrets
			shuffled.Entries[i], shuffled.Entries[j] = shuffled.Entries[j], shuffled.Entries[i]
		})
		if d := cmp.Diff(p, makePlan(shuffled, known, used, o)); d != "" {
			t.Fatalf("another order, another plan:\n%s", d)
		}

		// What has landed is not fetched again, and lets the rest be as it was.
		for _, it := range p.Fetch {
			known[it.Name] = record{Source: it.Source}
		}
		next := makePlan(l, known, usage{Files: files, Bytes: size}, o)
		for _, it := range next.Fetch {
			t.Fatalf("%q is still to be fetched when all has landed", it.Name)
		}
		if next.Unchanged != p.Unchanged+len(p.Fetch) {
			t.Fatalf("%d unchanged, then %d after %d have landed", p.Unchanged, next.Unchanged, len(p.Fetch))
		}
	})
}

func names(files []Entry) (ns []string) {
	for _, e := range files {
		ns = append(ns, e.Name)
	}
	return ns
}

// A limit that is lowered is for what comes after it.
func TestWhatHasLandedIsNotRefusedForItsSize(t *testing.T) {
	o := planOptions()
	large := Entry{Name: "large", Kind: 'f', Links: 1, Size: o.Limits.MaxFile + 1}
	changed := large
	changed.Name = "changed"
	l := Listing{Root: &Entry{Kind: 'd'}, Entries: []Entry{large, changed}}
	p := makePlan(l, map[string]record{"large": {Source: large.Source()}, "changed": {Source: "earlier"}}, usage{}, o)
	if p.Unchanged != 1 || len(p.Refused) != 1 || p.Refused[0].Name != "changed" || len(p.Fetch) != 0 {
		t.Errorf("%+v", p)
	}
}

func TestWhatHasLandedHasTheRightOfWay(t *testing.T) {
	file := func(name string) Entry { return Entry{Name: name, Kind: 'f', Links: 1} }
	l := Listing{Root: &Entry{Kind: 'd'}, Entries: []Entry{
		file("README"), file("readme"), {Name: "DIR", Kind: 'd'}, file("DIR/x"), {Name: "dir", Kind: 'd'}, file("dir/x"),
	}}
	p := makePlan(l, map[string]record{"readme": {Source: "earlier"}, "dir/x": {Source: "earlier"}}, usage{}, planOptions())
	var got []string
	for _, it := range p.Fetch {
		got = append(got, it.Name)
	}
	if d := cmp.Diff([]string{"dir/x", "readme"}, got); d != "" {
		t.Error(d)
	}
	if len(p.Refused) != 2 {
		t.Error(p.Refused)
	}
}

func TestChunks(t *testing.T) {
	one := func(size int64, files int) Item { return Item{Size: size, Files: make([]Entry, files)} }
	for _, c := range []struct {
		items []Item
		want  int
	}{
		{[]Item{one(1, 1)}, 1},
		{[]Item{one(chunkBytes*3, 1), one(1, 1)}, 1},
		{[]Item{one(1, chunkFiles), one(1, 1)}, 1},
		{[]Item{one(1, chunkFiles-1), one(1, 1), one(1, 1)}, 2},
		{slices.Repeat([]Item{one(1, 1)}, chunkFiles+1), chunkFiles},
	} {
		if got := len(chunk(c.items)); got != c.want {
			t.Errorf("%d of %d items, want %d", got, len(c.items), c.want)
		}
	}
}

func TestVersionNamesNeverMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		element := rapid.SampledFrom([]string{"a", "a.1", "a.1.2", "a.dir", "b", ".1", "1"})
		draw := func(label string) (string, int) {
			name := strings.Join(rapid.SliceOfN(element, 1, 3).Draw(t, label), "/")
			return name, rapid.IntRange(1, 3).Draw(t, label+" version")
		}
		name, v := draw("one")
		other, w := draw("other")
		if a, b := versionName(name, v), versionName(other, w); strings.HasPrefix(b+"/", a+"/") && a != b {
			t.Fatalf("%s lies below %s, a version of %s", b, a, name)
		}
	})
}

func FuzzListing(f *testing.F) {
	f.Add([]byte(rootRecord+fileRecord("a", 4)), 7)
	f.Add([]byte(rootRecord+fileRecord("../up", 4)+"o\x00/home/x/output/a\x00"), 1)
	f.Add([]byte("f\x00f\x00-1\x00"), 3)
	f.Add([]byte("h\x00\x00o\x00\x00f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 2)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		o, err := Options{Dest: "d", State: "s", Limits: Limits{MaxFiles: 5}}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		whole := newListingParser(o)
		_, err = whole.Write(text)
		// Cut anywhere, it says the same.
		pieces := newListingParser(o)
		var pieceErr error
		for piece := range slices.Chunk(text, max(1, cut&63)) {
			if _, pieceErr = pieces.Write(piece); pieceErr != nil {
				break
			}
		}
		if fmt.Sprint(err) != fmt.Sprint(pieceErr) {
			t.Fatalf("whole: %v; in pieces: %v", err, pieceErr)
		}
		l := whole.finish()
		if d := cmp.Diff(l, pieces.finish()); d != "" {
			t.Fatal(d)
		}
		if len(l.Entries) > o.Limits.MaxFiles {
			t.Fatalf("%d entries", len(l.Entries))
		}
		for _, it := range makePlan(l, nil, usage{}, o).Fetch {
			if reason := checkName(it.Name, o.Limits); reason != "" {
				t.Fatalf("%q is fetched, though: %s", it.Name, reason)
			}
		}
	})
}

func FuzzName(f *testing.F) {
	for _, c := range corpus.Cases() {
		f.Add(c.Name)
	}
	f.Add("a/../b")
	f.Add("\u1e9e\u0345\u03c3\u03c2")
	f.Fuzz(func(t *testing.T, name string) {
		l := Limits{MaxDepth: 32, MaxName: 240}
		for _, r := range display(name) {
			if deceives(r) {
				t.Fatalf("%q is shown with %U", name, r)
			}
		}
		if checkName(name, l) != "" {
			return
		}
		if path.Clean("/"+name) != "/"+name || strings.ContainsRune(name, 0) || len(name) > maxPath {
			t.Fatalf("%q is accepted", name)
		}
		if key := clashKey(name); clashKey(key) != key {
			t.Fatalf("%q has the key %q, which has another", name, key)
		}
		if v := versionName(name, 1<<20); strings.Contains(v, "//") || !strings.HasPrefix(v, versionsDir+"/") {
			t.Fatalf("%q is kept as %q", name, v)
		}
		for element := range strings.SplitSeq(versionName(name, 999999), "/") {
			if len(element) > 255 {
				t.Fatalf("%q is kept under a name of %d bytes", name, len(element))
			}
		}
	})
}
