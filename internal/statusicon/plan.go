package statusicon

// handle names one entry of the rendering. Handles are never used twice, so an entry never changes its meaning.
type handle int

// root is the handle of the menu itself.
const root handle = 0

// node is an entry as it is rendered: the item it was last told to show (its Children left out) and what is under it.
type node struct {
	handle   handle
	item     Item
	children []node
}

type opKind int

const (
	opReset     opKind = iota // remove everything
	opRemove                  // remove handle and all under it
	opAdd                     // append item to parent as handle
	opSeparator               // append a separator to parent; it gets no handle
	opTitle
	opTooltip
	opEnabled
	opChecked
)

// op is one step that a tray can do. Trays only append, remove and change entries in place; they cannot insert or move,
// and a separator once added leaves only with its whole menu.
type op struct {
	kind   opKind
	handle handle
	parent handle
	item   Item
	branch bool // opAdd: entries will be added under it
}

// planner hands out handles that were never used before.
type planner struct{ last handle }

// plan returns the steps that turn the rendering old into one of items, and that rendering. Items must be normal.
// Entries present in both keep their place and handle; an entry is rebuilt only if the order makes it necessary, a menu
// only if a separator does.
func (p *planner) plan(old []node, items []Item) ([]op, []node) {
	if ops, now, ok := p.level(root, old, items); ok {
		return ops, now
	}
	ops, now := p.add(root, items)
	return append([]op{{kind: opReset}}, ops...), now
}

// level plans one menu: what stays must be a prefix of items in the old order, with every old separator in it; the rest
// is removed or appended. ok is false if that cannot be.
func (p *planner) level(parent handle, old []node, items []Item) (ops []op, now []node, ok bool) {
	var removes, updates []op
	for _, o := range old {
		if n := len(now); n < len(items) {
			if kept, changes, same := p.keep(o, items[n]); same {
				updates, now = append(updates, changes...), append(now, kept)
				continue
			}
		}
		if o.item.Separator {
			return nil, nil, false
		}
		removes = append(removes, op{kind: opRemove, handle: o.handle})
	}
	adds, added := p.add(parent, items[len(now):])
	return append(append(removes, updates...), adds...), append(now, added...), true
}

// keep plans changing o into item in place. What a tray fixes when it creates an entry must agree: the identity,
// whether it has a tick, whether it opens a submenu.
func (p *planner) keep(o node, item Item) (node, []op, bool) {
	was := o.item
	if was.Separator || item.Separator {
		return o, nil, was.Separator && item.Separator
	}
	if was.ID != item.ID || was.Checkable != item.Checkable || (len(o.children) > 0) != (len(item.Children) > 0) {
		return node{}, nil, false
	}
	ops, children, ok := p.level(o.handle, o.children, item.Children)
	if !ok {
		return node{}, nil, false
	}
	for _, c := range []struct {
		kind    opKind
		changed bool
	}{
		{opTitle, was.Title != item.Title},
		{opTooltip, was.Tooltip != item.Tooltip},
		{opEnabled, was.Disabled != item.Disabled},
		{opChecked, was.Checked != item.Checked},
	} {
		if c.changed {
			ops = append(ops, op{kind: c.kind, handle: o.handle, item: leaf(item)})
		}
	}
	return node{handle: o.handle, item: leaf(item), children: children}, ops, true
}

// add plans appending items to parent, a whole level before the one below.
func (p *planner) add(parent handle, items []Item) (ops []op, now []node) {
	for _, it := range items {
		if it.Separator {
			ops, now = append(ops, op{kind: opSeparator, parent: parent}), append(now, node{item: it})
			continue
		}
		p.last++
		ops = append(ops, op{kind: opAdd, handle: p.last, parent: parent, item: leaf(it), branch: len(it.Children) > 0})
		now = append(now, node{handle: p.last, item: leaf(it)})
	}
	for i, it := range items {
		if len(it.Children) > 0 {
			var below []op
			below, now[i].children = p.add(now[i].handle, it.Children)
			ops = append(ops, below...)
		}
	}
	return ops, now
}

// levels divides a plan: the first are steps that need no entry which the plan itself adds, the next are for entries under
// those of the first, and so on.
func levels(ops []op) (all [][]op) {
	under := map[handle]int{} // the level of what is added under an entry
	for _, o := range ops {
		n := under[o.parent]
		if o.kind == opAdd {
			under[o.handle] = n + 1
		}
		for len(all) <= n {
			all = append(all, nil)
		}
		all[n] = append(all[n], o)
	}
	return all
}

// leaf is it without its children.
func leaf(it Item) Item {
	it.Children = nil
	return it
}
