package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// oldest is the macOS that everything without a guard must be available on, major and minor.
const oldest = "13.0"

// table is what was looked up in Apple's documentation, and what is allowed to be done with it.
type table struct {
	Types         map[string]string `yaml:"types"` // typedefs of declarations, by what they stand for
	Methods       []*method         `yaml:"methods"`
	Classes       []name            `yaml:"classes"`
	Notifications []name            `yaml:"notifications"`
	Frameworks    []name            `yaml:"frameworks"` // loaded at run time
	Pools         []pool            `yaml:"pools"`
	C             []withC           `yaml:"c"`
}

// withC is a package of own code with C or Objective-C in it, and what checks the messages that it sends.
type withC struct {
	Package string `yaml:"package"`
	Why     string `yaml:"why"`
}

// method is a message and its declaration.
type method struct {
	Class  string   `yaml:"class"`
	Decl   string   `yaml:"decl"`   // Objective-C
	Since  string   `yaml:"since"`  // macOS
	Source string   `yaml:"source"` // doc: Apple's documentation; sdk: a published copy of its header; memory
	Used   []string `yaml:"used"`   // folders of own code
	Guard  string   `yaml:"guard"`  // what keeps it from being sent by an older macOS, if Since is newer than oldest
	Block  string   `yaml:"block"`  // why a Go function may be its block
	Accept string   `yaml:"accept"` // why darwinkit may pass something else than declared

	selector string
	params   []string // types
	result   string
}

// name is a string that is no selector.
type name struct {
	Name   string   `yaml:"name"`
	In     string   `yaml:"in"` // framework or center
	Since  string   `yaml:"since"`
	Source string   `yaml:"source"`
	Used   []string `yaml:"used"`
	Guard  string   `yaml:"guard"`
}

// pool is a function that sends messages without an autorelease pool of its own, and why it need not have one.
type pool struct {
	Func string `yaml:"func"`
	Why  string `yaml:"why"`
}

var version = regexp.MustCompile(`^\d+\.\d+$`)

// readTable reads and checks the table at path.
func readTable(path string) (*table, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	t := &table{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(t); err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	seen := map[string]bool{}
	for _, m := range t.Methods {
		if err := m.parse(); err != nil {
			return nil, fmt.Errorf("reading the table: %w", err)
		}
		if err := reviewedWell(m.String(), m.Since, m.Source, m.Guard, m.Used); err != nil {
			return nil, err
		}
		if seen[m.String()] {
			return nil, fmt.Errorf("reading the table: %s is there twice", m)
		}
		seen[m.String()] = true
	}
	for _, n := range slices.Concat(t.Classes, t.Notifications, t.Frameworks) {
		if err := reviewedWell(n.Name, n.Since, n.Source, n.Guard, n.Used); err != nil {
			return nil, err
		}
	}
	for _, p := range t.Pools {
		if p.Func == "" || p.Why == "" {
			return nil, fmt.Errorf("reading the table: a pool needs a function and a reason: %+v", p)
		}
	}
	return t, nil
}

func reviewedWell(what, since, source, guard string, used []string) error {
	switch {
	case !version.MatchString(since):
		return fmt.Errorf("reading the table: %s has no version of macOS", what)
	case newer(since, oldest) && guard == "":
		return fmt.Errorf("reading the table: %s is of macOS %s, newer than %s, and has no guard", what, since, oldest)
	case !slices.Contains([]string{"doc", "sdk", "memory"}, source):
		return fmt.Errorf("reading the table: %s is from %q, none of doc, sdk and memory", what, source)
	case len(used) == 0:
		return fmt.Errorf("reading the table: %s names no place where it is used", what)
	}
	return nil
}

// newer compares versions of the form major.minor.
func newer(a, b string) bool {
	number := func(s string) float64 {
		major, minor, _ := strings.Cut(s, ".")
		x, _ := strconv.Atoi(major)
		y, _ := strconv.Atoi(minor)
		return float64(x) + float64(y)/1000
	}
	return number(a) > number(b)
}

// String returns the message as it is sent.
func (m *method) String() string { return m.Class + " " + m.selector }

// A declaration is "- (result)part:(type)name part:(type)name", a property's accessor written the same way.
var (
	declHead = regexp.MustCompile(`^[-+] ?\(([^()]*)\)`)
	declPart = regexp.MustCompile(`^(\w+)(:)?`)
	declName = regexp.MustCompile(`^\w+ *`)
)

// parse takes the declaration apart.
func (m *method) parse() error {
	bad := func(why string) error { return fmt.Errorf("declaration %q: %s", m.Decl, why) }
	if m.Class == "" {
		return bad("no class")
	}
	rest := strings.TrimSuffix(strings.TrimSpace(m.Decl), ";")
	head := declHead.FindStringSubmatch(rest)
	if head == nil {
		return bad("no result")
	}
	m.result, rest = head[1], rest[len(head[0]):]
	for rest != "" {
		part := declPart.FindStringSubmatch(rest)
		if part == nil {
			return bad("no name at " + strconv.Quote(rest))
		}
		m.selector, rest = m.selector+part[0], rest[len(part[0]):]
		if part[2] == "" {
			if rest != "" {
				return bad("something after a name without an argument")
			}
			break
		}
		end := closing(rest)
		if end < 0 {
			return bad("no type at " + strconv.Quote(rest))
		}
		m.params = append(m.params, rest[1:end])
		rest = rest[end+1:]
		rest = rest[len(declName.FindString(rest)):]
	}
	return nil
}

// closing returns where the parenthesis closes that s begins with, -1 if it does not.
func closing(s string) int {
	depth := 0
	for i, r := range s {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			if i == 0 {
				return -1
			}
			return i
		}
	}
	return -1
}
