package topline

import (
	"bytes"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// FuzzOutput: whatever a program prints, the filter does not panic, splits do not matter, the terminal is left between
// two sequences, and the banner stands.
func FuzzOutput(f *testing.F) {
	for _, row := range ruleTable {
		f.Add([]byte(row.in), uint8(3))
	}
	f.Add([]byte("\x1b[5;6r\x1b[3H\x1b[9A\x1bM\x1b[?6h\x1b[1J\x1b7\x1b[?1049h\x1b8\x1b[2Jx"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		const rows, cols = 8, 24
		if len(stream) > 4<<10 {
			return
		}
		whole := filtered(rows, cols, stream)
		if split := filtered(rows, cols, stream, int(size)); !bytes.Equal(whole, split) {
			t.Fatalf("split by %d\n got %q\nwant %q", size, split, whole)
		}
		fl := New(Options{Rows: rows, Cols: cols, Banner: true})
		fl.SetBanner(testBanner)
		out := fl.Start()
		out = fl.Output(out, stream)
		out = append(out, "\x18"...) // whatever string is being streamed ends
		out = fl.Output(out, []byte{0x18})
		real := newOracle(t, rows, cols)
		real.Write(out)
		if got, want := real.text(0), strings.TrimSpace(ansi.Strip(testBanner)); got != want {
			t.Fatalf("banner is %q, want %q, after %q\nfiltered %q", got, want, stream, out)
		}
		if y := real.e.CursorPosition().Y; y == 0 {
			t.Fatalf("the cursor is on the banner after %q\nfiltered %q", stream, out)
		}
		fl.Redraw()
		fl.Resize(rows+1, cols+1)
		fl.End()
	})
}

// FuzzInput: whatever a terminal sends, the filter does not panic, keeps no more than the beginning of one report, and
// passes everything that is no report.
func FuzzInput(f *testing.F) {
	f.Add([]byte("\x1b[<0;3;5M\x1b[M #%\x1b[I\x1b[200~x\x1b[201~\x1b[5;7R\x1b[8;10;40t"), uint8(2))
	f.Add([]byte("abc\x1b\x1b[\x1b[1;5C"), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		fl := New(Options{Rows: 8, Cols: 24, Banner: true})
		fl.Output(nil, []byte("\x1b[?1000;1002;1006;2004h\x1b[6n\x1b[18t"))
		var out []byte
		for rest := in; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			out = fl.Input(out, rest[:n])
			rest = rest[n:]
			if len(fl.in.held) > maxReport+8 {
				t.Fatalf("keeps %q", fl.in.held)
			}
		}
		out = fl.FlushInput(out)
		if !bytes.Contains(in, []byte{0x1b}) && !bytes.Equal(in, out) {
			t.Fatalf("%q became %q", in, out)
		}
		if len(out) > 2*len(in) { // a missing row is said: "\x1b[;R" becomes "\x1b[1;R"
			t.Fatalf("%q grew to %q", in, out)
		}
	})
}
