package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/session/topline"
)

// ConsoleOptions say how a Console behaves.
type ConsoleOptions struct {
	Actions Actions // behind the hotkeys; nil: there are none
	Status  Status  // what the banner says at first
	Term    string  // the terminal's TERM; "dumb" and "" have no banner
	Colour  bool    // false where NO_COLOR is set
	Banner  bool
	Prefix  byte // what the prefix key sends, such as 0x1d for Ctrl-]
	// ClipboardWrite lets programs write the clipboard, ClipboardMax bytes at a time.
	ClipboardWrite bool
	ClipboardMax   int
	// QuietAfter is how long a program that was at work must be silent to count as waiting; 0: silence never counts.
	QuietAfter time.Duration
	// OnWaiting is called when the program waits for the person while the window is not in front, at most twice a minute;
	// text is stripped and capped, and may be empty. OnActive is called when the person is back. Neither may block.
	OnWaiting func(text string)
	OnActive  func()
	// OnDenied is called with what a program was refused: a clipboard write, an oversized sequence. It may not block.
	OnDenied func(what string)
}

// Program is what a Console shows: a command on a terminal of the guest.
type Program struct {
	Guest interface {
		PTY(ctx context.Context, c guest.Cmd, t guest.Terminal) (int, error)
	}
	Cmd guest.Cmd
	// RepaintKeys, typed, make the program draw its screen anew; empty: it is told of a new window size, twice.
	RepaintKeys string
}

// RunResult is how Run ended. At most one of the fields beside Exit says something.
type RunResult struct {
	Exit       int    // the command's exit status
	Detach     bool   // the person leaves, or the window was closed: the agent goes on
	SwitchTo   string // identifier of the agent the person asked for
	Stop       bool   // the VM was stopped at the person's wish
	RolledBack bool   // the VM was rolled back: the connection is gone, or is of before
}

var (
	// ErrGivenUp is returned by Await if the person would not wait.
	ErrGivenUp = errors.New("given up by the person")
	// ErrHangup is the cause of a context that ended because the terminal went away, or the process was asked to end.
	ErrHangup = errors.New("terminal was closed")
)

// Console is the user's terminal for the time of a session. It stands between the terminal and the agent's terminal in the
// guest, and outlives the connection to it: Open takes the terminal over, Run shows a program, Await bridges the time without
// one, Close gives the terminal back as it was found. Its methods may be called from any goroutine; Run and Await one at a
// time.
type Console struct {
	tty    *os.File
	o      ConsoleOptions
	old    *term.State
	bare   bool // a terminal that knows no sequences: no banner, no bar
	reader *reader
	screen *screen
	notes  *attention
	calls  serial // of OnWaiting, OnActive and OnDenied
	titles serial // of refresh, for a title the program has set
	ctx    context.Context
	cancel context.CancelCauseFunc
	loops  sync.WaitGroup
	closed sync.Once
	given  sync.Once // the terminal, back
	err    error     // of giving it back

	// Guarded by mu, which is taken after the screen's locks.
	mu         sync.Mutex
	rows, cols int
	status     Status
	away       string // what Await waits for
	title      string // what the program calls its window
	titleDue   bool
	child      *running
	panels     *panels
	giveUp     context.CancelCauseFunc // of Await

	// Of the goroutine that reads keys.
	scan     scanner
	decode   decoder
	prefixed bool // the prefix was pressed while there is no program
	typedAt  time.Time
}

// running is the program that is shown.
type running struct {
	c        *Console
	in       *inbox
	resized  chan struct{}
	cancel   context.CancelCauseFunc
	ctx      context.Context
	repaint  string
	squeezed atomic.Bool // it is told one row less than it has
	told     chan struct{}
	result   RunResult // what the person chose; guarded by Console.mu
}

var (
	errLeft   = errors.New("person left the session")
	errClosed = errors.New("console was closed")
)

// Open takes the terminal over: raw mode, the top row, the window's title. Close gives it back.
func Open(tty *os.File, o ConsoleOptions) (*Console, error) {
	cols, rows, err := term.GetSize(int(tty.Fd()))
	if err != nil || cols <= 0 || rows <= 0 {
		cols, rows = 80, 24
	}
	old, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return nil, fmt.Errorf("switching the terminal to raw mode: %w", err)
	}
	in, err := startReader(tty)
	if err != nil {
		return nil, errors.Join(err, term.Restore(int(tty.Fd()), old))
	}
	c := &Console{
		tty: tty, o: o, old: old, bare: o.Term == "" || o.Term == "dumb", reader: in, rows: rows, cols: cols,
		status: o.Status, scan: scanner{prefix: o.Prefix},
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.calls.guard, c.titles.guard = c.guard, c.guard
	c.notes = &attention{
		quietAfter: o.QuietAfter,
		onWaiting:  func(text string) { c.tell(func() { call(o.OnWaiting, text) }) },
		onActive: func() {
			c.tell(func() {
				if o.OnActive != nil {
					o.OnActive()
				}
			})
		},
	}
	c.screen = newScreen(tty, topline.Options{
		Rows: rows, Cols: cols, Banner: o.Banner && !c.bare, ClipboardWrite: o.ClipboardWrite,
		ClipboardMax: o.ClipboardMax, OnEvent: c.event,
	})
	if !c.bare {
		c.screen.with(c.ctx, func(f *topline.Filter) []byte { return append(f.Start(), c.banner(f)...) })
	}
	winch, gone := c.notify()
	c.loops.Go(func() { c.signals(winch, gone) })
	c.loops.Go(c.typed)
	return c, nil
}

func (c *Console) tell(f func()) { c.calls.do(f) }

// guard gives the terminal back if a goroutine of the console panics, so that what it says can be read.
func (c *Console) guard() {
	if r := recover(); r != nil {
		c.restore()
		panic(r)
	}
}

// Close gives the terminal back as it was found. It may be called at any time, more than once.
func (c *Console) Close() error {
	c.closed.Do(func() {
		c.cancel(errClosed)
		c.reader.stop()
		c.loops.Wait()
		c.notes.stop()
	})
	c.restore()
	return c.err
}

func (c *Console) restore() {
	c.given.Do(func() {
		c.screen.end(!c.bare)
		if err := term.Restore(int(c.tty.Fd()), c.old); err != nil {
			c.err = fmt.Errorf("giving the terminal back: %w", err)
		}
	})
}

// SetStatus changes what the banner and the window's title say.
func (c *Console) SetStatus(s Status) {
	c.mu.Lock()
	c.status = s
	c.mu.Unlock()
	c.refresh()
}

func (c *Console) refresh() { c.screen.with(c.ctx, c.banner) }

// banner returns what brings the banner and the title up to date. The caller holds the screen's locks.
func (c *Console) banner(f *topline.Filter) []byte {
	c.mu.Lock()
	s, cols, title := c.status, c.cols, c.title
	if c.away != "" {
		s.Activity, s.Level = c.away, max(s.Level, LevelChanging)
	}
	c.titleDue = false
	c.mu.Unlock()
	b := f.SetBanner(Banner(s, cols, c.o.Colour))
	name := Title(s)
	if title != "" {
		name += " · " + title
	}
	return append(b, f.SetTitle(name)...)
}

func (c *Console) size() (rows, cols int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows, c.cols
}

func (c *Console) childSize() (rows, cols int) {
	c.screen.mu.Lock()
	defer c.screen.mu.Unlock()
	return c.screen.filter.ChildSize()
}

// event takes what the filter noticed. It is called with the filter in use.
func (c *Console) event(e topline.Event) {
	switch e.Kind {
	case topline.Bell:
		c.notes.said("")
	case topline.Notify:
		c.notes.said(e.Title + " " + e.Text)
	case topline.FocusIn:
		c.notes.focus(true)
	case topline.FocusOut:
		c.notes.focus(false)
	case topline.Title:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.title = flat(e.Text)
		if !c.titleDue { // a program may set titles faster than they can be shown
			c.titleDue = true
			c.titles.do(c.refresh)
		}
	case topline.ClipboardDenied, topline.Dropped:
		c.tell(func() { call(c.o.OnDenied, e.Text) })
	}
}

// Run shows a program until it ends, the person leaves it, or ctx ends. It may be called again, with another program or a
// new connection. The closed terminal and the end of ctx are no errors: the person has left the program.
func (c *Console) Run(ctx context.Context, p Program) (RunResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })()
	child := &running{
		c: c, in: newInbox(), resized: make(chan struct{}, 1), told: make(chan struct{}, 1), cancel: cancel, ctx: ctx,
		repaint: p.RepaintKeys,
	}
	defer child.in.shut()
	c.mu.Lock()
	c.child = child
	c.mu.Unlock()
	exit, err := p.Guest.PTY(ctx, p.Cmd, guest.Terminal{
		In: child.in, Out: outlet{c, ctx}, Term: c.o.Term, Size: child.size, Resized: child.resized,
	})
	c.mu.Lock()
	c.child = nil
	open := c.panels
	c.mu.Unlock()
	if open != nil {
		open.programEnded()
		<-open.closed
	}
	c.screen.settle(c.ctx)
	c.mu.Lock()
	result := child.result
	c.title = ""
	c.mu.Unlock()
	c.refresh()
	if result != (RunResult{}) {
		return result, nil
	}
	if ctx.Err() != nil {
		return RunResult{Detach: true}, nil
	}
	return RunResult{Exit: exit}, err
}

// outlet is where a program's output goes.
type outlet struct {
	c   *Console
	ctx context.Context
}

func (o outlet) Write(b []byte) (int, error) {
	o.c.notes.output(len(b))
	if err := o.c.screen.write(o.ctx, b); err != nil {
		return 0, fmt.Errorf("writing to the terminal: %w", err)
	}
	return len(b), nil
}

func (r *running) size() (cols, rows int) {
	rows, cols = r.c.childSize()
	if r.squeezed.Load() {
		rows = max(rows-1, 1)
		signalTo(r.told)
	}
	return cols, rows
}

// nudgeTime is how long a program is told another size, so that it notices, and repaintTime how long a repaint may take.
const (
	nudgeTime   = 50 * time.Millisecond
	repaintTime = 5 * time.Second
)

// redraw has the program draw its screen anew.
func (r *running) redraw() {
	defer r.c.guard()
	ctx, cancel := context.WithTimeout(r.ctx, repaintTime)
	defer cancel()
	if r.repaint != "" {
		r.in.put(ctx, []byte(r.repaint))
		return
	}
	r.squeezed.Store(true)
	signalTo(r.resized)
	select {
	case <-r.told:
	case <-ctx.Done():
	}
	select {
	case <-time.After(nudgeTime):
	case <-ctx.Done():
	}
	r.squeezed.Store(false)
	signalTo(r.resized)
}

// Await calls wait while no program is shown, and says in the banner for what and how long. The person gives up with Ctrl-C:
// the context of wait ends then, and ErrGivenUp is returned. The closed terminal is ErrHangup.
func (c *Console) Await(ctx context.Context, what string, wait func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })()
	c.mu.Lock()
	c.giveUp = cancel
	c.mu.Unlock()
	var ticks sync.WaitGroup
	over := make(chan struct{})
	ticks.Go(func() {
		defer c.guard()
		begin := time.Now()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			c.setAway(fmt.Sprintf("%s %d s, Ctrl-C: give up", what, int(time.Since(begin).Seconds())))
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
	})
	err := wait(ctx)
	close(over)
	ticks.Wait()
	c.mu.Lock()
	c.giveUp = nil
	c.mu.Unlock()
	c.setAway("")
	if cause := context.Cause(ctx); err != nil && (errors.Is(cause, ErrGivenUp) || errors.Is(cause, ErrHangup)) {
		return cause
	}
	return err
}

func (c *Console) setAway(text string) {
	c.mu.Lock()
	c.away = text
	c.mu.Unlock()
	c.refresh()
}
