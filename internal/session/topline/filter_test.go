package topline

import (
	"fmt"
	"strings"
	"testing"
)

// under runs a program's stream and returns both terminals and the filter between.
func under(t *testing.T, rows, cols int, stream string) (f *Filter, real, child *oracle) {
	t.Helper()
	child, real = newOracle(t, rows-1, cols), newOracle(t, rows, cols)
	f = New(Options{Rows: rows, Cols: cols, Banner: true})
	f.SetBanner(testBanner)
	real.Write(f.Start())
	real.Write(f.Output(nil, []byte(stream)))
	child.Write([]byte(stream))
	return f, real, child
}

func TestResize(t *testing.T) {
	f, real, child := under(t, 10, 30, "\x1b[2;4rone\r\ntwo\x1b[7;3Hx")
	for _, size := range [][2]int{{12, 40}, {6, 20}, {10, 30}} {
		rows, cols := size[0], size[1]
		real.resize(rows, cols)
		child.resize(rows-1, cols)
		real.Write(f.Resize(rows, cols))
		if d := differ(real, child); d != "" {
			t.Fatalf("at %v:\n%s", size, d)
		}
		if r, c := f.ChildSize(); r != rows-1 || c != cols {
			t.Errorf("the program has %d by %d", r, c)
		}
	}
	real.Write(f.Output(nil, []byte("\x1b[99Hlast\r\n\n\nscrolled")))
	child.Write([]byte("\x1b[99Hlast\r\n\n\nscrolled"))
	if d := differ(real, child); d != "" {
		t.Error(d)
	}
}

// A terminal too low for a banner keeps all its rows until it grows.
func TestTooLow(t *testing.T) {
	f := New(Options{Rows: 2, Cols: 20, Banner: true})
	f.SetBanner(testBanner)
	f.Start()
	if rows, _ := f.ChildSize(); rows != 2 {
		t.Errorf("the program has %d rows", rows)
	}
	if got := string(f.Output(nil, []byte("\x1b[H"))); got != "\x1b[H" {
		t.Errorf("rewritten to %q", got)
	}
	if got := string(f.Resize(10, 20)); !strings.Contains(got, "\x1b[2;10r") || !strings.Contains(got, "CAL") {
		t.Errorf("grown: %q", got)
	}
	if got := string(f.Resize(2, 20)); !strings.Contains(got, "\x1b[r") {
		t.Errorf("shrunk: %q", got)
	}
}

func TestSetBannerAndOverlayDisturbNothing(t *testing.T) {
	stream := "\x1b[3;6r\x1b[5;4H\x1b[1;44mab\x1b(0\x0e"
	f, real, child := under(t, 10, 30, stream)
	real.Write(f.SetBanner("\x1b[31mother"))
	if got := real.text(0); got != "other" {
		t.Errorf("banner %q", got)
	}
	real.Write(f.SetBanner(testBanner))
	real.Write(f.Overlay([]byte("\x1b[10;1Hbar\x1b[10;1H\x1b[2K")))
	real.Write(f.Redraw())
	if got := f.SetBanner(testBanner); got != nil {
		t.Errorf("unchanged banner: %q", got)
	}
	more := []byte("qx\r\n\n\n\n\x1b[m\x1b(B\x0fend")
	real.Write(f.Output(nil, more))
	child.Write(more)
	if d := differ(real, child); d != "" {
		t.Error(d)
	}
}

// The banner holds text and styles, whatever it was made of, and no more than fits.
func TestBannerIsSanitized(t *testing.T) {
	f, real, _ := under(t, 5, 12, "")
	real.Write(f.SetBanner("a\x1b[2Jb\x1b]0;x\x07\n\x1b[32mc日本語日本語"))
	if got := real.text(0); got != "abc日本語日" && got != "abc日本語日本" {
		t.Errorf("banner %q", got)
	}
	if got := real.text(1); got != "" {
		t.Errorf("below it %q", got)
	}
}

// While an image streams, nothing else is drawn; what had to wait comes with its end.
func TestGround(t *testing.T) {
	f, _, _ := under(t, 10, 30, "")
	for _, part := range []string{"\x1b[5;", "7H\xe6\x97", "\xa5\x1b]52;c;aGVs"} {
		f.Output(nil, []byte(part))
		if !f.Ground() {
			t.Errorf("after %q, which is held back: not in the ground state", part)
		}
	}
	f.Output(nil, []byte("\x07\x1bPq#0~~"))
	if f.Ground() {
		t.Fatal("in the ground state within an image")
	}
	if got := f.SetBanner("new"); got != nil {
		t.Errorf("drawn into the image: %q", got)
	}
	if got := string(f.Output(nil, []byte("~~\x1b\\"))); !strings.HasPrefix(got, "~~\x1b\\") || !strings.Contains(got, "new") {
		t.Errorf("after the image %q", got)
	}
}

func TestTitle(t *testing.T) {
	f := New(Options{Rows: 10, Cols: 30, Banner: true})
	f.SetTitle("demo\x07\x1b[")
	start := string(f.Start())
	if !strings.Contains(start, "\x1b[22;0t") || !strings.Contains(start, "\x1b]2;demo[\x1b\\") {
		t.Errorf("start %q", start)
	}
	if got := string(f.SetTitle("other")); got != "\x1b]2;other\x1b\\" {
		t.Errorf("title %q", got)
	}
	if got := string(f.End()); !strings.Contains(got, "\x1b[23;0t") {
		t.Errorf("end %q", got)
	}
}

// What a program leaves switched on is switched off at the end, and nothing else.
func TestEnd(t *testing.T) {
	f, _, _ := under(t, 10, 30, "\x1b[?1049h\x1b[?1003;1006h\x1b[?2004h\x1b[?25l\x1b[>5u\x1b[4h\x1b[6 q\x1b]8;;http://x/\x07\x1b(0\x1b[?1h\x1b[?1l")
	got := string(f.End())
	for _, want := range []string{
		"\x1b[?1049l", "\x1b[?1003l", "\x1b[?1006l", "\x1b[?2004l", "\x1b[?25h", "\x1b[<1u", "\x1b[4l", "\x1b[0 q", "\x1b]8;;\x1b\\",
		"\x1b(B", "\x1b[r", "\x1b[?1004l", "\x1b[23;0t",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
	for _, not := range []string{"\x1b[?1000l", "\x1b[?1l", "\x1b>"} {
		if strings.Contains(got, not) {
			t.Errorf("%q is in %q", not, got)
		}
	}
	if f.End() != nil {
		t.Error("ended twice")
	}
}

// The terminal has one slot for a saved cursor. When the filter needed it, the program still finds what it saved.
func TestSavedCursorSurvivesTheBanner(t *testing.T) {
	f, real, child := under(t, 10, 30, "\x1b[4;5H\x1b[1;31m\x1b7\x1b[m\x1b[7;1Hthirty characters, to the edge")
	real.Write(f.SetBanner("x"))
	real.Write(f.SetBanner(testBanner))
	real.Write(f.Output(nil, []byte("\x1b8y")))
	child.Write([]byte("\x1b8y"))
	if d := differ(real, child); d != "" {
		t.Error(d)
	}
}

func TestSGRLogIsCompacted(t *testing.T) {
	var l sgrLog
	for i := range 10000 {
		l.add(fmt.Appendf(nil, "\x1b[3%dm", i%8))
	}
	l.add([]byte("\x1b[1;4;38;2;1;2;3;48;5;7m"))
	for range 1000 {
		l.add([]byte("\x1b[22;7m"))
	}
	l.compact()
	want := "\x1b[4m\x1b[7m\x1b[38;2;1;2;3m\x1b[48;5;7m"
	if got := l.String(); got != want {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	l.add([]byte("\x1b[0m"))
	if l.String() != "" {
		t.Errorf("after a reset %q", l.String())
	}
}
