package topline

import (
	"bytes"
	"fmt"
	"testing"
)

func benchmark(b *testing.B, chunk []byte) {
	f := New(Options{Rows: 50, Cols: 160, Banner: true})
	f.Start()
	dst := make([]byte, 0, 2*len(chunk))
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		dst = f.Output(dst[:0], chunk)
	}
}

// BenchmarkOutputText: lines of plain text, as of a long log.
func BenchmarkOutputText(b *testing.B) {
	benchmark(b, bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog, and so on until the line ends here.\r\n"), 400))
}

// BenchmarkOutputColour: every word in its own colour.
func BenchmarkOutputColour(b *testing.B) {
	var s bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&s, "\x1b[38;5;%dmword%d\x1b[0m ", i%256, i)
		if i%10 == 9 {
			s.WriteString("\r\n")
		}
	}
	benchmark(b, s.Bytes())
}

// BenchmarkOutputUTF8: text beyond ASCII, and boxes.
func BenchmarkOutputUTF8(b *testing.B) {
	benchmark(b, bytes.Repeat([]byte("│ žluťoučký kůň │ 日本語 ─────────\r\n"), 600))
}

// BenchmarkOutputScreen: a full-screen program that addresses the cursor all the time.
func BenchmarkOutputScreen(b *testing.B) {
	var s bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&s, "\x1b[%d;%dH\x1b[1;3%dmcell %d\x1b[m\x1b[K", i%49+1, i%120+1, i%8, i)
	}
	benchmark(b, s.Bytes())
}

// BenchmarkInputPaste: a paste of a megabyte.
func BenchmarkInputPaste(b *testing.B) {
	f := New(Options{Rows: 50, Cols: 160, Banner: true})
	f.Output(nil, []byte("\x1b[?2004h"))
	in := append(append([]byte("\x1b[200~"), bytes.Repeat([]byte("pasted line\n"), 1<<20/12)...), "\x1b[201~"...)
	dst := make([]byte, 0, 2*len(in))
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		dst = f.Input(dst[:0], in)
	}
}
