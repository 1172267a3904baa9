package sync

import (
	"context"
	"strings"
	gosync "sync"
	"time"
)

// mirror is what a transport's watch has told of an outbox and has not been looked at yet: that there is something to
// look at, or what there is.
type mirror struct {
	max      int // entries
	happened chan struct{}

	mu      gosync.Mutex // guards what follows
	look    bool         // only a listing tells
	dirs    bool         // directories were made since it was last asked
	root    *Entry
	more    bool
	entries map[string]Entry // nil: a transport that does not tell what changes
}

func newMirror(o Options) *mirror {
	return &mirror{max: o.Limits.MaxFiles, happened: make(chan struct{}, 1)}
}

// take is told news. It holds no more than a listing may have.
func (m *mirror) take(c Change) {
	m.mu.Lock()
	m.look = m.look || c.Look
	m.dirs = m.dirs || c.Dirs
	if c.All != nil {
		m.reset(*c.All)
	}
	if m.entries != nil {
		for _, name := range c.Gone {
			m.remove(name)
		}
		for _, e := range c.Put {
			m.put(e)
		}
	}
	m.mu.Unlock()
	select {
	case m.happened <- struct{}{}:
	default:
	}
}

func (m *mirror) reset(l Listing) {
	m.look, m.root, m.more = false, l.Root, l.More
	m.entries = make(map[string]Entry, len(l.Entries))
	for _, e := range l.Entries {
		m.put(e)
	}
}

func (m *mirror) put(e Entry) {
	if e.Name == "" {
		root := e // of thousands, none but this goes to the heap by itself
		m.root = &root
		return
	}
	old, there := m.entries[e.Name]
	if !there && len(m.entries) >= m.max {
		m.more = true
		return
	}
	if there && old.Kind == 'd' && e.Kind != 'd' {
		m.remove(e.Name)
	}
	m.entries[e.Name] = e
}

func (m *mirror) remove(name string) {
	if name == "" {
		m.root = nil
		clear(m.entries)
		return
	}
	old, there := m.entries[name]
	delete(m.entries, name)
	if there && old.Kind != 'd' {
		return
	}
	for n := range m.entries {
		if strings.HasPrefix(n, name) && len(n) > len(name) && n[len(name)] == '/' {
			delete(m.entries, n)
		}
	}
}

// listing is what there is. live is false if it must be asked for instead.
func (m *mirror) listing() (l Listing, live bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.look || m.entries == nil {
		m.look = false
		return Listing{}, false
	}
	l = Listing{Root: m.root, More: m.more, Entries: make([]Entry, 0, len(m.entries))}
	for _, e := range m.entries {
		l.Entries = append(l.Entries, e)
	}
	return l, true
}

// short tells whether there is room again for what was left out.
func (m *mirror) short() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.more && len(m.entries) < m.max
}

// quiet is how long it has to be quiet before a pass. A transport that tells what has changed has gathered by itself.
func (m *mirror) quiet() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries != nil {
		return quietTold
	}
	return quiet
}

// relist has the next look be at a listing.
func (m *mirror) relist() {
	m.mu.Lock()
	m.look = true
	m.mu.Unlock()
}

// directories tells whether directories were made since it was last asked.
func (m *mirror) directories() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	dirs := m.dirs
	m.dirs = false
	return dirs
}

// await returns when something has happened and it is quiet again, after wait, or when the watch has ended, which makes
// alive false. The error is that of ctx.
func (m *mirror) await(ctx context.Context, ended <-chan struct{}, wait time.Duration) (alive bool, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var burst <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-ended:
			return false, nil
		case <-burst:
			return true, nil
		case <-timer.C:
			return true, nil
		case <-m.happened:
			if burst == nil {
				burst = time.After(longestWait)
			}
			timer.Reset(m.quiet())
		}
	}
}
