package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/calmenu/calmenu/internal/hint"
)

// editFile returns the file's text with one value changed. It changes the text itself where it can, so that blank lines
// and layout stay; where the text is laid out in a way it does not know, it changes the node tree, which keeps comments
// and order. Either result is read again and must hold the new value and every other value as before.
func editFile(file string, data []byte, t target, v any) ([]byte, error) {
	problems := &Problems{}
	top := parseYAML(file, data, problems)
	before := walk(file, t.shape, top, problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	key := t.keys[0]
	for _, l := range before {
		for _, way := range t.keys {
			if l.key == way {
				key = way
			}
		}
	}
	path := strings.Split(key, ".")
	rendered := render(v)
	if text, ok := editText(data, top, path, rendered); ok && sameButOne(file, t.shape, before, text, key, v) {
		return text, nil
	}
	text, err := editTree(data, top, path, rendered)
	if err != nil {
		return nil, fmt.Errorf("setting %s in %s: %w", key, file, err)
	}
	if !sameButOne(file, t.shape, before, text, key, v) {
		return nil, hint.Errorf("edit the file by hand",
			"setting %s in %s: the file is laid out in a way only a person can change", key, file)
	}
	return text, nil
}

// sameButOne tells whether the text holds the values of before, with the one for key being v.
func sameButOne(file string, s *shape, before []leaf, text []byte, key string, v any) bool {
	problems := &Problems{}
	after := walk(file, s, parseYAML(file, text, problems), problems)
	if problems.err() != nil {
		return false
	}
	want := map[string]any{key: v}
	for _, l := range before {
		if l.key != key {
			want[l.key] = l.value
		}
	}
	if len(after) != len(want) {
		return false
	}
	for _, l := range after {
		if !reflect.DeepEqual(want[l.key], l.value) {
			return false
		}
	}
	return true
}

// render writes a value as YAML on one line.
func render(v any) string {
	switch typed := v.(type) {
	case []string:
		return renderList(typed)
	case Command:
		if typed.Script != "" {
			return yamlText(typed.Script)
		}
		return renderList(typed.Argv)
	case string:
		return yamlText(typed)
	case time.Duration:
		return brief(typed)
	case int64:
		return renderSize(typed)
	case time.Time:
		return typed.Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

// renderSize writes bytes with the largest unit that keeps them exact.
func renderSize(n int64) string {
	units := []struct {
		name string
		size int64
	}{
		{"TB", 1e12},
		{"TiB", 1 << 40},
		{"GB", 1e9},
		{"GiB", 1 << 30},
		{"MB", 1e6},
		{"MiB", 1 << 20},
		{"kB", 1e3},
		{"KiB", 1 << 10},
	}
	for _, u := range units {
		if n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

func renderList(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = jsonText(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// jsonText writes a text in double quotes; JSON's are YAML's.
func jsonText(s string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// lookup follows path from top as far as mappings go: the last mapping, the key node it hangs on (nil at the top), how
// many names were found, and the value if all were.
func lookup(top *yaml.Node, path []string) (mapping, owner *yaml.Node, found int, value *yaml.Node) {
	mapping = top
	for found < len(path) {
		var name, next *yaml.Node
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if mapping.Content[i].Value == path[found] {
				name, next = mapping.Content[i], mapping.Content[i+1]
			}
		}
		if next == nil {
			return mapping, owner, found, nil
		}
		found++
		if found == len(path) || next.Kind != yaml.MappingNode {
			return mapping, name, found, next
		}
		mapping, owner = next, name
	}
	return mapping, owner, found, nil
}

// editText changes the text in place; false if it does not know how.
func editText(data []byte, top *yaml.Node, path []string, rendered string) ([]byte, bool) {
	if top == nil {
		return appendLines(data, nested(path, 0, rendered)), true
	}
	if top.Kind != yaml.MappingNode {
		return nil, false
	}
	mapping, owner, found, value := lookup(top, path)
	rest := path[found:]
	switch {
	case value != nil && len(rest) == 0:
		return replaceScalar(data, value, rendered)
	case value != nil: // a section with nothing in it
		if value.Tag != "!!null" || value.Value != "" {
			return nil, false
		}
		return insertAfterLine(data, owner.Line, nested(rest, owner.Column+1, rendered)), true
	case mapping.Style&yaml.FlowStyle != 0:
		at, ok := offset(data, mapping.Line, mapping.Column)
		if !ok || data[at] != '{' {
			return nil, false
		}
		insert := flow(rest, rendered)
		if len(mapping.Content) > 0 {
			insert += ", "
		}
		return splice(data, at+1, at+1, insert), true
	case owner == nil:
		return appendLines(data, nested(rest, 0, rendered)), true
	case len(mapping.Content) > 0 && mapping.Content[0].Line > owner.Line:
		return insertAfterLine(data, owner.Line, nested(rest, mapping.Content[0].Column-1, rendered)), true
	}
	return nil, false
}

// replaceScalar puts a new value where a scalar or a one-line list stands.
func replaceScalar(data []byte, n *yaml.Node, rendered string) ([]byte, bool) {
	at, ok := offset(data, n.Line, n.Column)
	if !ok {
		return nil, false
	}
	line := data[at:]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	length := -1
	switch {
	case n.Kind == yaml.SequenceNode && line[0] == '[':
		length = bytes.LastIndexByte(line, ']') + 1
	case n.Kind != yaml.ScalarNode || n.Anchor != "":
	case line[0] == '"' || line[0] == '\'':
		for end := 1; end < len(line); end++ {
			if line[end] == '\\' && line[0] == '"' {
				end++
			} else if line[end] == line[0] {
				if end+1 < len(line) && line[0] == '\'' && line[end+1] == '\'' {
					end++
					continue
				}
				length = end + 1
				break
			}
		}
	case n.Value != "" && bytes.HasPrefix(line, []byte(n.Value)):
		length = len(n.Value)
	}
	if length <= 0 {
		return nil, false
	}
	return splice(data, at, at+length, rendered), true
}

// nested writes path as nested sections, indented by spaces, with the value at the end.
func nested(path []string, spaces int, rendered string) string {
	var b strings.Builder
	for i, name := range path {
		b.WriteString(strings.Repeat(" ", spaces+2*i) + name + ":")
		if i == len(path)-1 {
			b.WriteString(" " + rendered)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// flow writes path as nested sections in braces.
func flow(path []string, rendered string) string {
	if len(path) == 1 {
		return path[0] + ": " + rendered
	}
	return path[0] + ": {" + flow(path[1:], rendered) + "}"
}

func splice(data []byte, from, to int, with string) []byte {
	return append(append(append([]byte{}, data[:from]...), with...), data[to:]...)
}

func appendLines(data []byte, lines string) []byte {
	if len(data) > 0 && data[len(data)-1] != '\n' {
		lines = "\n" + lines
	}
	return splice(data, len(data), len(data), lines)
}

func insertAfterLine(data []byte, line int, lines string) []byte {
	at := 0
	for ; line > 0; line-- {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return appendLines(data, lines)
		}
		at += end + 1
	}
	return splice(data, at, at, lines)
}

// offset finds a node's place in the text; columns count characters.
func offset(data []byte, line, column int) (int, bool) {
	at := 0
	for ; line > 1; line-- {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return 0, false
		}
		at += end + 1
	}
	characters := 1
	for i := range string(data[at:]) {
		if characters == column {
			return at + i, true
		}
		characters++
	}
	return 0, false
}

// editTree changes the node tree and writes it out again.
func editTree(data []byte, top *yaml.Node, path []string, rendered string) ([]byte, error) {
	var doc, value yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal([]byte(rendered), &value); err != nil {
		return nil, err
	}
	if top == nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("the file is no mapping")
	}
	mapping, _, found, last := lookup(doc.Content[0], path)
	if last != nil {
		if last.Kind == yaml.AliasNode || last.Anchor != "" {
			return nil, hint.Errorf("edit the file by hand", "the value is shared by an anchor")
		}
		if found < len(path) {
			if err := yaml.Unmarshal([]byte("{"+flow(path[found:], rendered)+"}"), &value); err != nil {
				return nil, err
			}
			value.Content[0].Style = 0
		}
		comments := *last
		*last = *value.Content[0]
		last.HeadComment, last.LineComment = comments.HeadComment, comments.LineComment
		last.FootComment = comments.FootComment
		return encode(&doc)
	}
	if err := yaml.Unmarshal([]byte(nested(path[found:], 0, rendered)), &value); err != nil {
		return nil, err
	}
	mapping.Content = append(mapping.Content, value.Content[0].Content...)
	return encode(&doc)
}

func encode(doc *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(doc); err != nil {
		return nil, err
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
