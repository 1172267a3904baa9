package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A reference in the table of docs/building.md: a file, and what must be in it.
var reference = regexp.MustCompile("`([\\w./-]+/[\\w.-]+|Makefile)(?::([^`]+))?`")

// missing returns the references of the table under "### Traps" that lead nowhere, and how many rows and references
// there are. Each row must have one.
func missing(document, root string) (lost []string, rows, references int) {
	_, section, _ := strings.Cut(document, "\n### Traps\n")
	section, _, _ = strings.Cut(section, "\n### ")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| trap ") {
			continue
		}
		rows++
		found := reference.FindAllStringSubmatch(cells[2], -1)
		if len(found) == 0 {
			lost = append(lost, "nothing is named against:"+cells[1])
		}
		for _, r := range found {
			references++
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(r[1])))
			if err != nil || !strings.Contains(string(text), r[2]) {
				lost = append(lost, r[0])
			}
		}
	}
	return lost, rows, references
}

func TestTrapsAreAvoidedWhereTheTableSays(t *testing.T) {
	root := filepath.Join("..", "..")
	document, err := os.ReadFile(filepath.Join(root, "docs", "building.md"))
	if err != nil {
		t.Fatal(err)
	}
	lost, rows, references := missing(string(document), root)
	for _, l := range lost {
		t.Errorf("docs/building.md: %s", l)
	}
	if rows < 30 || references < rows {
		t.Errorf("%d rows and %d references were found: the table is not read", rows, references)
	}
}

func TestTrapsThatAreNotAvoided(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte("all:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const table = "\n### Traps\n\n| trap | what |\n|---|---|\n" +
		"| a | `Makefile:all:` |\n| b | `Makefile:gone` |\n| c | `no/where.go` |\n| d | words |\n\n### More\n| e | f |\n"
	lost, rows, _ := missing(table, dir)
	want := "`Makefile:gone`|`no/where.go`|nothing is named against: d "
	if got := strings.Join(lost, "|"); got != want || rows != 4 {
		t.Errorf("lost %q in %d rows, want %q in 4", got, rows, want)
	}
}
