package statusicon

import (
	"context"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
)

// rest is the least time between two renderings: 10 a second are more than anyone reads, and each one makes the panel
// fetch the menu again.
const rest = 100 * time.Millisecond

// backend is a tray as the platform has it. apply, icon, name and tooltip are called by one goroutine at a time, after
// ready was called.
type backend interface {
	// available says whether there is a tray to show anything in, and if not, why.
	available() (bool, string)
	// run shows the tray and blocks until quit. It must be called on the main thread.
	run(ready func())
	// quit ends run; it may be called from any goroutine, more than once.
	quit()
	// apply carries out one step. For opAdd, click is to be called on each click until done is closed; it is nil for
	// entries that deliver none, and never blocks.
	apply(o op, click func(), done <-chan struct{})
	// settle is how long an entry must have been there before others are added under it.
	settle() time.Duration
	icon(Status)
	name(string)
	tooltip(string)
}

// Tray is the icon in the menu bar and its menu. Make one with NewTray; a process can show one tray, once.
type Tray struct {
	onClick func(id string)
	tray    backend
	clicks  *queue
	changed chan struct{} // holds one: newest differs from what was last rendered

	mu     sync.Mutex // guards newest
	newest Menu

	// What is on the screen; touched by the rendering goroutine alone.
	drawn   bool
	shown   Menu // without Items
	nodes   []node
	planner planner
	below   [][]op // what is still to be applied of nodes, a level of new entries at a time
}

// NewTray returns a tray that delivers clicks to onClick, in order, one at a time, on a goroutine of its own. However
// long onClick takes, no click is lost.
func NewTray(onClick func(id string)) *Tray { return newTray(onClick, newBackend()) }

func newTray(onClick func(id string), b backend) *Tray {
	return &Tray{onClick: onClick, tray: b, clicks: newQueue(), changed: make(chan struct{}, 1)}
}

// Available says whether the desktop has a tray and, if not, why.
func (t *Tray) Available() (bool, string) { return t.tray.available() }

// Set shows m, unless a newer menu comes first. It never blocks and may be called from any goroutine, also before
// Run. The caller must not change m.Items afterwards.
func (t *Tray) Set(m Menu) {
	t.mu.Lock()
	t.newest = m
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// Run shows the tray until Quit is called or ctx ends. It must be called on the main goroutine, which the platform's
// event loop needs for itself. It returns an error only if there is no tray.
func (t *Tray) Run(ctx context.Context) error {
	if ok, why := t.Available(); !ok {
		return hint.Errorf("Use the command line (CALMenu help), or start a panel with a status tray.",
			"showing the status icon: %s", why)
	}
	if ctx.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, t.tray.quit)()
	t.tray.run(func() { t.start(ctx) })
	return nil
}

// Quit takes the tray away and makes Run return.
func (t *Tray) Quit() { t.tray.quit() }

// start renders the first menu before it returns, so that the panel never sees an empty one, and keeps rendering.
func (t *Tray) start(ctx context.Context) {
	select {
	case <-t.changed:
	default:
	}
	t.render(ctx)
	// Nobody waits for these two: at the end they may be in a call that needs the main thread, which is the one
	// waiting.
	go t.follow(ctx)
	go t.clicks.drain(ctx, t.onClick)
}

func (t *Tray) follow(ctx context.Context) {
	pause := time.NewTimer(rest)
	defer pause.Stop()
	var settled <-chan time.Time // when what is below can be applied
	for {
		if settled == nil && len(t.below) > 0 {
			settled = time.After(t.tray.settle())
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		select {
		case <-t.changed:
		case <-settled:
			t.apply(ctx, t.below[0])
			t.below = t.below[1:]
			settled = nil
		case <-ctx.Done():
			return
		}
		t.render(ctx)
		pause.Reset(rest)
	}
}

// render shows the newest menu: its entries once all of those before are there, its icon, name and tooltip at once.
func (t *Tray) render(ctx context.Context) {
	t.mu.Lock()
	m := t.newest
	t.mu.Unlock()
	m.Title, m.Tooltip = printable(m.Title), printable(m.Tooltip)
	if !t.drawn || m.Title != t.shown.Title {
		t.tray.name(m.Title)
	}
	if !t.drawn || m.Status != t.shown.Status {
		t.tray.icon(m.Status)
	}
	if !t.drawn || m.Tooltip != t.shown.Tooltip {
		t.tray.tooltip(m.Tooltip)
	}
	if len(t.below) == 0 {
		var ops []op
		ops, t.nodes = t.planner.plan(t.nodes, normal(m.Items))
		for i, level := range levels(ops) {
			if i == 0 || t.tray.settle() == 0 {
				t.apply(ctx, level)
			} else {
				t.below = append(t.below, level)
			}
		}
	}
	m.Items = nil
	t.drawn, t.shown = true, m
}

func (t *Tray) apply(ctx context.Context, ops []op) {
	for _, o := range ops {
		var click func()
		if id := o.item.ID; o.kind == opAdd && id != "" && !o.branch {
			click = func() { t.clicks.push(id) }
		}
		t.tray.apply(o, click, ctx.Done())
	}
}

// queue holds clicks until they are handled; it has no limit, for a person cannot click faster than memory grows.
type queue struct {
	added chan struct{} // holds one: ids is not empty

	mu  sync.Mutex // guards ids
	ids []string
}

func newQueue() *queue { return &queue{added: make(chan struct{}, 1)} }

func (q *queue) push(id string) {
	q.mu.Lock()
	q.ids = append(q.ids, id)
	q.mu.Unlock()
	select {
	case q.added <- struct{}{}:
	default:
	}
}

// drain hands each ID to f until ctx ends.
func (q *queue) drain(ctx context.Context, f func(string)) {
	for {
		select {
		case <-q.added:
		case <-ctx.Done():
			return
		}
		q.mu.Lock()
		ids := q.ids
		q.ids = nil
		q.mu.Unlock()
		for _, id := range ids {
			f(id)
		}
	}
}
