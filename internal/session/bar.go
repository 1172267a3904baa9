package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"

	"github.com/calmenu/calmenu/internal/session/topline"
)

// panels is the surface over the program's screen: the rows below the banner, and the bottom line. The program's output is
// held back as long as it exists.
type panels struct {
	c       *Console
	pressed chan key
	lost    chan struct{} // closed when the program has ended
	end     chan struct{} // closed when the dialogs take no more keys
	closed  chan struct{} // closed when the program's screen is back

	mu     sync.Mutex
	lowest int // the rows drawn on so far: from this one down; 0: none
	once   sync.Once
}

func (p *panels) keys() <-chan key      { return p.pressed }
func (p *panels) gone() <-chan struct{} { return p.lost }

// programEnded ends every wait for a key, but nothing that is under way.
func (p *panels) programEnded() { p.once.Do(func() { close(p.lost) }) }

// push hands a key to the dialogs; false: they are over and the program's screen is back.
func (p *panels) push(k key) bool {
	select {
	case p.pressed <- k:
		return true
	case <-p.end:
		<-p.closed
		return false
	}
}

// top is the first row below the banner, from 1.
func (p *panels) top() int {
	rows, _ := p.c.size()
	child, _ := p.c.childSize()
	return rows - child + 1
}

func (p *panels) size() (int, int) {
	rows, cols := p.c.size()
	return max(rows-p.top()-1, 1), cols // between title and bottom line
}

// show draws a frame.
func (p *panels) show(f frame) {
	rows, cols := p.c.size()
	top := p.top()
	var b strings.Builder
	b.WriteString("\x1b[?2026l\x1b[?25l")
	row := func(n int, text, sgr string) {
		fmt.Fprintf(&b, "\x1b[%d;1H\x1b[0m\x1b[2K", n)
		text = ansi.Truncate(text, cols, "…")
		if sgr != "" {
			text += strings.Repeat(" ", max(0, cols-ansi.StringWidth(text)))
		}
		b.WriteString(paint(text, sgr, true))
	}
	first := rows
	if f.title != "" || f.body != nil {
		first = top
		row(top, " "+f.title, "1;7")
		for i := top + 1; i < rows; i++ {
			text := ""
			if n := i - top - 1; n < len(f.body) {
				text = " " + f.body[n]
			}
			row(i, text, "")
		}
	}
	row(rows, " "+f.foot, "7")
	p.mu.Lock()
	if p.lowest == 0 || first < p.lowest {
		p.lowest = first
	}
	p.mu.Unlock()
	p.c.screen.with(p.c.ctx, func(t *topline.Filter) []byte { return t.Overlay([]byte(b.String())) })
}

// erasing returns what removes everything show has drawn.
func (p *panels) erasing() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lowest == 0 {
		return nil
	}
	rows, _ := p.c.size()
	var b strings.Builder
	for n := max(min(p.lowest, rows), p.top()); n <= rows; n++ {
		fmt.Fprintf(&b, "\x1b[%d;1H\x1b[0m\x1b[2K", n)
	}
	b.WriteString("\x1b[?25h") // Redraw hides it again if the program does
	return []byte(b.String())
}

// bar returns the hotkeys for a line of that many columns.
func bar(width int) string {
	for _, s := range []string{
		"[S]napshot │ [C]ommit │ [P]R │ [R]ollback │ [A]gent │ [Q]uit │ ?:Help",
		"[S]nap [C]ommit [P]R [R]oll [A]gent [Q]uit ?:Help",
		"[S] [C] [P] [R] [A] [Q] ?:Help",
		"[S][C][P][R][A][Q] ?",
	} {
		if cells.StringWidth(s) <= width {
			return s
		}
	}
	return "SCPRAQ?"
}

// hotkeys runs the bar and what it leads to, and returns what becomes of the program; the zero value is that it goes on.
func (c *Console) hotkeys(ctx context.Context, p *panels, child *running) RunResult {
	d := &dialog{surface: p, ctx: ctx, colour: c.o.Colour}
	f := flows{dialog: d, do: c.o.Actions}
	k, err := c.barKey(d)
	if err != nil {
		return RunResult{}
	}
	if k.kind == keyPrefix {
		c.send(child, []byte(k.text))
		return RunResult{}
	}
	var said string
	var result RunResult
	switch letter := hotkey(k); letter {
	case 0:
		return RunResult{}
	case 's':
		said, err = f.snapshot()
	case 'c':
		said, err = f.commit()
	case 'p':
		said, err = f.pullRequest()
	case 'r':
		if said, err = f.rollback(); err == nil {
			result.RolledBack = true
		}
	case 'a':
		result.SwitchTo, err = f.agent()
	case 'q':
		result, err = c.quit(f)
	case '?':
		c.help(d)
	default:
		d.notice("!", yellow, fmt.Sprintf("%q is no key of CALMenu. %s ? shows them.", letter, prefixName(c.o.Prefix)))
	}
	var none nothing
	switch {
	case err == nil && said != "":
		d.notice("✓", green, said)
	case err == nil, errors.Is(err, errBack):
	case errors.Is(err, errCancelled):
		d.notice("!", yellow, "Cancelled.")
	case errors.As(err, &none):
		d.notice("·", plain, none.Error())
	default:
		d.failure(err)
	}
	return result
}

// barKey shows the bar until a key is pressed.
func (c *Console) barKey(d *dialog) (key, error) {
	for {
		_, cols := d.size()
		d.show(frame{foot: bar(cols - 1)})
		if k, err := d.key(); err != nil || k.kind != keyResize {
			return k, err
		}
	}
}

// hotkey returns the letter of a key, or 0 for one that closes the bar.
func hotkey(k key) rune {
	switch k.kind {
	case keyRune:
		if k.r >= 'A' && k.r <= 'Z' {
			return k.r + 'a' - 'A'
		}
		return k.r
	case keyUp, keyDown, keyLeft, keyRight, keyHome, keyEnd, keyPageUp, keyPageDown, keyTab, keyDelete, keyPaste:
		return '·'
	}
	return 0
}

// quit asks whether the agent goes on.
func (c *Console) quit(f flows) (RunResult, error) {
	for {
		_, cols := f.size()
		foot := "[K]eep the agent running │ [S]top the VM │ Esc:Back"
		if cells.StringWidth(foot) >= cols {
			foot = "[K]eep [S]top VM Esc"
		}
		f.show(frame{foot: foot})
		k, err := f.key()
		if err != nil {
			return RunResult{}, err
		}
		switch {
		case k.is('k') || k.is('K'):
			return RunResult{Detach: true}, nil
		case k.is('s') || k.is('S'):
			if err := f.stop(); err != nil {
				return RunResult{}, err
			}
			return RunResult{Stop: true}, nil
		case k.isBack():
			return RunResult{}, errBack
		}
	}
}

// prefixName is the prefix key for people.
func prefixName(b byte) string {
	return "Ctrl-" + strings.ToUpper(string(prefixRune(b)))
}

// help explains the keys until one is pressed.
func (c *Console) help(d *dialog) {
	key := prefixName(c.o.Prefix)
	lines := []string{
		key + ", then:",
		"  S   snapshot of the VM",
		"  C   commit: shows the changes, asks for a message",
		"  P   pull request",
		"  R   roll the VM back to a snapshot",
		"  A   another agent",
		"  Q   quit: keep the agent running, or stop the VM",
		"  Esc back",
		key + " twice sends " + key + " to the agent.",
		"",
		"Closing this window keeps the agent running: CALMenu session shows it again. " +
			"What the agent prints while this is open is shown afterwards.",
	}
	top := 0
	for {
		rows, cols := d.size()
		var body []string
		for _, l := range lines {
			indent := l[:len(l)-len(strings.TrimLeft(l, " "))]
			for _, s := range wrap(l, max(cols-4, 10)) {
				body = append(body, indent+s)
			}
		}
		top = min(top, max(len(body)-rows, 0))
		d.show(frame{title: "CALMenu", body: body[top:min(len(body), top+rows)], foot: "any key: back"})
		k, err := d.key()
		if err != nil {
			return
		}
		switch k.kind {
		case keyResize:
		case keyDown, keyPageDown:
			if top+rows >= len(body) {
				return
			}
			top++
		case keyUp, keyPageUp:
			top = max(top-1, 0)
		default:
			return
		}
	}
}
