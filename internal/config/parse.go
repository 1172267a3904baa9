package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/calmenu/calmenu/internal/lazyre"
)

// Limits on a file, so that no file can take the program's time or memory.
const (
	maxFileBytes = 256 << 10
	maxNodes     = 20000 // visited, aliases expanded
	maxDepth     = 20
)

// readFile returns a file's bytes, or nil if there is no such file: a missing file holds no settings.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	return data, nil
}

// parseYAML checks a file's text and returns its top node: nil if the file is empty or cannot be read as YAML.
func parseYAML(file string, data []byte, problems *Problems) *yaml.Node {
	if !checkText(file, data, problems) {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			problems.add(syntaxProblem(file, err))
		}
		return nil
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case err == nil:
		problems.add(Problem{
			File: file, Line: second.Line, Column: second.Column, What: "a second document",
			Expected: "one document in the file",
		})
	case !errors.Is(err, io.EOF):
		problems.add(syntaxProblem(file, err))
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil
	}
	return doc.Content[0]
}

// checkText finds what is wrong before YAML is read: size, encoding, tabs.
func checkText(file string, data []byte, problems *Problems) bool {
	if len(data) > maxFileBytes {
		problems.add(Problem{
			File: file, What: "file too large",
			Expected: fmt.Sprintf("at most %d kB", maxFileBytes>>10),
		})
		return false
	}
	good := true
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		if !utf8.Valid(line) {
			problems.add(Problem{
				File: file, Line: i + 1, Column: invalidColumn(line), What: "not UTF-8",
				Expected: "a file saved as UTF-8",
			})
			return false
		}
		rest := bytes.TrimLeft(line, " ")
		column := len(line) - len(rest) + 1
		body := bytes.TrimLeft(rest, " \t\r\n")
		if bytes.HasPrefix(rest, []byte("\t")) && len(body) > 0 && body[0] != '#' {
			problems.add(Problem{
				File: file, Line: i + 1, Column: column, What: "tab in the indentation",
				Expected: "spaces",
			})
			good = false
		}
	}
	return good
}

func invalidColumn(line []byte) int {
	column := 1
	for len(line) > 0 {
		r, size := utf8.DecodeRune(line)
		if r == utf8.RuneError && size <= 1 {
			break
		}
		line = line[size:]
		column++
	}
	return column
}

var yamlLineRE = lazyre.New(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

func syntaxProblem(file string, err error) Problem {
	first, _, _ := strings.Cut(err.Error(), "\n")
	m := yamlLineRE.FindStringSubmatch(first)
	p := Problem{File: file, What: "not YAML: " + m[2]}
	if line, err := strconv.Atoi(m[1]); err == nil {
		p.Line, p.Column = line, 1
	}
	return p
}

// leaf is one value read from a file.
type leaf struct {
	pattern string // key in the shape
	key     string // key as it stands in the file
	id      string // what stands for * or the index for []
	value   any
	text    string // as written; lists joined by commas
	node    *yaml.Node
	line    int
}

// walker turns a file's nodes into leaves, and notes everything wrong on the way.
type walker struct {
	file     string
	shape    *shape
	problems *Problems
	nodes    int
	found    int // problems
	leaves   []leaf
}

func walk(file string, s *shape, top *yaml.Node, problems *Problems) []leaf {
	w := &walker{file: file, shape: s, problems: problems}
	if top != nil {
		w.mapping(top, "", "", "", 0)
	}
	return w.leaves
}

func (w *walker) problem(n *yaml.Node, key, value, what, expected string) {
	w.found++
	if w.found > maxProblems {
		if w.found == maxProblems+1 {
			w.problems.add(Problem{File: w.file, Line: n.Line, Column: n.Column, What: "too many mistakes from here on"})
		}
		return
	}
	w.problems.add(Problem{
		File: w.file, Line: n.Line, Column: n.Column, Key: key, Value: value, What: what,
		Expected: expected,
	})
}

// resolve follows an alias and counts the visit; it returns nil where the file as a whole has gone too far.
func (w *walker) resolve(n *yaml.Node, key string, depth int) *yaml.Node {
	for hops := 0; n.Kind == yaml.AliasNode; hops++ {
		if n.Alias == nil || hops > maxDepth {
			return nil
		}
		n = n.Alias
	}
	w.nodes++
	if w.nodes == maxNodes+1 || depth == maxDepth {
		w.problem(n, key, "", "too much nesting or too many aliases", "plain values")
	}
	if w.nodes > maxNodes || depth >= maxDepth {
		return nil
	}
	return n
}

func (w *walker) mapping(n *yaml.Node, pattern, key, id string, depth int) {
	n = w.resolve(n, key, depth)
	switch {
	case n == nil || n.Tag == "!!null": // a section whose lines are all comments
		return
	case n.Kind != yaml.MappingNode:
		w.problem(n, key, nodeText(n), "wrong type", "a section with "+w.childNames(pattern))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content) && w.found <= maxProblems; i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Kind != yaml.ScalarNode {
			w.problem(name, key, nodeText(name), "wrong type", "a key")
			continue
		}
		below := join(key, name.Value)
		if line, again := seen[name.Value]; again {
			w.problem(name, below, "", "duplicate key", fmt.Sprintf("it once; it stands in line %d too", line))
			continue
		}
		seen[name.Value] = name.Line
		w.child(name, value, pattern, below, id, depth)
	}
}

// child reads one key of a mapping.
func (w *walker) child(name, value *yaml.Node, pattern, key, id string, depth int) {
	at := join(pattern, name.Value)
	if _, known := w.shape.keys[at]; !known && !w.shape.section(at) && !w.shape.elements(at) {
		if any := join(pattern, "*"); w.shape.section(any) {
			if !nameRE.MatchString(name.Value) {
				w.problem(name, key, shown(name.Value), "not valid", "an id: "+nameExpected)
				return
			}
			at, id = any, name.Value
		} else {
			w.problem(name, key, "", "unknown key", w.suggestion(pattern, name.Value))
			return
		}
	}
	target := value
	for hops := 0; target.Kind == yaml.AliasNode && hops < maxDepth; hops++ {
		target = target.Alias
	}
	_, isLeaf := w.shape.keys[at]
	switch {
	case w.shape.elements(at) && (target.Kind == yaml.SequenceNode || !w.shape.section(at)):
		w.elements(value, at, key, depth+1)
	case isLeaf:
		w.leaf(value, at, key, id, depth+1)
	default:
		w.mapping(value, at, key, id, depth+1)
	}
}

func (w *walker) elements(n *yaml.Node, pattern, key string, depth int) {
	n = w.resolve(n, key, depth)
	if n == nil || n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		w.problem(n, key, nodeText(n), "wrong type", "a list")
		return
	}
	for i, element := range n.Content {
		w.mapping(element, pattern+"[]", fmt.Sprintf("%s[%d]", key, i), strconv.Itoa(i), depth+1)
	}
}

// leaf reads one value by its kind.
func (w *walker) leaf(n *yaml.Node, pattern, key, id string, depth int) {
	k := w.shape.keys[pattern].kind
	n = w.resolve(n, key, depth)
	if n == nil {
		return
	}
	var value any
	var err error
	written := n.Value
	switch {
	case n.Kind == yaml.SequenceNode && (k.list || k.either):
		all := make([]string, 0, len(n.Content))
		for i, element := range n.Content {
			at := fmt.Sprintf("%s[%d]", key, i)
			if element = w.resolve(element, at, depth+1); element == nil {
				return
			}
			if w.scalar(element, k, at) {
				all = append(all, element.Value)
			}
		}
		if len(all) < len(n.Content) {
			return
		}
		written = strings.Join(all, ", ")
		value, err = k.collect(all)
	case k.list || !k.accepts(n):
		err = errType
	default:
		value, err = k.parse(n.Value)
	}
	if err != nil {
		text := nodeText(n)
		if n.Kind == yaml.SequenceNode && !errors.Is(err, errType) { // a list is what it should be
			text = listText(n)
		}
		w.problem(n, key, text, whatOf(err), k.expected)
		return
	}
	w.leaves = append(w.leaves, leaf{pattern, key, id, value, written, n, n.Line})
}

// scalar checks one element of a list.
func (w *walker) scalar(n *yaml.Node, k kind, key string) bool {
	err := errType
	if k.accepts(n) {
		err = nil
		if k.list {
			_, err = k.parse(n.Value)
		}
	}
	if err != nil {
		w.problem(n, key, nodeText(n), whatOf(err), k.expected)
	}
	return err == nil
}

var errType = errors.New("wrong type")

func whatOf(err error) string {
	switch {
	case errors.Is(err, errType), errors.Is(err, errRange):
		return err.Error()
	case errors.Is(err, errInvalid):
		return "not valid"
	}
	return "not valid (" + err.Error() + ")"
}

func nodeText(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 && plainRE.MatchString(n.Value) {
		return n.Value // as written: quotes would hide that there are none
	}
	return shown(n.Value)
}

// listText shows a list as far as there is room.
func listText(n *yaml.Node) string {
	const most = 60
	text := "["
	for i, item := range n.Content {
		if i > 0 {
			text += ", "
		}
		text += nodeText(item)
		if r := []rune(text); len(r) > most {
			return string(r[:most]) + "...]"
		}
	}
	return text + "]"
}

var plainRE = lazyre.New(`^[!-~]{1,60}$`)

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}
