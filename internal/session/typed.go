package session

import (
	"os"
	"os/signal"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/session/topline"
)

const (
	// pasteTime is how long a paste may stand still before it counts as over, though its end never came.
	pasteTime = 5 * time.Second
	// resizeTime is how far apart two changes of size are that the program is told of.
	resizeTime = 50 * time.Millisecond
)

// notify begins to listen to the signals of a terminal.
func (c *Console) notify() (winch, gone chan os.Signal) {
	winch, gone = make(chan os.Signal, 1), make(chan os.Signal, 2)
	signal.Notify(winch, syscall.SIGWINCH)
	signal.Notify(gone, syscall.SIGHUP, syscall.SIGTERM)
	return winch, gone
}

// signals follows the terminal's size, and gives the terminal back when it, or the process, is told to end.
func (c *Console) signals(winch, gone chan os.Signal) {
	defer c.guard()
	defer signal.Stop(winch)
	defer signal.Stop(gone)
	for {
		select {
		case <-winch:
			c.resize()
			// A window that is being dragged sends hundreds: the next is looked at a moment later, and is the last by then.
			select {
			case <-time.After(resizeTime):
			case <-gone:
				c.hangup()
				return
			case <-c.ctx.Done():
				return
			}
		case <-gone:
			c.hangup()
			return
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *Console) hangup() {
	c.cancel(ErrHangup)
	c.restore()
}

func (c *Console) resize() {
	cols, rows, err := term.GetSize(int(c.tty.Fd()))
	if err != nil || cols <= 0 || rows <= 0 {
		return
	}
	c.mu.Lock()
	same := rows == c.rows && cols == c.cols
	c.rows, c.cols = rows, cols
	c.mu.Unlock()
	if same {
		return
	}
	c.screen.with(c.ctx, func(f *topline.Filter) []byte {
		return append(f.Resize(rows, cols), c.banner(f)...)
	})
	c.mu.Lock()
	child, open := c.child, c.panels
	c.mu.Unlock()
	if child != nil {
		signalTo(child.resized)
	}
	if open != nil {
		open.push(key{kind: keyResize})
	}
}

// typed takes what is typed to where it belongs, for the console's whole life.
func (c *Console) typed() {
	defer c.guard()
	timer := time.NewTimer(escapeTime)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case b := <-c.reader.chunks:
			if now := time.Now(); now.Sub(last) > pasteTime {
				c.scan.abandon()
			}
			c.typedAt = b.at
			c.scan.feed(b.data, c.piece)
			last = time.Now()
			timer.Reset(escapeTime)
		case <-timer.C:
			// Nothing more has come: a lone escape is a key, and half a sequence is what was typed.
			c.scan.flush(c.piece)
			c.flush()
		case <-c.reader.ended:
			if c.ctx.Err() == nil {
				c.cancel(ErrHangup)
			}
			return
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *Console) state() (*running, *panels) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.child, c.panels
}

// piece takes one piece of what was typed to the dialogs or to the program.
func (c *Console) piece(p piece) {
	for len(p.data) > 0 {
		child, open := c.state()
		switch {
		case p.kind == pieceSeq && isReport(p.data):
			c.send(child, p.data)
			return
		case open != nil:
			n := len(p.data)
			if p.kind == pieceText { // one by one, since the dialogs may be over after any of them
				_, n = utf8.DecodeRune(p.data)
			}
			for _, k := range c.decode.keys(piece{p.kind, p.data[:n]}) {
				k.at = c.typedAt
				if !open.push(k) {
					n = 0
					break
				}
			}
			p.data = p.data[n:]
			continue
		case child == nil:
			c.whileAway(p)
			return
		case p.kind == piecePrefix && !c.bare && c.o.Actions != nil:
			c.open(child)
			return
		}
		if p.kind != pieceSeq || !isMouse(p.data) {
			c.notes.key()
		}
		c.send(child, p.data)
		return
	}
}

// send hands input to the program, as the filter would have it.
func (c *Console) send(child *running, b []byte) {
	c.screen.mu.Lock()
	b = c.screen.filter.Input(nil, b)
	c.screen.mu.Unlock()
	if child != nil {
		child.in.put(child.ctx, b)
	}
}

func (c *Console) flush() {
	c.screen.mu.Lock()
	b := c.screen.filter.FlushInput(nil)
	c.screen.mu.Unlock()
	if child, _ := c.state(); child != nil {
		child.in.put(child.ctx, b)
	}
}

// whileAway takes what is typed while there is no program: Ctrl-C, or the prefix and Q, give up.
func (c *Console) whileAway(p piece) {
	c.mu.Lock()
	giveUp := c.giveUp
	c.mu.Unlock()
	if giveUp == nil {
		return
	}
	for _, k := range c.decode.keys(p) {
		prefixed := c.prefixed
		c.prefixed = k.kind == keyPrefix
		if k.kind == keyCtrl && k.r == 'c' || prefixed && (k.is('q') || k.is('Q')) {
			giveUp(ErrGivenUp)
		}
	}
}

// open shows the bar over the program, and what it leads to, in a goroutine of its own.
func (c *Console) open(child *running) {
	p := &panels{
		c: c, pressed: make(chan key), lost: make(chan struct{}), end: make(chan struct{}), closed: make(chan struct{}),
	}
	c.decode = decoder{}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child != child { // it has ended meanwhile
		return
	}
	c.panels = p
	c.notes.key()
	go c.dialogs(child, p)
}

func (c *Console) dialogs(child *running, p *panels) {
	defer c.guard()
	var result RunResult
	if c.screen.capture(c.ctx) {
		result = c.hotkeys(c.ctx, p, child)
	}
	close(p.end)
	c.mu.Lock()
	child.result = result
	c.mu.Unlock()
	c.screen.release(c.ctx, p.erasing())
	if result != (RunResult{}) {
		child.cancel(errLeft)
	} else {
		go child.redraw()
	}
	c.mu.Lock()
	c.panels = nil
	c.mu.Unlock()
	close(p.closed)
}
