package qemu

import (
	"fmt"
	"slices"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// tree is the layers of a machine's disk and the snapshots that point into it. Each layer is a qcow2 file that holds
// what differs from its parent; the parent of the first is the base image (""). Only the active layer is ever written.
type tree struct {
	Active    string           `json:"active"`
	Layers    map[string]layer `json:"layers"`
	Snapshots []snapshot       `json:"snapshots"` // oldest first
}

type layer struct {
	Parent  string    `json:"parent,omitempty"`
	Created time.Time `json:"created"`
	// Memory names what the machine had in memory when the layer was last written, if that was saved: the two make a
	// machine that goes on. Of the active layer, it says that the machine is suspended.
	Memory string `json:"memory,omitempty"`
}

type snapshot struct {
	ID      string    `json:"id"`
	Layer   string    `json:"layer"`
	Created time.Time `json:"created"`
}

// check says what is wrong with a tree, if anything: it is read from a file.
func (t tree) check() error {
	if _, ok := t.Layers[t.Active]; !ok {
		return fmt.Errorf("active layer %q is not there", t.Active)
	}
	for id, l := range t.Layers {
		if !layerPattern.MatchString(id) {
			return fmt.Errorf("%q is not a layer", id)
		}
		if l.Memory != "" && !layerPattern.MatchString(l.Memory) {
			return fmt.Errorf("layer %q has no memory %q", id, l.Memory)
		}
		steps := 0
		for p := l.Parent; p != ""; p = t.Layers[p].Parent {
			if _, ok := t.Layers[p]; !ok {
				return fmt.Errorf("layer %q has no parent %q", id, p)
			}
			if steps++; steps > len(t.Layers) {
				return fmt.Errorf("layer %q is its own ancestor", id)
			}
		}
		if p := l.Parent; p == t.Active {
			return fmt.Errorf("layer %q is above the active layer", id)
		}
	}
	for _, s := range t.Snapshots {
		if _, ok := t.Layers[s.Layer]; !ok || s.Layer == t.Active {
			return fmt.Errorf("snapshot %q points to layer %q", s.ID, s.Layer)
		}
	}
	return nil
}

func (t tree) find(id string) (snapshot, error) {
	for _, s := range t.Snapshots {
		if s.ID == id {
			return s, nil
		}
	}
	return snapshot{}, fmt.Errorf("snapshot %q: %w", id, vm.ErrNoSnapshot)
}

// clone returns a tree that can be changed without changing t.
func (t tree) clone() tree {
	c := tree{Active: t.Active, Layers: make(map[string]layer, len(t.Layers)), Snapshots: slices.Clone(t.Snapshots)}
	for id, l := range t.Layers {
		c.Layers[id] = l
	}
	return c
}

// stack returns the tree after a new, empty layer was put on parent and made active; what was active is kept as
// snapshot keep. Taking a snapshot and restoring one are both this. The new layer shows what its parent does, so the
// parent's memory fits it too.
func (t tree) stack(newLayer, parent, keep string, now time.Time) tree {
	next := t.clone()
	next.Layers[newLayer] = layer{Parent: parent, Created: now, Memory: t.Layers[parent].Memory}
	next.Snapshots = append(next.Snapshots, snapshot{ID: keep, Layer: t.Active, Created: now})
	next.Active = newLayer
	return next
}

// withMemory returns the tree with a layer's memory changed; the empty id takes it away.
func (t tree) withMemory(of, id string) tree {
	next := t.clone()
	l := next.Layers[of]
	l.Memory = id
	next.Layers[of] = l
	return next
}

// memories returns the memory that layers refer to, each once.
func (t tree) memories() []string {
	var all []string
	for _, l := range t.Layers {
		if l.Memory != "" && !slices.Contains(all, l.Memory) {
			all = append(all, l.Memory)
		}
	}
	return all
}

// forget returns the tree without snapshot id. Its layer stays until sweep or a merge takes it, without its memory:
// nothing can go back to that instant.
func (t tree) forget(id string) tree {
	next := t.clone()
	next.Snapshots = slices.DeleteFunc(next.Snapshots, func(s snapshot) bool { return s.ID == id })
	for name := range next.Layers {
		if !next.needed(name) {
			next = next.withMemory(name, "")
		}
	}
	return next
}

// sweep returns the layers nothing needs, leaves first: neither active nor a snapshot's nor below one of those.
func (t tree) sweep() []string {
	rest := t.clone()
	var all []string
	for {
		var found []string
		for id := range rest.Layers {
			if !rest.needed(id) && len(rest.children(id)) == 0 {
				found = append(found, id)
			}
		}
		if len(found) == 0 {
			return all
		}
		slices.Sort(found)
		for _, id := range found {
			delete(rest.Layers, id)
		}
		all = append(all, found...)
	}
}

// without returns the tree without the given layers, which nothing may need.
func (t tree) without(layers []string) tree {
	next := t.clone()
	for _, id := range layers {
		delete(next.Layers, id)
	}
	return next
}

// merge is a hidden layer and the only layer on it, into which its content can go.
type merge struct {
	Hidden string `json:"hidden"`
	Child  string `json:"child"`
	Onto   string `json:"onto"` // the hidden layer's parent, the child's next
}

// merges returns what could be merged: layers that no snapshot names and that only one other layer needs.
func (t tree) merges() []merge {
	var all []merge
	for id, l := range t.Layers {
		if above := t.children(id); !t.needed(id) && len(above) == 1 {
			all = append(all, merge{Hidden: id, Child: above[0], Onto: l.Parent})
		}
	}
	slices.SortFunc(all, func(a, b merge) int { return compareStrings(a.Hidden, b.Hidden) })
	return all
}

// merged returns the tree after m. The hidden layer's file is then nobody's.
func (t tree) merged(m merge) tree {
	next := t.clone()
	child := next.Layers[m.Child]
	child.Parent = m.Onto
	next.Layers[m.Child] = child
	delete(next.Layers, m.Hidden)
	return next
}

// chain returns the layers a machine has open: the active one and all below it.
func (t tree) chain() []string {
	var all []string
	for id := t.Active; id != ""; id = t.Layers[id].Parent {
		all = append(all, id)
	}
	return all
}

func (t tree) needed(id string) bool {
	return id == t.Active || slices.ContainsFunc(t.Snapshots, func(s snapshot) bool { return s.Layer == id })
}

func (t tree) children(id string) []string {
	var all []string
	for c, l := range t.Layers {
		if l.Parent == id {
			all = append(all, c)
		}
	}
	slices.Sort(all)
	return all
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
