package session

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func pieces(s *scanner, chunks ...string) []string {
	var got []string
	emit := func(p piece) {
		kind := [...]string{pieceText: "text", pieceSeq: "seq", piecePaste: "paste", piecePrefix: "prefix"}[p.kind]
		text := string(p.data)
		if n := len(got); n > 0 && (p.kind == pieceText || p.kind == piecePaste) && strings.HasPrefix(got[n-1], kind+" ") {
			got[n-1] += text // how it is cut is of no importance
			return
		}
		got = append(got, kind+" "+text)
	}
	for _, c := range chunks {
		s.feed([]byte(c), emit)
	}
	s.flush(emit)
	return got
}

func TestScanner(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"text and prefix":            {"ab\x1dc", []string{"text ab", "prefix \x1d", "text c"}},
		"keys":                       {"\x1b[A\x1bOP\x1b[[A\x1bx\x1b漢", []string{"seq \x1b[A", "seq \x1bOP", "seq \x1b[[A", "seq \x1bx", "seq \x1b漢"}},
		"a lone escape":              {"\x1b", []string{"seq \x1b"}},
		"escape, then a key":         {"\x1b\x1b[A", []string{"seq \x1b", "seq \x1b[A"}},
		"old mouse report":           {"\x1b[M \x1d!", []string{"seq \x1b[M \x1d!"}},
		"mouse report":               {"\x1b[<0;10;20M", []string{"seq \x1b[<0;10;20M"}},
		"answers":                    {"\x1b]11;rgb:0/0/0\x1b\\\x1bP1$r\x1d\x1b\\\x1b[?62c", []string{"seq \x1b]11;rgb:0/0/0\x1b\\", "seq \x1bP1$r\x1d\x1b\\", "seq \x1b[?62c"}},
		"paste":                      {"a\x1b[200~b\x1dc\x1b[201~\x1d", []string{"text a", "paste \x1b[200~b\x1dc\x1b[201~", "prefix \x1d"}},
		"kitty":                      {"\x1b[93;5u\x1b[93;5:1u\x1b[93;5:3u", []string{"prefix \x1b[93;5u", "prefix \x1b[93;5:1u", "seq \x1b[93;5:3u"}},
		"a sequence broken off":      {"\x1b[12\x1d", []string{"seq \x1b[12", "prefix \x1d"}},
		"half a sequence":            {"x\x1b[12", []string{"text x", "seq \x1b[12"}},
		"a string that never ends":   {"\x1b]" + strings.Repeat("x", maxSequence), []string{"seq \x1b]" + strings.Repeat("x", maxSequence)}},
		"a string that is cut short": {"\x1b]0;x\x1b[A", []string{"seq \x1b]0;x", "seq \x1b[A"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pieces(&scanner{prefix: 0x1d}, c.in); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestEscapeAsPrefix(t *testing.T) {
	got := pieces(&scanner{prefix: 0x1b}, "a\x1b[A\x1b")
	if want := []string{"text a", "seq \x1b[A", "prefix \x1b"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzScannerLosesNothingHoweverItIsCut(f *testing.F) {
	f.Add("ab\x1d\x1b[200~x\x1d\x1b[201~\x1b[93;5u\x1b]0;t\x07\x1bOA漢", 3)
	f.Fuzz(func(t *testing.T, in string, cut int) {
		if cut < 1 || len(in) > 2000 {
			return
		}
		whole := pieces(&scanner{prefix: 0x1d}, in)
		var chunks []string
		for rest := in; rest != ""; {
			n := min(cut, len(rest))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		if parts := pieces(&scanner{prefix: 0x1d}, chunks...); !reflect.DeepEqual(whole, parts) {
			t.Errorf("%q in parts of %d: %q, whole: %q", in, cut, parts, whole)
		}
		var all strings.Builder
		s := scanner{prefix: 0x1d}
		s.feed([]byte(in), func(p piece) { all.Write(p.data) })
		s.flush(func(p piece) { all.Write(p.data) })
		if all.String() != in {
			t.Errorf("%q becomes %q", in, all.String())
		}
	})
}

func FuzzKeysAndEditor(f *testing.F) {
	f.Add("abc\x1b[D\x7f\x17\x15漢\x1b[H\x1b[3~\x1b[200~paste\x1b[201~\x1b[97;2u\r", 20)
	f.Fuzz(func(t *testing.T, in string, width int) {
		if width < 4 || width > 300 {
			return
		}
		var d decoder
		var e editor
		(&scanner{prefix: 0x1d}).feed([]byte(in), func(p piece) {
			for _, k := range d.keys(p) {
				e.take(k)
				if e.at < 0 || e.at > len(e.text) {
					t.Fatalf("the cursor is at %d of %d", e.at, len(e.text))
				}
			}
		})
		if text := string(e.text); text != Printable(text) {
			t.Errorf("%q holds what acts on a terminal", text)
		}
		if n := cells.StringWidth(unpainted(e.view(width))); n > width+1 {
			t.Errorf("%d columns for a view of %d", n, width)
		}
	})
}

func TestKeyNames(t *testing.T) {
	var d decoder
	for in, want := range map[string]key{
		"\r": {kind: keyEnter}, "\x1b[13u": {kind: keyEnter}, "\x1b": {kind: keyEscape}, "\x1b[27u": {kind: keyEscape},
		"\x1b[1;5A": {kind: keyUp}, "\x1b[5~": {kind: keyPageUp}, "\x1b[6~": {kind: keyPageDown}, "\x7f": {kind: keyBackspace},
		"\x03": {kind: keyCtrl, r: 'c'}, "\x1b[99;5u": {kind: keyCtrl, r: 'c'}, "\x1b[27;5;99~": {kind: keyCtrl, r: 'c'},
		"\x1b[57399u": {kind: keyRune, r: '0'}, "\x1b[97:65;2u": {kind: keyRune, r: 'A'}, "漢": {kind: keyRune, r: '漢'},
		"\x1b[97;1:3u": {}, "\x1b[1;1:3A": {}, "\x1b[<0;1;1M": {}, "\x1bx": {}, "\x1b[57358u": {},
	} {
		p := piece{pieceText, []byte(in)}
		if in[0] == 0x1b {
			p.kind = pieceSeq
		}
		got := append(d.keys(p), key{})[0]
		if got != want {
			t.Errorf("%q is %+v, want %+v", in, got, want)
		}
	}
	if got := fmt.Sprint(d.keys(piece{pieceText, []byte("a\xe6\xbc")}), d.keys(piece{pieceText, []byte("\xa2b")})); !strings.Contains(got, "28450") {
		t.Errorf("a character in two parts: %s", got)
	}
	if prefixName(0x1d) != "Ctrl-]" || prefixName(0x01) != "Ctrl-A" || prefixName(0) != "Ctrl-@" {
		t.Error("names of prefix keys")
	}
}
