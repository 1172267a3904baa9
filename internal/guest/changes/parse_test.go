package changes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/guest/changes/tally"
)

// listen reads what a guest said, in pieces of any size.
func listen(out, errOut string, l Limits, size int) (Report, []string) {
	var asked []string
	h := newHome(l, func(string) {}, func(dirs []string) { asked = slices.Clone(dirs) })
	s := &system{l: l}
	for text, w := range map[string]*splitter{out: {field: h.field}, errOut: {field: s.field}} {
		for piece := range slices.Chunk([]byte(text), max(1, size)) {
			_, _ = w.Write(piece)
		}
	}
	return report(time.Unix(0, 0), h, s), asked
}

// TestParse reads an answer in which names hold any bytes.
func TestParse(t *testing.T) {
	fields := func(all ...string) string { return strings.Join(all, "\x00") + "\x00" }
	out := fields("h/home/me", "c1", "+d 4096 ",
		"+f 10 a b\nc", "+f 30 two  spaces ", "+f 20 \xff\x1b]0;x\a", "+f 999 .cache/x",
		"+f 5 app/.git/logs/HEAD", "+l 1 app/link", "+s 0 odd", "x0", "r./app/.git", "kabc 1800000000 One \x1b[1m",
		"kabd 1800000001 ", "e0", "z")
	errOut := fields("+d 4096 /etc", "+f 7 /etc/x", "+f 8 /var/log/syslog", "+f 9 /var/logs", "x0")
	want := Report{
		Since: time.Unix(0, 0),
		Yours: Count{Files: 5, Folders: 1, Bytes: 61}, Git: Count{Files: 1, Bytes: 5},
		System: Count{Files: 2, Folders: 1, Bytes: 16}, Caches: Count{Files: 2, Bytes: 1007},
		Top: []File{{"two  spaces ", 30}, {"??]0;x?", 20}},
		Repos: []Repo{{Path: "app", Commits: 1, More: true, Newest: []Commit{
			{ID: "abc", Time: time.Unix(1800000000, 0).UTC(), Subject: "One ?[1m"},
		}}},
	}
	l := Limits{Top: 2, Commits: 1}.withDefaults()
	for _, size := range []int{1, 7, 1 << 20} {
		got, asked := listen(out, errOut, l, size)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{"./app/.git"}, asked); d != "" {
			t.Error(d)
		}
	}
}

// TestTop keeps the same files as sorting all of them would.
func TestTop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOf(rapid.Int64Range(0, 20)).Draw(t, "sizes")
		n := rapid.IntRange(1, 5).Draw(t, "top")
		h := newHome(Limits{Top: n}.withDefaults(), nil, nil)
		var all []tally.File
		var sum int64
		for i, size := range sizes {
			f := tally.File{Path: fmt.Sprintf("f%04d", i), Bytes: size}
			all = append(all, f)
			sum += size
			h.field(fmt.Sprintf("+f %d %s", f.Bytes, f.Path))
		}
		slices.SortStableFunc(all, func(a, b tally.File) int { return int(b.Bytes - a.Bytes) })
		if d := cmp.Diff(all[:min(n, len(all))], h.found.Largest); d != "" {
			t.Fatal(d)
		}
		if h.found.Yours != (tally.Count{Files: len(all), Bytes: sum}) {
			t.Fatalf("%+v", h.found.Yours)
		}
	})
}

// FuzzParse has guests that say anything: what is told stays within its limits and is fit to be shown.
func FuzzParse(f *testing.F) {
	f.Add("h/home\x00c1\x00+f 10 a\nb\x00x0\x00r./a/.git\x00kab 1 Subject\x00e0\x00z\x00", "+f 1 /etc/x\x00x0\x00", 3)
	f.Add("+f 9223372036854775807 a\x00+f 9223372036854775807 b\x00+d -1 c\x00x1\x00x1\x00", "sh: cannot\n", 1)
	f.Add("+f 1 a/.git/HEAD\x00+f 1 b.git/HEAD\x00+f 1 c/HEAD\x00x0\x00r\x00k\x00e128\x00r\x00r\x00r\x00z\x00", "\x00", 99)
	f.Add("x0\x00kno 1 repository\x00\x1b[31m\x00", "x0\x00x0\x00+\x00", 7)
	f.Fuzz(func(t *testing.T, out, errOut string, size int) {
		l := Limits{Records: 20, Top: 3, Repos: 2, Commits: 3, Newest: 2}.withDefaults()
		r, asked := listen(out, errOut, l, size)
		if len(r.Top) > l.Top || len(r.Repos) > l.Repos || len(asked) > l.Repos ||
			r.Yours.Files+r.Yours.Folders+r.Git.Files+r.Git.Folders > l.Records ||
			r.Yours.Bytes < 0 || r.System.Bytes < 0 || r.Caches.Bytes < 0 || r.Git.Bytes < 0 {
			t.Errorf("beyond its limits: %+v", r)
		}
		if r.Incomplete != (len(r.Reasons) > 0) {
			t.Errorf("incomplete: %v, %q", r.Incomplete, r.Reasons)
		}
		fit := func(s string) {
			bad := func(r rune) bool { return r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u202e' }
			if strings.ContainsFunc(s, bad) || !utf8.ValidString(s) {
				t.Errorf("not fit for a terminal: %q", s)
			}
		}
		for _, x := range r.Top {
			fit(x.Path)
		}
		for _, x := range r.Repos {
			fit(x.Path)
			if x.Commits > l.Commits || len(x.Newest) > l.Newest {
				t.Errorf("beyond its limits: %+v", x)
			}
			for _, c := range x.Newest {
				fit(c.ID)
				fit(c.Subject)
			}
		}
		for _, width := range []int{0, 1, 20, 80} {
			for _, line := range r.Lines(width) {
				fit(line)
				if runewidth.StringWidth(line) > width {
					t.Errorf("%q is wider than %d", line, width)
				}
			}
		}
	})
}

// TestLines shows what a dialog shows.
func TestLines(t *testing.T) {
	r := Report{
		Yours: Count{Files: 50_000, Folders: 1, Bytes: 12_345_678},
		Top: []File{
			{"workspace/app/a/very/long/path/that/does/not/fit/into/the/line/at/all/model.bin", 9_000_000}, {"b", 12},
		},
		Repos: []Repo{
			{Path: "workspace/app", Commits: 3, Newest: []Commit{{Subject: "Do it"}, {Subject: "Begin"}}},
			{Path: "bare.git", Commits: 1000, More: true},
		},
		System: Count{Files: 1, Bytes: 5}, Caches: Count{Files: 14}, Incomplete: true, Reasons: []string{"it took too long"},
	}
	want := []string{
		"50,000 files changed (12 MB), names added or removed in 1 folder",
		"   9.0 MB  .../path/that/does/not/fit/into/the/line/at/all/model.bin",
		"     12 B  b",
		"           and 49,998 smaller files",
		`3 commits in workspace/app: "Do it", "Begin" and 1 more`,
		"More than 1,000 commits in bare.git",
		"1 file changed (5 B) outside of the home",
		"Besides 14 files of caches, logs and temporary files",
		"Not certain: it took too long",
	}
	if d := cmp.Diff(want, r.Lines(68)); d != "" {
		t.Error(d)
	}
	for _, r := range []Report{{}, {Caches: Count{Folders: 1}}} {
		if lines := r.Lines(80); len(lines) != 0 {
			t.Errorf("%q", lines)
		}
	}
}
