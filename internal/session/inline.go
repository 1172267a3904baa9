package session

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"
)

// escapeTime is how long the rest of an escape sequence is waited for before a lone escape is the Escape key.
const escapeTime = 25 * time.Millisecond

// inline is a surface below what the terminal holds. What it shows is erased when it shows something else or ends, so that
// only what is printed with say stays.
type inline struct {
	tty     *os.File
	out     io.Writer
	old     *term.State
	reader  *reader
	pressed chan key
	end     chan struct{} // closed by close
	left    chan struct{} // closed when nobody answers any more
	loop    sync.WaitGroup

	shown []int // the columns of each line shown now
}

// openInline takes the terminal over until close; ctx ends the waiting for keys.
func openInline(ctx context.Context, tty *os.File, out io.Writer) (*inline, error) {
	old, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return nil, fmt.Errorf("switching the terminal to raw mode: %w", err)
	}
	r, err := startReader(tty)
	if err != nil {
		_ = term.Restore(int(tty.Fd()), old)
		return nil, err
	}
	s := &inline{
		tty: tty, out: out, old: old, reader: r, pressed: make(chan key), end: make(chan struct{}),
		left: make(chan struct{}),
	}
	s.loop.Add(1)
	go s.listen(ctx)
	return s, nil
}

func (s *inline) listen(ctx context.Context) {
	defer s.loop.Done()
	defer close(s.left)
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	defer signal.Stop(winch)
	scan := scanner{prefix: 0x03} // Ctrl-C is no piece of text either
	var d decoder
	send := func(k key) {
		select {
		case s.pressed <- k:
		case <-s.end:
		case <-ctx.Done():
		}
	}
	var at time.Time
	emit := func(p piece) {
		if p.kind == piecePrefix {
			send(key{kind: keyCtrl, r: 'c', at: at})
			return
		}
		for _, k := range d.keys(p) {
			k.at = at
			send(k)
		}
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case b := <-s.reader.chunks:
			at = b.at
			scan.feed(b.data, emit)
			timer.Reset(escapeTime)
		case <-timer.C:
			scan.flush(emit)
		case <-winch:
			send(key{kind: keyResize})
		case <-s.reader.ended:
			return
		case <-s.end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// close erases what is shown and gives the terminal back.
func (s *inline) close() {
	close(s.end)
	s.reader.stop()
	s.loop.Wait()
	s.print(s.erase())
	_ = term.Restore(int(s.tty.Fd()), s.old)
}

func (s *inline) keys() <-chan key      { return s.pressed }
func (s *inline) gone() <-chan struct{} { return s.left }

func (s *inline) columns() int {
	cols, _, err := term.GetSize(int(s.tty.Fd()))
	if err != nil || cols <= 0 {
		return 80
	}
	return cols
}

// maxInline is how many lines a frame's body takes below the prompt, as far as the terminal has them.
const maxInline = 16

func (s *inline) size() (int, int) {
	_, rows, err := term.GetSize(int(s.tty.Fd()))
	if err != nil || rows <= 0 {
		rows = 24
	}
	return max(min(rows-3, maxInline), 1), s.columns() - 1
}

func (s *inline) show(f frame) {
	var lines []string
	if f.title != "" {
		lines = append(lines, paint(f.title, bold, true))
	}
	lines = append(append(lines, f.body...), f.foot)
	s.block(lines)
}

// block shows lines in place of those shown before.
func (s *inline) block(lines []string) {
	var b strings.Builder
	b.WriteString(s.erase())
	cols := s.columns()
	for _, l := range lines {
		l = ansi.Truncate(l, cols, "…")
		b.WriteString(l + "\x1b[m\r\n")
		s.shown = append(s.shown, ansi.StringWidth(l))
	}
	s.print(b.String())
}

// say prints a line that stays.
func (s *inline) say(line string) {
	var b strings.Builder
	b.WriteString(s.erase())
	for _, l := range wrap(line, max(s.columns()-1, 10)) {
		b.WriteString(l + "\r\n")
	}
	s.print(b.String())
}

// erase returns what removes the lines that are shown. A terminal that was made narrower has wrapped them.
func (s *inline) erase() string {
	rows, cols := 0, s.columns()
	for _, w := range s.shown {
		rows += max((w+cols-1)/cols, 1)
	}
	s.shown = nil
	if rows == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", rows)
}

// print writes to the terminal; one that cannot be written to has gone, which the reader notices.
func (s *inline) print(text string) { _, _ = io.WriteString(s.out, text) }
