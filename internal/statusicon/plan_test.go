package statusicon

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is a tray with the limits of the real ones: it appends, removes and changes; separators have no handle;
// handles are never used twice.
type model struct {
	tree []node
	used map[handle]bool
}

func (m *model) find(nodes []node, h handle) *node {
	for i := range nodes {
		if nodes[i].handle == h && !nodes[i].item.Separator {
			return &nodes[i]
		}
		if n := m.find(nodes[i].children, h); n != nil {
			return n
		}
	}
	return nil
}

func (m *model) remove(nodes []node, h handle) ([]node, bool) {
	for i := range nodes {
		if nodes[i].handle == h && !nodes[i].item.Separator {
			return append(nodes[:i:i], nodes[i+1:]...), true
		}
		if rest, ok := m.remove(nodes[i].children, h); ok {
			nodes[i].children = rest
			return nodes, true
		}
	}
	return nodes, false
}

func (m *model) apply(o op) error {
	add := func(n node) error {
		if o.parent == root {
			m.tree = append(m.tree, n)
			return nil
		}
		p := m.find(m.tree, o.parent)
		if p == nil {
			return fmt.Errorf("%+v: no such parent", o)
		}
		p.children = append(p.children, n)
		return nil
	}
	switch o.kind {
	case opReset:
		m.tree = nil
		return nil
	case opSeparator:
		return add(node{item: Item{Separator: true}})
	case opAdd:
		if m.used[o.handle] || o.handle == root {
			return fmt.Errorf("%+v: handle used twice", o)
		}
		m.used[o.handle] = true
		return add(node{handle: o.handle, item: o.item})
	case opRemove:
		var ok bool
		if m.tree, ok = m.remove(m.tree, o.handle); !ok {
			return fmt.Errorf("%+v: nothing to remove", o)
		}
		return nil
	}
	n := m.find(m.tree, o.handle)
	if n == nil {
		return fmt.Errorf("%+v: no such entry", o)
	}
	switch o.kind {
	case opTitle:
		n.item.Title = o.item.Title
	case opTooltip:
		n.item.Tooltip = o.item.Tooltip
	case opEnabled:
		n.item.Disabled = o.item.Disabled
	case opChecked:
		n.item.Checked = o.item.Checked
	default:
	}
	return nil
}

// items is what a rendering shows.
func items(nodes []node) []Item {
	out := make([]Item, 0, len(nodes))
	for _, n := range nodes {
		it := n.item
		it.Children = items(n.children)
		out = append(out, it)
	}
	return normal(out)
}

func anyItems(depth int) *rapid.Generator[[]Item] {
	return rapid.Custom(func(t *rapid.T) []Item {
		n := rapid.IntRange(0, 6).Draw(t, "n")
		out := make([]Item, n)
		for i := range out {
			if rapid.IntRange(0, 4).Draw(t, "separator") == 0 {
				out[i].Separator = true
				continue
			}
			out[i] = Item{
				ID:        rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "id"),
				Title:     rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "title"),
				Tooltip:   rapid.SampledFrom([]string{"", "t"}).Draw(t, "tooltip"),
				Disabled:  rapid.Bool().Draw(t, "disabled"),
				Checkable: rapid.Bool().Draw(t, "checkable"),
				Checked:   rapid.Bool().Draw(t, "checked"),
			}
			if depth > 0 && rapid.Bool().Draw(t, "branch") {
				out[i].Children = anyItems(depth-1).Draw(t, "children")
			}
		}
		return out
	})
}

// TestPlanLeadsFromOldToNew: whatever the menus are, the steps are possible on a real tray and end in the new one; an
// entry keeps its ID for life; a menu that did not change needs no step.
func TestPlanLeadsFromOldToNew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p planner
		var nodes []node
		m := &model{used: map[handle]bool{}}
		ids := map[handle]string{}
		for range rapid.IntRange(1, 5).Draw(t, "menus") {
			want := normal(anyItems(2).Draw(t, "menu"))
			var ops []op
			ops, nodes = p.plan(nodes, want)
			for _, o := range ops {
				if err := m.apply(o); err != nil {
					t.Fatal(err)
				}
				if id, known := ids[o.handle]; o.item.ID != "" && known && id != o.item.ID {
					t.Fatalf("%+v changes the ID of a living entry", o)
				}
				if o.kind == opAdd {
					ids[o.handle] = o.item.ID
				}
			}
			if d := cmp.Diff(want, items(m.tree)); d != "" {
				t.Fatalf("rendered (-want +got):\n%s", d)
			}
			if d := cmp.Diff(want, items(nodes)); d != "" {
				t.Fatalf("remembered (-want +got):\n%s", d)
			}
			if again, _ := p.plan(nodes, want); len(again) != 0 {
				t.Fatalf("an unchanged menu needs %v", again)
			}
		}
	})
}

func entry(id string) Item                 { return Item{ID: id, Title: id} }
func sub(id string, children ...Item) Item { return Item{ID: id, Title: id, Children: children} }

var line = Item{Separator: true}

// TestPlanTouchesOnlyWhatMustBe shows which change costs what.
func TestPlanTouchesOnlyWhatMustBe(t *testing.T) {
	renamed := entry("a")
	renamed.Title, renamed.Disabled = "A", true
	for _, c := range []struct {
		name     string
		old, new []Item
		kinds    []opKind
	}{
		{"nothing", []Item{entry("a"), line, entry("b")}, []Item{entry("a"), line, entry("b")}, nil},
		{
			"words in place",
			[]Item{entry("a"), line, entry("b")},
			[]Item{renamed, line, entry("b")},
			[]opKind{opTitle, opEnabled},
		},
		{
			"words in a submenu in place",
			[]Item{sub("s", entry("a"))},
			[]Item{sub("s", renamed)},
			[]opKind{opTitle, opEnabled},
		},
		{"append", []Item{entry("a")}, []Item{entry("a"), entry("b")}, []opKind{opAdd}},
		{
			"remove before a separator",
			[]Item{entry("a"), entry("b"), line, entry("c")},
			[]Item{entry("a"), line, entry("c")},
			[]opKind{opRemove},
		},
		{
			"insert",
			[]Item{entry("a"), entry("c")},
			[]Item{entry("a"), entry("b"), entry("c")},
			[]opKind{opRemove, opAdd, opAdd},
		},
		{
			"newest first in a submenu",
			[]Item{entry("a"), line, sub("s", entry("1")), entry("q")},
			[]Item{entry("a"), line, sub("s", entry("2"), entry("1")), entry("q")},
			[]opKind{opRemove, opAdd, opAdd},
		},
		{
			"insert before a separator",
			[]Item{entry("a"), line, entry("c")},
			[]Item{entry("a"), entry("b"), line, entry("c")},
			[]opKind{opReset, opAdd, opAdd, opSeparator, opAdd},
		},
		{"another ID in the same place", []Item{entry("a")}, []Item{entry("b")}, []opKind{opRemove, opAdd}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p planner
			_, nodes := p.plan(nil, normal(c.old))
			ops, _ := p.plan(nodes, normal(c.new))
			var kinds []opKind
			for _, o := range ops {
				kinds = append(kinds, o.kind)
			}
			if d := cmp.Diff(c.kinds, kinds); d != "" {
				t.Errorf("steps (-want +got):\n%s", d)
			}
		})
	}
}

func TestNormal(t *testing.T) {
	got := normal([]Item{
		line, line,
		{ID: "a", Title: "a\x00\n\u202eb\xff", Checked: true},
		line, line,
		sub("s", line, entry("x"), line), line,
	})
	want := []Item{
		{ID: "a", Title: "a b\uFFFD", Children: []Item{}},
		line,
		{ID: "s", Title: "s", Children: []Item{{ID: "x", Title: "x", Children: []Item{}}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("normal (-want +got):\n%s", d)
	}
	long := make([]rune, 500)
	for i := range long {
		long[i] = 'ü'
	}
	if got := []rune(printable(string(long))); len(got) != maxTitle || got[maxTitle-1] != '…' {
		t.Errorf("a title of 500 characters became one of %d", len(got))
	}
}
