//go:build cgo || !darwin

package statusicon

import (
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"fyne.io/systray"
)

// systrayBackend is the tray by fyne.io/systray: AppKit on macOS, StatusNotifierItem and com.canonical.dbusmenu on
// Linux.
type systrayBackend struct {
	status atomic.Int32 // the Status last set

	items map[handle]*systray.MenuItem
	under map[handle][]handle // children, to forget them with their parent
}

func newBackend() backend {
	return &systrayBackend{items: map[handle]*systray.MenuItem{}, under: map[handle][]handle{}}
}

func (b *systrayBackend) available() (bool, string) { return trayHost() }

func (b *systrayBackend) run(ready func()) { systray.Run(b.prepared(ready), nil) }

// prepared gives the item its name and a picture before the panel first hears of it: on Linux the name is also its
// permanent identity, and the panel would show a hole. On macOS there is nothing to tell it to yet.
func (b *systrayBackend) prepared(ready func()) func() {
	if runtime.GOOS != "darwin" {
		systray.SetTitle("CALMenu")
		b.icon(Idle)
		// systray connects to the bus while ready runs, and what is set before it has done so may be in neither what it
		// publishes nor what it signals (nativeStart reads the icon, then makes SetIcon see the bus). Say it again.
		for _, after := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second} {
			time.AfterFunc(after, func() { b.icon(Status(b.status.Load())) })
		}
	}
	return ready
}

func (b *systrayBackend) quit() { systray.Quit() }

// settle: GTK's reader of D-Bus menus (libdbusmenu-gtk) drops children for good whose parent it knows nothing of yet, and of
// entries that are all new to it asks for the children first. It has no way to say what it knows. systray has a fresh menu read
// without children first, and again 150 ms later, which is too soon for a panel on a busy computer.
func (b *systrayBackend) settle() time.Duration {
	if runtime.GOOS == "darwin" {
		return 0
	}
	return time.Second
}

func (b *systrayBackend) icon(s Status) {
	b.status.Store(int32(s))
	if runtime.GOOS != "darwin" {
		systray.SetIcon(Icon(s, 64))
		return
	}
	// systray draws at 16 points; 32 pixels are that on a Retina display. Colour means something is running; idle takes
	// the colour of the bar.
	if s == Idle {
		systray.SetTemplateIcon(Template(s, 32), Icon(s, 32))
		return
	}
	systray.SetIcon(Icon(s, 32))
}

func (b *systrayBackend) name(title string) {
	if runtime.GOOS != "darwin" {
		systray.SetTitle(title)
	}
}

func (b *systrayBackend) tooltip(s string) { systray.SetTooltip(s) }

func (b *systrayBackend) apply(o op, click func(), done <-chan struct{}) {
	item := b.items[o.handle]
	switch o.kind {
	case opReset:
		systray.ResetMenu()
		clear(b.items)
		clear(b.under)
	case opRemove:
		item.Remove()
		b.forget(o.handle)
	case opAdd:
		b.add(o, click, done)
	case opSeparator:
		if o.parent == root {
			systray.AddSeparator()
		} else {
			b.items[o.parent].AddSeparator()
		}
	case opTitle:
		item.SetTitle(label(o.item.Title))
	case opTooltip:
		item.SetTooltip(o.item.Tooltip)
	case opEnabled:
		if o.item.Disabled {
			item.Disable()
		} else {
			item.Enable()
		}
	case opChecked:
		if o.item.Checked {
			item.Check()
		} else {
			item.Uncheck()
		}
	}
}

func (b *systrayBackend) add(o op, click func(), done <-chan struct{}) {
	title, tip := label(o.item.Title), o.item.Tooltip
	var item *systray.MenuItem
	switch parent := b.items[o.parent]; {
	case parent == nil && o.item.Checkable:
		item = systray.AddMenuItemCheckbox(title, tip, o.item.Checked)
	case parent == nil:
		item = systray.AddMenuItem(title, tip)
	case o.item.Checkable:
		item = parent.AddSubMenuItemCheckbox(title, tip, o.item.Checked)
	default:
		item = parent.AddSubMenuItem(title, tip)
	}
	if o.item.Disabled {
		item.Disable()
	}
	b.items[o.handle] = item
	b.under[o.parent] = append(b.under[o.parent], o.handle)
	if click != nil {
		go receive(item.ClickedCh, click, done)
	}
}

// receive waits for clicks all the time: systray drops a click that nobody waits for. It ends when systray closes the
// channel of a removed entry, or with the tray.
func receive(clicked <-chan struct{}, click func(), done <-chan struct{}) {
	for {
		select {
		case _, open := <-clicked:
			if !open {
				return
			}
			click()
		case <-done:
			return
		}
	}
}

func (b *systrayBackend) forget(h handle) {
	for _, child := range b.under[h] {
		b.forget(child)
	}
	delete(b.under, h)
	delete(b.items, h)
}

// label is title as the platform shows it unchanged: in D-Bus menus an underscore marks the next letter as a shortcut.
func label(title string) string {
	if runtime.GOOS == "darwin" {
		return title
	}
	return strings.ReplaceAll(title, "_", "__")
}
