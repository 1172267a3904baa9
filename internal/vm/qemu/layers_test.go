package qemu

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// disks is what a tree must be able to show: the content of each layer, as the history of writes that led to it.
type disks struct {
	tree
	content map[string]string // of a layer with all below it
	named   map[string]string // of a snapshot
	saved   map[string]string // what the disk held when a memory was saved
	serial  int
}

func (d *disks) newID() string {
	d.serial++
	return fmt.Sprintf("%012x", d.serial)
}

// write changes what the active layer shows.
func (d *disks) write() {
	d.serial++
	d.content[d.Active] += fmt.Sprintf(" %d", d.serial)
}

func (d *disks) put(parent, keep string) {
	id := d.newID()
	d.named[keep] = d.content[d.Active]
	d.tree = d.stack(id, parent, keep, time.Unix(int64(d.serial), 0))
	d.content[id] = d.content[parent]
}

func (d *disks) check(t *rapid.T, active string) {
	if err := d.tree.check(); err != nil {
		t.Fatalf("tree %+v: %v", d.tree, err)
	}
	if got := d.content[d.Active]; got != active {
		t.Fatalf("the disk holds %q, want %q", got, active)
	}
	if len(d.Snapshots) != len(d.named) {
		t.Fatalf("snapshots %+v, want %v", d.Snapshots, d.named)
	}
	for _, s := range d.Snapshots {
		if got, ok := d.content[s.Layer]; !ok || got != d.named[s.ID] {
			t.Fatalf("snapshot %s holds %q, want %q", s.ID, got, d.named[s.ID])
		}
	}
	for id, l := range d.Layers {
		if l.Memory != "" && d.saved[l.Memory] != d.content[id] {
			t.Fatalf("layer %s holds %q, its memory is of %q", id, d.content[id], d.saved[l.Memory])
		}
		if l.Memory != "" && !d.needed(id) {
			t.Fatalf("layer %s is hidden and has memory", id)
		}
	}
}

// suspend saves a memory of what the disk holds now.
func (d *disks) suspend() {
	id := d.newID()
	d.saved[id] = d.content[d.Active]
	d.tree = d.withMemory(d.Active, id)
}

// Whatever is snapshotted, rolled back, deleted, swept and merged: every snapshot and the disk keep their content.
func TestTreeKeepsContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := fmt.Sprintf("%012x", 0)
		d := &disks{
			tree:    tree{Active: first, Layers: map[string]layer{first: {}}},
			content: map[string]string{first: "base"},
			named:   map[string]string{},
			saved:   map[string]string{},
		}
		pick := func(t *rapid.T) string {
			if len(d.named) == 0 {
				t.Skip("no snapshots")
			}
			return rapid.SampledFrom(slices.Sorted(maps.Keys(d.named))).Draw(t, "snapshot")
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(*rapid.T) { // by a machine that runs, and so has left its memory behind
				d.tree = d.withMemory(d.Active, "")
				d.write()
			},
			"suspend": func(*rapid.T) { d.suspend() },
			"warm snapshot": func(t *rapid.T) {
				was := d.content[d.Active]
				d.suspend()
				d.put(d.Active, "w"+d.newID())
				d.tree = d.withMemory(d.Active, "")
				d.check(t, was)
			},
			"snapshot": func(t *rapid.T) {
				was := d.content[d.Active]
				d.put(d.Active, "s"+d.newID())
				d.check(t, was)
			},
			"rollback": func(t *rapid.T) {
				s, err := d.find(pick(t))
				if err != nil {
					t.Fatal(err)
				}
				d.put(s.Layer, "u"+d.newID())
				d.check(t, d.named[s.ID])
			},
			"delete": func(t *rapid.T) {
				id, was := pick(t), d.content[d.Active]
				next := d.forget(id)
				delete(d.named, id)
				swept := next.sweep()
				for _, gone := range swept {
					delete(d.content, gone)
				}
				d.tree = next.without(swept)
				d.check(t, was)
				if again := d.sweep(); len(again) != 0 {
					t.Fatalf("a second sweep finds %q", again)
				}
			},
			"merge": func(t *rapid.T) {
				all := d.merges()
				if len(all) == 0 {
					t.Skip("nothing hidden")
				}
				m, was := rapid.SampledFrom(all).Draw(t, "merge"), d.content[d.Active]
				if d.Layers[m.Child].Parent != m.Hidden || d.Layers[m.Hidden].Parent != m.Onto {
					t.Fatalf("%+v does not fit %+v", m, d.tree)
				}
				d.tree = d.merged(m)
				delete(d.content, m.Hidden)
				d.check(t, was)
			},
		})
		// With no snapshot left, sweeping and merging leave one layer.
		for _, s := range d.Snapshots {
			d.tree = d.forget(s.ID)
		}
		d.tree = d.without(d.sweep())
		for all := d.merges(); len(all) > 0; all = d.merges() {
			d.tree = d.merged(all[0])
		}
		if len(d.Layers) != 1 || len(d.withMemory(d.Active, "").memories()) != 0 {
			t.Fatalf("%d layers are left: %+v", len(d.Layers), d.tree)
		}
	})
}

func TestTreeCheckRefuses(t *testing.T) {
	a, b, c := "00000000000a", "00000000000b", "00000000000c"
	for name, bad := range map[string]tree{
		"empty":          {},
		"no active":      {Active: b, Layers: map[string]layer{a: {}}},
		"hostile name":   {Active: a, Layers: map[string]layer{a: {}, "../../etc": {}}},
		"no parent":      {Active: a, Layers: map[string]layer{a: {Parent: b}}},
		"circle":         {Active: a, Layers: map[string]layer{a: {}, b: {Parent: c}, c: {Parent: b}}},
		"above active":   {Active: a, Layers: map[string]layer{a: {}, b: {Parent: a}}},
		"hostile memory": {Active: a, Layers: map[string]layer{a: {Memory: "../run"}}},
		"no layer":       {Active: a, Layers: map[string]layer{a: {}}, Snapshots: []snapshot{{ID: "s", Layer: b}}},
		"active layer's": {Active: a, Layers: map[string]layer{a: {}}, Snapshots: []snapshot{{ID: "s", Layer: a}}},
	} {
		if err := bad.check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
