package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one mistake in a file, an environment variable or a flag.
type Problem struct {
	File     string // path; empty for the environment and flags
	Line     int    // from 1; 0 if the whole file is meant
	Column   int    // from 1
	Key      string // dotted key, CAL_* name or --flag; empty if the whole file is meant
	Value    string // the offending value as written, shortened
	What     string // "unknown key", "wrong type", "out of range", "not valid", "duplicate key", ...
	Expected string // what would be right
}

// String is the problem on one line: where, which key, what is wrong, what is expected.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(oneLine(p.Key) + ": ")
	}
	b.WriteString(p.What)
	if p.Value != "" {
		b.WriteString(" " + p.Value)
	}
	if p.Expected != "" {
		b.WriteString("; expected " + p.Expected)
	}
	return b.String()
}

// Problems is the error for everything wrong at once. Get it with errors.As.
type Problems struct{ List []Problem }

// Error is one line per problem.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, one := range p.List {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(more ...Problem) { p.List = append(p.List, more...) }

// err returns the problems in the order of their places, or nil if there are none.
func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	sort.SliceStable(p.List, func(i, j int) bool {
		a, b := p.List[i], p.List[j]
		if a.File != b.File {
			return a.File < b.File
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	return p
}

// maxProblems is how many mistakes of one file are told; nobody reads more.
const maxProblems = 100

// oneLine makes a key fit for one line: shortened, and quoted where it holds what a terminal would act on.
func oneLine(key string) string {
	const most = 200
	if r := []rune(key); len(r) > most {
		key = string(r[:most]) + "..."
	}
	for _, r := range key {
		if !unicode.IsPrint(r) {
			return strconv.Quote(key)
		}
	}
	return key
}

// shown makes a value fit for one line of a message.
func shown(value string) string {
	const most = 60
	if r := []rune(value); len(r) > most {
		value = string(r[:most]) + "..."
	}
	return fmt.Sprintf("%q", value)
}
