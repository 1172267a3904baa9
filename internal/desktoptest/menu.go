//go:build linux

package desktoptest

import (
	"context"
	"errors"
	"fmt"
	"image"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// MenuItem is an entry of the tray's menu as the panel is told to show it.
type MenuItem struct {
	Label     string
	Enabled   bool
	Checked   bool
	Separator bool
	Children  []MenuItem
}

// MenuItems returns the menu of the only icon in the tray, over D-Bus (com.canonical.dbusmenu).
func (s *Session) MenuItems() ([]MenuItem, error) {
	watcher := s.bus.Object("org.kde.StatusNotifierWatcher", "/StatusNotifierWatcher")
	v, err := watcher.GetProperty("org.kde.StatusNotifierWatcher.RegisteredStatusNotifierItems")
	if err != nil {
		return nil, err
	}
	items, ok := v.Value().([]string)
	if !ok || len(items) != 1 {
		return nil, fmt.Errorf("the tray has %v", v)
	}
	owner, path, ok := strings.Cut(items[0], "/")
	if !ok {
		return nil, fmt.Errorf("the tray names an icon %q", items[0])
	}
	v, err = s.bus.Object(owner, dbus.ObjectPath("/"+path)).GetProperty("org.kde.StatusNotifierItem.Menu")
	if err != nil {
		return nil, err
	}
	menuPath, ok := v.Value().(dbus.ObjectPath)
	if !ok {
		return nil, fmt.Errorf("the icon names its menu %v", v)
	}
	var revision uint32
	var layout menuLayout
	err = s.bus.Object(owner, menuPath).
		Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &layout)
	if err != nil {
		return nil, err
	}
	return layout.items()
}

// menuLayout is com.canonical.dbusmenu's (ia{sv}av).
type menuLayout struct {
	ID         int32
	Properties map[string]dbus.Variant
	Children   []dbus.Variant
}

func (l menuLayout) items() ([]MenuItem, error) {
	var out []MenuItem
	for _, v := range l.Children {
		var child menuLayout
		if err := dbus.Store([]any{v.Value()}, &child); err != nil {
			return nil, fmt.Errorf("reading a menu: %w", err)
		}
		if shown, ok := child.Properties["visible"].Value().(bool); ok && !shown {
			continue
		}
		it := MenuItem{Enabled: true}
		text, _ := child.Properties["label"].Value().(string)
		it.Label = strings.ReplaceAll(text, "__", "_")
		if enabled, ok := child.Properties["enabled"].Value().(bool); ok {
			it.Enabled = enabled
		}
		state, _ := child.Properties["toggle-state"].Value().(int32)
		it.Checked = state == 1
		it.Separator = child.Properties["type"].Value() == "separator"
		var err error
		if it.Children, err = child.items(); err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	return out, nil
}

// FindItem returns the entry that the labels lead to. A label may be a beginning: "Launch" finds "Launch shell".
func FindItem(items []MenuItem, labels ...string) (MenuItem, bool) {
	i, ok := indexOf(items, labels[0])
	if !ok {
		return MenuItem{}, false
	}
	if len(labels) == 1 {
		return items[i], true
	}
	return FindItem(items[i].Children, labels[1:]...)
}

func indexOf(items []MenuItem, label string) (int, bool) {
	for i, it := range items {
		if it.Label == label {
			return i, true
		}
	}
	for i, it := range items {
		if !it.Separator && strings.HasPrefix(it.Label, label) {
			return i, true
		}
	}
	return 0, false
}

// WaitForItem waits until the menu has an enabled entry at the labels.
func (s *Session) WaitForItem(labels ...string) MenuItem {
	s.t.Helper()
	var it MenuItem
	s.WaitFor(func() (ok bool) {
		items, err := s.MenuItems()
		if err != nil {
			return false
		}
		it, ok = FindItem(items, labels...)
		return ok && it.Enabled
	}, patience, fmt.Sprintf("the menu entry %q", labels))
	return it
}

// OpenMenu opens the menu by a click on the icon and returns its window.
func (s *Session) OpenMenu() Window {
	s.t.Helper()
	var at image.Rectangle
	s.WaitFor(func() (ok bool) { at, ok = s.AnyTrayIcon(); return ok }, patience, "an icon in the tray")
	before := s.popups()
	s.Click(at.Min.X+at.Dx()/2, at.Min.Y+at.Dy()/2, 1)
	var w Window
	s.WaitFor(func() (ok bool) { w, ok = s.shownMenu(before, nil); return ok }, patience, "the menu")
	return w
}

// shownMenu is the window that shows the entries below parents (none: the menu itself) and was not among before.
// A tooltip or a notification may come up at the same time: a menu is known by its height.
func (s *Session) shownMenu(before map[string]bool, parents []string) (Window, bool) {
	items, err := s.menuBelow(parents)
	if err != nil {
		return Window{}, false
	}
	for id := range s.popups() {
		found, ok := s.window(id)
		if ok && !before[id] && edges(found.Rect, items) >= 0 {
			return found, true
		}
	}
	return Window{}, false
}

// menuBelow returns the entries of the submenu that the labels lead to, or of the menu itself.
func (s *Session) menuBelow(parents []string) ([]MenuItem, error) {
	items, err := s.MenuItems()
	if err != nil || len(parents) == 0 {
		return items, err
	}
	it, ok := FindItem(items, parents...)
	if !ok {
		return nil, fmt.Errorf("no entry %q", parents)
	}
	return it.Children, nil
}

// ClickMenuPath opens the menu and clicks through it, all by mouse: ClickMenuPath("Rollback", "before tests"). Each
// entry must light up under the mouse before it is clicked. Labels are as in FindItem.
func (s *Session) ClickMenuPath(labels ...string) {
	s.t.Helper()
	at := s.HoverMenuPath(labels...)
	s.Click(at.X, at.Y, 1)
}

// HoverMenuPath is ClickMenuPath up to the last click: the menu is left open, with the mouse on the entry.
func (s *Session) HoverMenuPath(labels ...string) image.Point {
	s.t.Helper()
	s.WaitForItem(labels...)
	for range openings - 1 {
		if at, ok := s.hoverPath(labels, reopen); ok {
			return at
		}
		for range labels {
			s.Key("Escape")
		}
	}
	at, ok := s.hoverPath(labels, patience)
	if !ok {
		s.t.Fatalf("waited %v for the menus on the way to %q", patience, labels)
	}
	return at
}

// A submenu that was opened before the panel had heard what is in it stays too small: GTK makes none larger that is shown.
// A person closes the menu and opens it again.
const (
	openings = 3
	reopen   = 5 * time.Second
)

func (s *Session) hoverPath(labels []string, limit time.Duration) (at image.Point, ok bool) {
	s.t.Helper()
	w := s.OpenMenu()
	last := len(labels) - 1
	for depth, label := range labels[:last] {
		before := s.popups() // now: hovering alone opens a submenu after a moment
		at := s.hover(w, labels[:depth], label)
		s.Click(at.X, at.Y, 1)
		ctx, cancel := context.WithTimeout(s.t.Context(), limit)
		ok := Poll(ctx, func() (ok bool) { w, ok = s.shownMenu(before, labels[:depth+1]); return ok })
		cancel()
		if !ok {
			return at, false
		}
	}
	return s.hover(w, labels[:last], labels[last]), true
}

// hover moves the mouse to an entry of the menu shown in w and waits until it lights up there.
func (s *Session) hover(w Window, parents []string, label string) image.Point {
	s.t.Helper()
	var at image.Point
	var why error
	s.waitFor(func() bool {
		items, err := s.menuBelow(parents)
		if err == nil {
			w, _ = s.window(w.ID)
			at, err = entryAt(w.Rect, items, label)
		}
		if why = err; err != nil {
			return false
		}
		s.Move(at.X, at.Y)
		return s.highlighted(image.Pt(w.Rect.Min.X+4, at.Y))
	}, patience, func() string {
		return fmt.Sprintf("the entry %q to light up under the mouse at %v (%v)", label, at, why)
	})
	return at
}

// entryAt returns a point in the entry of that label, in a menu of that place and height.
func entryAt(menu image.Rectangle, items []MenuItem, label string) (image.Point, error) {
	index, ok := indexOf(items, label)
	if !ok {
		return image.Point{}, fmt.Errorf("no entry %q", label)
	}
	if !items[index].Enabled {
		return image.Point{}, fmt.Errorf("entry %q cannot be clicked", label)
	}
	around := edges(menu, items)
	if around < 0 {
		return image.Point{}, errors.New("the menu on the screen is not yet the one on the bus")
	}
	y := menu.Min.Y + around/2 + heightOf(items[:index]) + entryHeight/2
	return image.Pt(menu.Min.X+menu.Dx()/3, y), nil
}

// edges returns how many pixels a menu of that place has above and below the items together, or -1 if it is another
// menu's place.
func edges(menu image.Rectangle, items []MenuItem) int {
	if around := menu.Dy() - heightOf(items); around <= 16 {
		return max(around, -1)
	}
	return -1
}

func heightOf(items []MenuItem) (sum int) {
	for _, it := range items {
		if it.Separator {
			sum += separatorHeight
		} else {
			sum += entryHeight
		}
	}
	return sum
}
