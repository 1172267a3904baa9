package cli

import (
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// splitLines yields the lines of a text without their ends.
func splitLines(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(s) {
			if !yield(strings.TrimRight(line, "\n")) {
				return
			}
		}
	}
}

// progress shows what a command is doing: one line that is rewritten on a terminal, with the time since the phase began;
// one line per phase elsewhere, and nothing at all where JSON was asked for.
type progress struct {
	w     io.Writer
	live  bool
	quiet bool

	mu    sync.Mutex // guards what follows
	phase vm.Phase
	since time.Time
	shown bool
	stop  chan struct{}
}

func (c *cmd) newProgress() *progress {
	p := &progress{w: c.streams.Err, quiet: c.json}
	if f, ok := c.streams.Err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.live = !c.json
	}
	return p
}

// Report takes the next phase.
func (p *progress) Report(ph vm.Phase) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := ph.Name != p.phase.Name
	if fresh {
		p.since = time.Now()
	}
	p.phase = ph
	if p.live {
		p.draw()
		if p.stop == nil {
			p.stop = make(chan struct{})
			go p.tick(p.stop)
		}
		return
	}
	if fresh {
		_, _ = fmt.Fprintf(p.w, "%s\n", session.Printable(ph.Name))
	}
}

func (p *progress) tick(stop chan struct{}) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			p.mu.Lock()
			if p.stop != nil {
				p.draw()
			}
			p.mu.Unlock()
		}
	}
}

// draw rewrites the line; the caller holds mu.
func (p *progress) draw() {
	s := session.Printable(p.phase.Name)
	if p.phase.Total > 0 {
		s += fmt.Sprintf(" %d%%", min(100, p.phase.Done*100/p.phase.Total))
	}
	if d := time.Since(p.since).Round(time.Second); d > 0 {
		s += fmt.Sprintf(" %s", d)
	}
	if p.phase.Detail != "" {
		s += "  " + session.Printable(p.phase.Detail)
	}
	if f, ok := p.w.(*os.File); ok {
		// A line that wraps could not be taken back.
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 1 {
			s = runewidth.Truncate(s, w-1, "")
		}
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[2K%s", s)
	p.shown = true
}

// Done clears the line.
func (p *progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
	}
	if p.shown {
		_, _ = io.WriteString(p.w, "\r\x1b[2K")
		p.shown = false
	}
	p.phase = vm.Phase{}
}
