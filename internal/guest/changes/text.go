package changes

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/mattn/go-runewidth"
)

// Lines tells a person what changed, for a dialog of this width: no line takes more columns, none is empty. A report of
// nothing has none but for what could not be found out.
func (r Report) Lines(width int) []string {
	const shown = 5 // files named; the report has more
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, Fit(fmt.Sprintf(format, args...), width)) }
	if !r.Yours.None() {
		say("%s", upper(r.Yours.String()))
	}
	for _, f := range r.Top[:min(len(r.Top), shown)] {
		size := fmt.Sprintf("%9s  ", humanize.Bytes(uint64(max(0, f.Bytes))))
		lines = append(lines, Fit(size+fitPath(f.Path, width-runewidth.StringWidth(size)), width))
	}
	if more := r.Yours.Files - min(len(r.Top), shown); more > 0 && len(r.Top) > 0 {
		say("%9s  and %s", "", plural(more, "smaller file", "smaller files"))
	}
	for _, repo := range r.Repos {
		say("%s", repo.String())
	}
	if r.Yours.None() && !r.Git.None() && len(r.Repos) == 0 {
		say("%s in repositories' own folders", upper(r.Git.String()))
	}
	if !r.System.None() {
		say("%s outside of the home", upper(r.System.String()))
	}
	if r.Caches.Files > 0 {
		say("Besides %s of caches, logs and temporary files", plural(r.Caches.Files, "file", "files"))
	}
	for _, reason := range r.Reasons {
		say("Not certain: %s", reason)
	}
	return lines
}

// None tells that nothing but caches is known to have changed.
func (r Report) None() bool {
	return r.Yours.None() && r.Git.None() && r.System.None() && len(r.Repos) == 0 && !r.Incomplete
}

// String is such as "3 files changed (12 kB), names added or removed in 2 folders".
func (c Count) String() string {
	var parts []string
	if c.Files > 0 {
		parts = append(parts, fmt.Sprintf("%s changed (%s)", plural(c.Files, "file", "files"),
			humanize.Bytes(uint64(max(0, c.Bytes)))))
	}
	if c.Folders > 0 {
		parts = append(parts, "names added or removed in "+plural(c.Folders, "folder", "folders"))
	}
	return strings.Join(parts, ", ")
}

// String is such as `2 commits in workspace/app: "Do it", "Begin"`.
func (r Repo) String() string {
	n := plural(r.Commits, "commit", "commits")
	if r.More {
		n = "more than " + n
	}
	text := upper(n) + " in " + r.Path
	for i, c := range r.Newest {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		text += sep + `"` + c.Subject + `"`
	}
	if more := r.Commits - len(r.Newest); more > 0 && len(r.Newest) > 0 {
		text += fmt.Sprintf(" and %s more", humanize.Comma(int64(more)))
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + many
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Fit cuts a text to one line of at most width columns.
func Fit(s string, width int) string {
	width = max(0, width)
	tail := "..."
	if width < len(tail) {
		tail = ""
	}
	return runewidth.Truncate(clean(s, 4*width), width, tail)
}

// fitPath cuts a path at its beginning: its end says what it is.
func fitPath(s string, width int) string {
	over := runewidth.StringWidth(s) - width
	if over <= 0 {
		return s
	}
	return runewidth.TruncateLeft(s, over+len("..."), "...")
}
