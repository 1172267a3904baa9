package topline

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

// oracle is a terminal: charmbracelet/x/vt, which is used in tests only. Where it strays from what xterm does, the
// stream is corrected on its way in, the same way for the program's terminal and for the real one:
//   - insert and delete line, and carriage return in origin mode, add the region's top to the row;
//   - origin mode does not home the cursor, and HVP ignores it; the cursor's saving does not take it along;
//   - the alternate screen has its own scroll region and homes the cursor; ?47 is not known;
//   - a parameter of zero is not one;
//   - erasing the whole screen does not use the background in force;
//   - the cursor's visibility is saved and restored, and each screen has its own;
//   - restoring the cursor leaves a pending wrap pending;
//   - a string ends at the byte 9C, though that be part of a character: titles, which show nothing, are kept from it;
//   - CSI u, NEL, DECSTR and DECALN are not known, VPR and HPR add the region's top in origin mode.
type oracle struct {
	e           *vt.Emulator
	rows, cols  int
	origin      bool
	saved       [2]bool // origin mode as it was saved, by screen
	top, bottom int     // the region, from 1
	restored    bool    // the cursor was, or the screen switched
}

func newOracle(t testing.TB, rows, cols int) *oracle {
	o := &oracle{e: vt.NewEmulator(cols, rows), rows: rows, cols: cols, top: 1, bottom: rows}
	done := make(chan struct{})
	go func(answers io.Reader) { _, _ = io.Copy(io.Discard, answers); close(done) }(o.e)
	// Not by Close, which is no friend of a reader.
	t.Cleanup(func() { _ = o.e.InputPipe().(io.Closer).Close(); <-done })
	return o
}

func (o *oracle) resize(rows, cols int) {
	o.e.Resize(cols, rows)
	o.rows, o.cols, o.top, o.bottom = rows, cols, 1, rows
}

func (o *oracle) put(format string, a ...any) { fmt.Fprintf(o.e, format, a...) }

func (o *oracle) move(x, y int) {
	if o.origin {
		o.put("\x1b[?6l\x1b[%d;%dH\x1b[?6h", y+1, x+1)
		return
	}
	o.put("\x1b[%d;%dH", y+1, x+1)
}

func (o *oracle) setOrigin(on bool) {
	o.origin = on
	o.put("%s", map[bool]string{true: "\x1b[?6h", false: "\x1b[?6l"}[on])
}

// unhide gives the cursor the visibility it had: no terminal but the emulator saves that, or has it by screen.
func (o *oracle) unhide(hidden bool) { o.put("\x1b[?25%c", "hl"[b2i(hidden)]) }

func (o *oracle) screen() int { return b2i(o.e.IsAltScreen()) }

// titles are what the emulator does not get.
var titles = regexp.MustCompile(`\x1b\][02];[^\x07\x1b]*(\x07|\x1b\\)`)

func (o *oracle) Write(p []byte) {
	p = titles.ReplaceAll(p, nil)
	var state byte
	parser := ansi.NewParser()
	for text := p; len(text) > 0; {
		seq, _, n, next := ansi.DecodeSequence(text, state, parser)
		state, text = next, text[n:]
		o.one(seq, parser)
	}
}

func (o *oracle) one(seq []byte, p *ansi.Parser) {
	pos := o.e.CursorPosition()
	defer func(hidden bool) {
		if o.restored {
			o.restored = false
			o.unhide(hidden)
			now := o.e.CursorPosition()
			o.move(now.X, now.Y)
		}
	}(o.e.CursorHidden())
	switch s := string(seq); s {
	case "\r":
		if o.origin {
			o.put("\x1b[G")
			return
		}
	case "\x1bE":
		o.put("\x1bD\x1b[G")
		return
	case "\x1b7":
		o.saved[o.screen()] = o.origin
	case "\x1b8", "\x1b[u":
		o.put("\x1b8")
		o.setOrigin(o.saved[o.screen()])
		o.restored = true
		return
	case "\x1bc":
		o.put("%s", s)
		*o = oracle{e: o.e, rows: o.rows, cols: o.cols, top: 1, bottom: o.rows}
		return
	case "\x1b[!p":
		o.setOrigin(false)
		o.put("\x1b[m\x1b[?25h\x1b[r\x1b[H\x1b7")
		o.saved[o.screen()] = false
		o.top, o.bottom = 1, o.rows
		o.move(pos.X, pos.Y)
		return
	case "\x1b#8":
		o.setOrigin(false)
		o.put("\x1b[r\x1b[H")
		o.top, o.bottom = 1, o.rows
		for y := range o.rows {
			o.put("\x1b[%dH\x1b[m%s", y+1, strings.Repeat("E", o.cols))
		}
		o.put("\x1b[H")
		return
	}
	if ansi.HasCsiPrefix(seq) {
		o.csi(seq, p, pos)
		return
	}
	_, _ = o.e.Write(seq)
}

func (o *oracle) csi(seq []byte, p *ansi.Parser, pos uv.Position) {
	cmd := ansi.Cmd(p.Command())
	final := cmd.Final()
	body := seq[2 : len(seq)-1]
	if cmd.Prefix() == '?' && (final == 'h' || final == 'l') {
		for _, m := range p.Params() {
			o.private(m.Param(0), final == 'h', pos)
		}
		return
	}
	if cmd.Prefix() != 0 || cmd.Intermediate() != 0 {
		_, _ = o.e.Write(seq)
		return
	}
	if n, _, ok := p.Params().Param(0, 1); ok && n == 0 && strings.IndexByte("ABCDEFLMSTPX@aeb", final) >= 0 {
		body = nil // zero is one
	}
	as := func(b byte) { _, _ = o.e.Write(append(append([]byte("\x1b["), body...), b)) }
	switch final {
	case 'J':
		if n, _, _ := p.Params().Param(0, 0); n == 2 || n == 3 {
			o.put("\x1b[?6l\x1b[H\x1b[J")
			o.setOrigin(o.origin)
			o.move(pos.X, pos.Y)
			return
		}
		_, _ = o.e.Write(seq)
	case 'L', 'M':
		as(final)
		o.move(o.e.CursorPosition().X, pos.Y)
	case 'E', 'F':
		as(map[byte]byte{'E': 'B', 'F': 'A'}[final])
		o.put("\x1b[G")
	case 'f':
		as('H')
	case 'e':
		as('B')
	case 'a':
		as('C')
	case '`':
		as('G')
	case 's':
		o.put("\x1b7")
		o.saved[o.screen()] = o.origin
	case 'r':
		top, _, _ := p.Params().Param(0, 1)
		bottom, _, _ := p.Params().Param(1, o.rows)
		top = max(top, 1)
		if bottom < 1 || bottom > o.rows {
			bottom = o.rows
		}
		if top < bottom {
			o.top, o.bottom = top, bottom
			o.put("\x1b[%d;%dr", top, bottom)
		}
	default:
		as(final)
	}
}

func (o *oracle) private(mode int, on bool, pos uv.Position) {
	set := func(mode int) { o.put("\x1b[?%d%c", mode, "lh"[b2i(on)]) }
	switch mode {
	case modeOrigin:
		o.setOrigin(on)
		o.put("\x1b[H")
	case modeAlt, modeAltClear:
		o.restored = true
		set(modeAltClear)
		o.put("\x1b[%d;%dr", o.top, o.bottom)
		o.move(pos.X, pos.Y)
	case modeAltSave:
		o.restored = true
		if on {
			o.saved[o.screen()] = o.origin
		}
		if !on {
			set(mode)
			o.put("\x1b[%d;%dr\x1b8", o.top, o.bottom)
			o.setOrigin(o.saved[0])
			return
		}
		set(mode)
		o.put("\x1b[%d;%dr", o.top, o.bottom)
		o.move(pos.X, pos.Y)
	case modeSaveCursor:
		o.restored = !on
		if on {
			o.put("\x1b7")
			o.saved[o.screen()] = o.origin
		} else {
			o.put("\x1b8")
			o.setOrigin(o.saved[o.screen()])
		}
	default:
		set(mode)
	}
}

// row renders one row: characters, attributes, links.
func (o *oracle) row(y int) string {
	var b strings.Builder
	for x := range o.cols {
		c := o.e.CellAt(x, y)
		if c == nil {
			b.WriteString("| ")
			continue
		}
		content := c.Content
		if content == "" && c.Width != 0 {
			content = " "
		}
		fmt.Fprintf(&b, "|%s", content)
		if st := c.Style.String(); st != "" {
			fmt.Fprintf(&b, "{%q}", st)
		}
		if c.Link.URL != "" {
			fmt.Fprintf(&b, "<%s>", c.Link.URL)
		}
	}
	return b.String()
}

// text renders one row without attributes.
func (o *oracle) text(y int) string {
	var b strings.Builder
	for x := range o.cols {
		if c := o.e.CellAt(x, y); c != nil && c.Content != "" {
			b.WriteString(c.Content)
		} else if c == nil || c.Width == 1 {
			b.WriteByte(' ')
		}
	}
	return strings.TrimRight(b.String(), " ")
}

const testBanner = "\x1b[1;32mCAL\x1b[m | demo"

// differ describes how the real terminal differs from the banner above the program's, or nothing.
func differ(real, child *oracle) string {
	var b bytes.Buffer
	want := strings.Trim(ansi.Strip(testBanner), " ")
	want = strings.TrimRight(ansi.Truncate(want, real.cols, ""), " ")
	if got := real.text(0); got != want {
		fmt.Fprintf(&b, "banner is %q, want %q\n", got, want)
	}
	for y := range child.rows {
		if got, want := real.row(y+1), child.row(y); got != want {
			fmt.Fprintf(&b, "row %d:\n got %s\nwant %s\n", y, got, want)
		}
	}
	rp, cp := real.e.CursorPosition(), child.e.CursorPosition()
	if rp.X != cp.X || rp.Y != cp.Y+1 {
		fmt.Fprintf(&b, "cursor at %d,%d, want %d,%d\n", rp.X, rp.Y-1, cp.X, cp.Y)
	}
	if r, c := real.e.CursorHidden(), child.e.CursorHidden(); r != c {
		fmt.Fprintf(&b, "cursor hidden %v, want %v\n", r, c)
	}
	if r, c := real.screen(), child.screen(); r != c {
		fmt.Fprintf(&b, "screen %d, want %d\n", r, c)
	}
	return b.String()
}

// filtered runs a stream through a new filter in pieces of the given sizes (the last one repeats).
func filtered(rows, cols int, stream []byte, sizes ...int) []byte {
	out, _ := guessed(rows, cols, stream, sizes...)
	return out
}

// guessed also returns how often the filter had to guess where the cursor is, or was when it was saved.
func guessed(rows, cols int, stream []byte, sizes ...int) ([]byte, int) {
	f := New(Options{Rows: rows, Cols: cols, Banner: true, ClipboardWrite: true, ClipboardMax: 1 << 16})
	f.SetBanner(testBanner)
	out := f.Start()
	for i := 0; len(stream) > 0; i++ {
		n := len(stream)
		if len(sizes) > 0 {
			n = min(n, max(1, sizes[min(i, len(sizes)-1)]))
		}
		out = f.Output(out, stream[:n])
		stream = stream[n:]
	}
	return out, f.guesses
}

// check compares the two terminals after a stream, and once more after a character printed at home, which shows the
// attributes in force.
func check(t testing.TB, rows, cols int, stream []byte) string {
	t.Helper()
	child, real := newOracle(t, rows-1, cols), newOracle(t, rows, cols)
	child.Write(stream)
	whole := filtered(rows, cols, stream)
	real.Write(whole)
	if d := differ(real, child); d != "" {
		return d
	}
	const probe = "\x1b[Hx"
	child.Write([]byte(probe))
	real.Write(filtered(rows, cols, append(bytes.Clone(stream), probe...))[len(whole):])
	if d := differ(real, child); d != "" {
		return "after a character at home:\n" + d
	}
	return ""
}
