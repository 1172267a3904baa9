package topline

import (
	"strings"
	"testing"
)

func TestInput(t *testing.T) {
	tests := []struct {
		name, output string // output: what the program printed before
		in           []string
		want, event  string
	}{
		{"keys", "", []string{"abc\x1b[A\x1bOP\x1b[15~\x1b[1;5C"}, "abc\x1b[A\x1bOP\x1b[15~\x1b[1;5C", ""},
		{"a lone escape", "", []string{"\x1b"}, "\x1b", ""},
		{"alt and a bracket", "", []string{"\x1b[", "x"}, "\x1b[x", ""},
		{"F3 with shift is no cursor report", "", []string{"\x1b[1;2R"}, "\x1b[1;2R", ""},
		{"cursor report", "\x1b[6n", []string{"\x1b[5;7R"}, "\x1b[4;7R", ""},
		{"cursor report, once", "\x1b[6n", []string{"\x1b[5;7R\x1b[1;2R"}, "\x1b[4;7R\x1b[1;2R", ""},
		{"extended cursor report", "\x1b[?6n", []string{"\x1b[?5;7;1R"}, "\x1b[?4;7;1R", ""},
		{"cursor report in origin mode", "\x1b[?6h\x1b[6n", []string{"\x1b[5;7R"}, "\x1b[5;7R", ""},
		{"SGR mouse", "\x1b[?1000;1006h", []string{"\x1b[<0;3;5M\x1b[<0;3;5m"}, "\x1b[<0;3;4M\x1b[<0;3;4m", ""},
		{"SGR mouse, split", "\x1b[?1000;1006h", []string{"\x1b[<0;", "3;", "5M"}, "\x1b[<0;3;4M", ""},
		{"SGR mouse, split after the escape", "\x1b[?1000;1006h", []string{"\x1b", "[<0;3;5M"}, "\x1b[<0;3;4M", ""},
		{"SGR mouse on the banner", "\x1b[?1000;1006h", []string{"\x1b[<0;3;1M\x1b[<0;3;1m"}, "", ""},
		{"drag onto the banner", "\x1b[?1002;1006h", []string{"\x1b[<0;3;3M\x1b[<32;3;1M\x1b[<0;3;1m"}, "\x1b[<0;3;2M\x1b[<32;3;1M\x1b[<0;3;1m", ""},
		{"drag off the banner", "\x1b[?1002;1006h", []string{"\x1b[<0;3;1M\x1b[<32;3;3M\x1b[<0;3;3m"}, "", ""},
		{"wheel", "\x1b[?1000;1006h", []string{"\x1b[<64;3;1M\x1b[<64;3;2M"}, "\x1b[<64;3;1M", ""},
		{"X10 mouse", "\x1b[?1000h", []string{"\x1b[M #%"}, "\x1b[M #$", ""},
		{"X10 mouse, split", "\x1b[?1000h", []string{"\x1b[M", " #", "%x"}, "\x1b[M #$x", ""},
		{"X10 mouse on the banner", "\x1b[?1000h", []string{"\x1b[M #!\x1b[M##!"}, "", ""},
		{"UTF-8 mouse", "\x1b[?1000;1005h", []string{"\x1b[M #Ă"}, "\x1b[M #ā", ""},
		{"no mouse mode", "", []string{"\x1b[M #%"}, "\x1b[M #%", ""},
		{"urxvt mouse", "\x1b[?1000;1015h", []string{"\x1b[32;3;5M\x1b[35;3;5M"}, "\x1b[32;3;4M\x1b[35;3;4M", ""},
		{"pixel mouse", "\x1b[?1000;1016h", []string{"\x1b[6;20;10t\x1b[<0;30;50M"}, "\x1b[<0;30;30M", ""},
		{"size report", "\x1b[18t", []string{"\x1b[8;10;40t"}, "\x1b[8;9;40t", ""},
		{"size report in pixels", "\x1b[14t", []string{"\x1b[4;200;400t"}, "\x1b[4;180;400t", ""},
		{"size of a cell", "\x1b[16t", []string{"\x1b[6;20;10t"}, "\x1b[6;20;10t", ""},
		{"resize notice", "\x1b[?2048h", []string{"\x1b[48;10;40;200;400t"}, "\x1b[48;9;40;180;400t", ""},
		{"focus, not asked for", "", []string{"\x1b[I\x1b[O"}, "", "in|out"},
		{"focus, asked for", "\x1b[?1004h", []string{"\x1b[I\x1b[O"}, "\x1b[I\x1b[O", "in|out"},
		{"focus mode's report", "\x1b[?1004$p", []string{"\x1b[?1004;1$y"}, "\x1b[?1004;2$y", ""},
		{"focus mode's report, asked for", "\x1b[?1004h", []string{"\x1b[?1004;1$y"}, "\x1b[?1004;1$y", ""},
		{
			"paste",
			"\x1b[?2004;1000;1006h",
			[]string{"\x1b[200~a\x1b[<0;3;5M\x1b[I\x1b", "[20", "1~\x1b[<0;3;5M"},
			"\x1b[200~a\x1b[<0;3;5M\x1b[I\x1b[201~\x1b[<0;3;4M", "",
		},
		{"paste, with an end that is none", "\x1b[?2004;1000;1006h", []string{"\x1b[200~\x1b[201\x1b[201~\x1b[<0;3;5M"}, "\x1b[200~\x1b[201\x1b[201~\x1b[<0;3;4M", ""},
		{"colour answer", "", []string{"\x1b]11;rgb:0000/0000/0000\x1b\\"}, "\x1b]11;rgb:0000/0000/0000\x1b\\", ""},
		{"two escapes", "\x1b[?1000;1006h", []string{"\x1b\x1b[<0;3;5M"}, "\x1b\x1b[<0;3;4M", ""},
		{"endless", "", []string{"\x1b[" + strings.Repeat("1", 100)}, "\x1b[" + strings.Repeat("1", 100), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, events := started(Options{Rows: 10, Cols: 40, Banner: true})
			f.Output(nil, []byte(tt.output))
			var got []byte
			for _, in := range tt.in {
				got = f.Input(got, []byte(in))
			}
			if string(got) != tt.want {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
			if got := strings.Join(*events, "|"); got != tt.event {
				t.Errorf("events %q, want %q", got, tt.event)
			}
		})
	}
}

func TestFlushInput(t *testing.T) {
	f, _ := started(Options{Rows: 10, Cols: 40, Banner: true})
	if got := f.Input(nil, []byte("\x1b[1")); len(got) > 0 {
		t.Fatalf("passed %q", got)
	}
	if got := string(f.FlushInput(nil)); got != "\x1b[1" {
		t.Errorf("flushed %q", got)
	}
	if got := string(f.Input(nil, []byte("x"))); got != "x" {
		t.Errorf("then %q", got)
	}
}
