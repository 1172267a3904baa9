package topline

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// ruleTable is the manual of what passes, what is dropped, and what becomes an event. Out is what the terminal gets,
// "=" for the same; event is "kind title text".
var ruleTable = []struct{ name, in, out, event string }{
	// What would be typed into the session.
	{"clipboard read", "\x1b]52;c;?\x07", "", "denied  read"},
	{"clipboard read of the primary", "\x1b]52;p;?\x1b\\", "", "denied  read"},
	{"clipboard write", "\x1b]52;c;aGVsbG8=\x07", "=", ""},
	{"clipboard write without padding", "\x1b]52;c;aGVsbG8\x1b\\", "=", ""},
	{"clipboard cleared", "\x1b]52;c;\x07", "=", ""},
	{"clipboard write, not base64", "\x1b]52;c;a b\x07", "", "denied  write: not base64"},
	{"clipboard write, too large", "\x1b]52;c;" + strings.Repeat("YWFh", 30000) + "\x07", "", "denied  write: too large"},
	{"clipboard write, a little too large", "\x1b]52;c;" + base64.StdEncoding.EncodeToString(make([]byte, 1<<16+1)) + "\x07", "", "denied  write: too large"},
	{"clipboard by kitty's protocol", "\x1b]5522;type=read\x1b\\", "", "denied  access by a protocol that can also read"},
	{"answerback", "a\x05b", "ab", "dropped answerback"},
	{"answerback within a sequence", "\x1b[1\x05m", "\x1b[1m", "dropped answerback"},
	{"title report", "\x1b[21t", "", "dropped title-report"},
	{"icon title report", "\x1b[20t", "", "dropped title-report"},
	{"DECRQSS", "\x1bP$qm\x1b\\x", "x", "dropped state-report"},
	{"DECRQCRA", "\x1b[1;1;1;1;2;2*y", "", "dropped screen-checksum"},
	{"XTREPORTSGR", "\x1b[1;1;2;2#|", "", "dropped state-report"},
	{"DECRQPSR", "\x1b[1$w", "", "dropped state-report"},
	{"user-defined keys", "\x1bP0;1|17/6c730a\x1b\\", "", "dropped user-keys"},
	{"macro", "\x1bP1;0;0!z41\x1b\\\x1b[1*z", "", "dropped macro|dropped macro"},
	{"locator", "\x1b[1'z", "", "dropped locator"},
	{"highlight tracking", "\x1b[1;2;3;4;5T", "", "dropped highlight-tracking"},
	{"highlight tracking mode", "\x1b[?1001h", "", "dropped highlight-tracking"},
	{"keyboard lock", "\x1b[2h", "", "dropped keyboard"},
	// What reaches the window or the host.
	{"move the window", "\x1b[3;0;0t", "", "dropped window-operation"},
	{"iconify", "\x1b[2t", "", "dropped window-operation"},
	{"maximize", "\x1b[9;1t", "", "dropped window-operation"},
	{"resize in pixels", "\x1b[4;100;100t", "", "dropped resize"},
	{"resize", "\x1b[8;50;200t", "", "dropped resize"},
	{"resize by lines", "\x1b[48t", "", "dropped resize"},
	{"DECSNLS", "\x1b[36*|", "", "dropped resize"},
	{"132 columns", "\x1b[?3h", "", ""},
	{"132 columns among others", "\x1b[?3;25l", "\x1b[?25l", ""},
	{"title push", "\x1b[22;0;0t", "", ""},
	{"title pop", "\x1b[23;0;0t", "", ""},
	{"print", "\x1b[5i", "", "dropped media-copy"},
	{"print a line", "\x1b[?1i", "", "dropped media-copy"},
	{"font", "\x1b]50;?\x07", "", "dropped font"},
	{"soft font", "\x1bP1;1;1{ @\x1b\\", "", "dropped soft-font"},
	{"iTerm2 file", "\x1b]1337;File=name=eA==;size=1:AAAA\x07x", "x", "dropped iterm"},
	{"iTerm2 file that says inline twice", "\x1b]1337;File=inline=1;inline=0:AAAA\x07x", "x", "dropped iterm"},
	{"iTerm2 inline image", "\x1b]1337;File=inline=1;size=3:AAAA\x07x", "=", ""},
	{"iTerm2 profile", "\x1b]1337;SetProfile=x\x07", "", "dropped iterm"},
	{"iTerm2 copy", "\x1b]1337;Copy=:AAAA\x07x", "x", "dropped iterm"},
	{"tmux passthrough", "\x1bPtmux;\x1b\x1b]52;c;?\x07\x1b\\x", "\x1b\\x", "dropped passthrough|denied  read"},
	{"tmux control mode", "\x1bP1000p%begin\r\n\x1b\\x", "x", "dropped remote-control"},
	{"kitty remote control", "\x1bP@kitty-cmd{\"cmd\":\"launch\"}\x1b\\x", "x", "dropped remote-control"},
	{"kitty image", "\x1b_Ga=T,f=100;iVBORw0KGgo=\x1b\\x", "=", ""},
	{"kitty image without data", "\x1b_Ga=d\x1b\\x", "=", ""},
	{"kitty image from a file", "\x1b_Ga=T,t=f;L2V0Yy9wYXNzd2Q=\x1b\\x", "x", "dropped kitty-files"},
	{"kitty image from a temporary file", "\x1b_Gt=t,a=T;L3RtcC94\x1b\\x", "x", "dropped kitty-files"},
	{"application command", "\x1b_hello\x1b\\x", "x", ""},
	{"privacy message", "\x1b^hello\x1b\\x", "x", ""},
	{"start of string", "\x1bXhello\x1b\\x", "x", ""},
	{"sixel", "\x1bP0;1;0q#0;2;0;0;0#0~~@@vv\x1b\\x", "=", ""},
	{"XTGETTCAP", "\x1bP+q544e\x1b\\x", "=", ""},
	{"unknown device control", "\x1bP1$t0\x1b\\x", "x", "dropped device-control"},
	{"directory", "\x1b]7;file://host/etc\x07", "", ""},
	{"unknown command", "\x1b]6973;x\x07", "", "dropped operating-system-command"},
	{"Sun's title", "\x1b]lrm -rf\x1b\\", "", "dropped operating-system-command"},
	{"ConEmu's macro", "\x1b]9;6;shell\x07", "", "dropped operating-system-command"},
	{"hidden controls", "\x1b]8;;http://x/\u009b5n\x07", "", "dropped hidden-controls"},
	{"too long", "\x1b]8;;" + strings.Repeat("a", maxOSC) + "\x07x", "x", "dropped too-long"},
	{"VT52", "\x1b[?2l", "", "dropped vt52"},
	{"Tektronix", "\x1b[?38h", "", "dropped tektronix"},
	{"reverse wrap", "\x1b[?45h", "", ""},
	{"sixels at home", "\x1b[?80h", "", "dropped sixel-display-mode"},
	{"Latin-1", "\x1b%@", "", "dropped encoding"},
	{"memory lock", "\x1bl", "", "dropped memory-lock"},
	{"pages", "\x1b[2U", "", "dropped pages"},
	{"unscroll", "\x1b[2+T", "", "dropped unscroll"},
	{"status line", "\x1b[1$}", "", "dropped status-line"},
	// What becomes an event.
	{"bell", "\x07", "=", "bell"},
	{"title", "\x1b]0;vim\x07", "", "title  vim"},
	{"title of screen", "\x1bkvim\x1b\\x", "x", "title  vim"},
	{"icon's name", "\x1b]1;vim\x07", "", ""},
	{"title with tricks", "\x1b]2;a\u202eb\u0085c\x07", "", "title  abc"},
	{"title that is long", "\x1b]2;" + strings.Repeat("é", 300) + "\x07", "", "title  " + strings.Repeat("é", 200)},
	{"iTerm2 notification", "\x1b]9;done\x07", "", "notify  done"},
	{"progress", "\x1b]9;4;1;50\x1b\\", "=", ""},
	{"urxvt notification", "\x1b]777;notify;Agent;waits; here\x07", "", "notify Agent waits; here"},
	{"kitty notification", "\x1b]99;i=1:d=0;Agent\x1b\\", "", "notify Agent "},
	{"kitty notification in base64", "\x1b]99;i=1:p=body:e=1;d2FpdHM=\x1b\\", "", "notify  waits"},
	// What passes as it is.
	{"colours", "\x1b[1;38;2;1;2;3;48:5:7mx\x1b[m", "=", ""},
	{"colour query", "\x1b]11;?\x1b\\", "=", ""},
	{"palette", "\x1b]4;1;rgb:ff/00/00\x07", "=", ""},
	{"link", "\x1b]8;id=1;https://x.y/\x1b\\x\x1b]8;;\x1b\\", "=", ""},
	{"prompt mark", "\x1b]133;A\x07", "=", ""},
	{"bracketed paste", "\x1b[?2004h", "=", ""},
	{"synchronized output", "\x1b[?2026hx\x1b[?2026l", "=", ""},
	{"kitty keyboard", "\x1b[>1u\x1b[?u\x1b[<u", "=", ""},
	{"cursor shape", "\x1b[5 q", "=", ""},
	{"character sets", "\x1b(0lqk\x1b(B\x0e\x0f", "=", ""},
	{"device attributes", "\x1b[c\x1b[>c\x1b[>q\x1b[5n", "=", ""},
	{"size reports", "\x1b[14t\x1b[16t\x1b[18t", "=", ""},
	{"wide and combining", "日本 e\u0301 👩‍💻", "=", ""},
	{"erase to the end", "\x1b[J\x1b[K", "=", ""},
	// What names rows.
	{"home", "\x1b[H", "\x1b[2H", ""},
	{"position", "\x1b[5;7H\x1b[3;1f", "\x1b[6;7H\x1b[4;1f", ""},
	{"position beyond the screen", "\x1b[99;1H", "\x1b[10;1H", ""},
	{"row", "\x1b[4d", "\x1b[5d", ""},
	{"region", "\x1b[2;5r", "\x1b[3;6r\x1b[2;1H", ""},
	{"no region", "\x1b[r", "\x1b[2;10r\x1b[2;1H", ""},
	{"region of one row", "\x1b[3;3r", "", ""},
	{"origin mode", "\x1b[3;5r\x1b[?6h\x1b[2;1H\x1b[?6l", "\x1b[4;6r\x1b[2;1H\x1b[?6h\x1b[2;1H\x1b[?6l\x1b[2;1H", ""},
	{"up, above the region", "\x1b[5;6r\x1b[3H\x1b[9A", "\x1b[6;7r\x1b[2;1H\x1b[4H\x1b[2A", ""},
	{"previous line, above the region", "\x1b[5;6r\x1b[9F", "\x1b[6;7r\x1b[2;1H\r", ""},
	{"reverse index, above the region", "\x1b[5;6r\x1bMx", "\x1b[6;7r\x1b[2;1Hx", ""},
	{"erase all", "\x1b[3;3H\x1b[2J", "\x1b[4;3H\x1b[2;1H\x1b[J\x1b[4;3H", ""},
	{"fill a rectangle", "\x1b[88;1;1;2;2$x", "\x1b[88;2;1;3;2$x", ""},
	{"erase a rectangle, by default all", "\x1b[$z", "\x1b[2;;10$z", ""},
	{"copy a rectangle", "\x1b[1;1;2;2;1;3;1;1$v", "\x1b[2;1;3;2;1;4;1;1$v", ""},
	{"attributes of a rectangle", "\x1b[1;1;2;2;7$r", "\x1b[2;1;3;2;7$r", ""},
	{"focus reports, for the program alone", "\x1b[?1004h", "", ""},
	// How sequences are read.
	{"C1 as a character", "\u009b5;7H", "\x1b[6;7H", ""},
	{"C1 as a byte", "\x9b5;7H", "\x1b[6;7H", ""},
	{"C1 clipboard read", "\u009d52;c;?\x07", "", "denied  read"},
	{"not UTF-8", "a\xffb\xe2\x82c", "a\ufffdb\ufffdc", ""},
	{"control within a sequence", "\x1b[5\r;7H", "\r\x1b[6;7H", ""},
	{"cancelled", "\x1b[5;7\x18H", "H", ""},
	{"escape within a sequence", "\x1b[5\x1b[1;1H", "\x1b[2;1H", ""},
	{"malformed", "\x1b[5$3H\x1b[1<2H", "", ""},
	{"subparameters where none belong", "\x1b[5:3H", "", ""},
	{"endless", "\x1b[" + strings.Repeat("1;", 2000) + "Hx", "x", ""},
}

var kindNames = map[EventKind]string{
	Bell: "bell", Notify: "notify", Title: "title", ClipboardDenied: "denied", Dropped: "dropped", FocusIn: "in", FocusOut: "out",
}

func eventString(e Event) string {
	switch e.Kind {
	case Bell, FocusIn, FocusOut:
		return kindNames[e.Kind]
	case Dropped:
		return "dropped " + e.Title
	}
	return fmt.Sprintf("%s %s %s", kindNames[e.Kind], e.Title, e.Text)
}

// started returns a filter after Start, and where its events go.
func started(o Options) (*Filter, *[]string) {
	var events []string
	o.OnEvent = func(e Event) { events = append(events, eventString(e)) }
	f := New(o)
	f.SetBanner(testBanner)
	f.Start()
	return f, &events
}

func TestRules(t *testing.T) {
	for _, row := range ruleTable {
		t.Run(row.name, func(t *testing.T) {
			f, events := started(Options{Rows: 10, Cols: 40, Banner: true, ClipboardWrite: true, ClipboardMax: 1 << 16})
			want := row.out
			if want == "=" {
				want = row.in
			}
			if got := string(f.Output(nil, []byte(row.in))); got != want {
				t.Errorf("output\n got %q\nwant %q", got, want)
			}
			if got := strings.Join(*events, "|"); got != row.event {
				t.Errorf("events\n got %q\nwant %q", got, row.event)
			}
			if !f.Ground() {
				t.Error("not in the ground state")
			}
		})
	}
}

func TestClipboardWriteSwitchedOff(t *testing.T) {
	f, events := started(Options{Rows: 10, Cols: 40, Banner: true})
	if got := f.Output(nil, []byte("\x1b]52;c;aGVsbG8=\x07")); len(got) > 0 {
		t.Errorf("passed %q", got)
	}
	if got := strings.Join(*events, "|"); got != "denied  write: switched off" {
		t.Errorf("events %q", got)
	}
}

// Without a banner nothing is rewritten, and the rules hold all the same.
func TestWithoutBanner(t *testing.T) {
	f, _ := started(Options{Rows: 10, Cols: 40})
	stream := "\x1b[H\x1b[2;5r\x1b[2J\x1b[?6h\x1b[?6l\x1b7\x1b8\x1b8\x1b[u\x1bM\x1b[9A\x1b[?1049h\x1b[?1049l\x1bD\x1b[1;1;2;2$z\x1b[!p"
	got := string(f.Output(nil, []byte(stream+"\x1b[21t")))
	if want := stream + "\x1b[4l\x1b[?25h\x1b(B\x0f\x1b[m"; got != want {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	if rows, _ := f.ChildSize(); rows != 10 {
		t.Errorf("the program has %d rows", rows)
	}
}
