package config

import (
	"sort"
	"strings"
)

// Nearest returns the candidate a person most likely meant, or "" if none is near: one edit in three letters.
func Nearest(word string, candidates []string) string {
	const longest = 80 // keys are short; what is longer is near nothing
	if len(word) > longest {
		return ""
	}
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	best, fewest := "", min((len(word)+2)/3, len(word)-1)+1
	for _, c := range sorted {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < fewest {
			best, fewest = c, d
		}
	}
	return best
}

// distance counts insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
func distance(a, b string) int {
	var before, prev []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row = prev, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// childNames lists the keys of a section for a message.
func (w *walker) childNames(pattern string) string {
	names := w.shape.children(pattern)
	sort.Strings(names)
	for i, name := range names {
		if name == "*" {
			names[i] = "an id"
		}
	}
	return strings.Join(names, ", ")
}

// renamed says what has become of keys that there were.
var renamed = map[string]string{
	"outbox.share": "outbox.transport instead: share for what was true, auto for what was false",
}

// suggestion says what an unknown key may have been meant to be: a near neighbour, else the same name elsewhere in the
// file, else what the section holds.
func (w *walker) suggestion(pattern, name string) string {
	if name == "<<" {
		return "no merge keys: write the values out"
	}
	if now, ok := renamed[join(pattern, name)]; ok {
		return now
	}
	if near := Nearest(name, w.shape.children(pattern)); near != "" && near != "*" {
		return "a known key; did you mean " + near + "?"
	}
	var elsewhere []string
	for key := range w.shape.keys {
		if strings.HasSuffix(key, "."+name) && !strings.ContainsAny(key, "*[") {
			elsewhere = append(elsewhere, key)
		}
	}
	if len(elsewhere) > 0 {
		sort.Strings(elsewhere)
		return "a known key; did you mean " + elsewhere[0] + "?"
	}
	return "one of " + w.childNames(pattern)
}
