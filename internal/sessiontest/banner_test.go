package sessiontest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
)

// wrapped is a sequence as tmux in the guest passes it on, unread, to the terminal outside.
func wrapped(seq string) string {
	return `\033Ptmux;` + strings.ReplaceAll(seq, `\033`, `\033\033`) + `\033\\`
}

// TestBanner: it is there, says and paints what holds, and stays there whatever the programs below do.
func TestBanner(t *testing.T) {
	w := theWorld(t)
	v := w.open(t, nil, "session", "demo", "--yes", "--agent", w.agent(t))
	v.tmux("select-pane", "-t", v.target(), "-T", "as it was")
	v.safe()
	v.prompt()
	if got := v.painted(0); !strings.HasPrefix(got, "\x1b[30m\x1b[42m🔒") {
		t.Errorf("it is not green: %q", got)
	}
	v.line("echo $(stty size) $(tput lines) $LINES.")
	v.sees(`^29 100 29 29\.$`)
	if got := v.value("#{pane_title}"); !strings.Contains(got, "demo") || !strings.Contains(got, "Agent banner · Safe Mode") {
		t.Errorf("the window's title is %q", got)
	}
	for _, p := range []struct{ name, command, sign, end string }{
		{"clear", "clear; echo here-$((40+2))", `\A.*\nhere-42$`, ""},
		{"reset", "reset; echo here-$((40+3))", `here-43$`, ""},
		{"RIS", `printf '\033c'; echo here-$((40+4))`, `here-44$`, ""},
		{
			"alternate screen", `printf '\033[?1049h\033[2J\033[Hon the other'; read x; printf '\033[?1049l'`,
			`\A.*\non the other$`, "x",
		},
		{
			"scroll region", `printf '\033[1;5r\033[1;1H'; seq 1 50; read x; printf '\033[r'; clear`,
			`\A.*\n47\n48\n49\n50\n`, "x",
		},
		{
			"origin mode", `clear; printf '\033[3;9r\033[?6h\033[1;1Hhome'; read x; printf '\033[?6l\033[r'; clear`,
			`\A.*\n\$?.*\n.*\nhome`, "x",
		},
		{"scrolling", "seq 1 1000", `\A.*\n97[0-9]\n(.*\n)*1000$`, ""},
		{"wide and combining", `clear; printf '漢字 e\314\201 👩‍💻 \033[31mred\033[m\n'`, `\A.*\n漢字 e\x{301} .*red$`, ""},
		{"vi", "vi /etc/services", `\A.*\n# Network services`, ":q!"},
		{"less", "less /etc/services", `\A.*\n# Network services`, "q"},
		{"top", "top -d 1", `\A.*\ntop - `, "q"},
		{"tmux", "tmux -L inner -f /dev/null new-session sh", `(?s)\[0\] 0:sh\*.*\z`, "exit"},
		// What the guest's tmux does not read itself reaches the filter as it is.
		{"RIS, passed on", "printf '" + wrapped(`\033c\033c`) + "'; echo here-$((40+5))", `here-45$`, ""},
		{
			"out of the region, passed on",
			"printf '" + wrapped(`\033[!p\033[r\033[?6l\033[1;1H\033[2J\033[3J\033[99A`) + "'; clear; echo here-$((40+6))",
			`here-46$`, "",
		},
		{
			"off the screen, passed on",
			"printf '" + wrapped(`\033[?1049l\033[?47l\033[?1049h\033[H\033[50L\033[50T\033[?3h\033[8;10;10t`) + "'; clear; echo here-$((40+7))",
			`here-47$`, "",
		},
	} {
		v.line(p.command)
		v.sees(p.sign)
		if got := v.screen(); !isBanner(got[0]) || len(got) != rows {
			t.Errorf("%s: the banner is %q, of %d rows", p.name, got[0], len(got))
		}
		if p.end != "" {
			if p.name == "less" || p.name == "top" {
				v.types(p.end)
			} else {
				v.line(p.end)
			}
		}
		v.prompt()
		if got := v.screen()[0]; !isBanner(got) {
			t.Errorf("after %s the banner is %q", p.name, got)
		}
	}
	v.line("exit 3")
	if code := v.ends(); code != 3 {
		t.Errorf("exit code %d", code)
	}
	if got := v.value("#{pane_title}"); got != "as it was" {
		t.Errorf("afterwards the window's title is %q", got)
	}
	if got := v.screen()[0]; strings.Contains(got, "CAL") {
		t.Errorf("the banner is left behind: %q", got)
	}
}

// TestBannerElsewhere: windows and wishes other than the usual.
func TestBannerElsewhere(t *testing.T) {
	w := theWorld(t)
	for _, c := range []struct {
		name       string
		cols, rows int
		env        []string
		first      string // row
		paint      string // its beginning
		size       string
	}{
		{"no colour", columns, rows, []string{"NO_COLOR=1"}, banner, "\x1b[7m🔒", "29 100"},
		{"narrow", 40, rows, nil, "🔒 CAL │ VM: demo │ Safe Mode", "\x1b[30m\x1b[42m🔒", "29 40"},
		{"off", columns, rows, []string{"CAL_SESSION_BANNER=false"}, "$", "$", "30 100"},
		{"dumb", columns, rows, []string{"TERM=dumb"}, "$", "$", "30 100"},
		{"tiny", 20, 3, nil, "🔒 CAL │ Safe Mode", "\x1b[30m\x1b[42m🔒", "2 20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := w.openSized(t, c.cols, c.rows, c.env, "session", "demo", "--yes", "--agent", w.agent(t))
			v.until("the first row", func(s []string) bool { return s[0] == c.first })
			if got := v.painted(0); !strings.HasPrefix(got, c.paint) {
				t.Errorf("painted as %q", got)
			}
			v.prompt()
			v.line("stty size")
			v.sees(`^` + c.size + `$`)
			v.line("exit")
			if code := v.ends(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// painter shows its size, and where its rows end, anew whenever the window changes.
const painter = `import os, signal, sys
def paint(*_):
    cols, rows = os.get_terminal_size(0)
    lines = [("%d of %dx%d" % (i + 1, cols, rows)).ljust(cols - 1, ".") + "|" for i in range(rows)]
    sys.stdout.write("\033[H\033[2J" + "\r\n".join(l[:cols] for l in lines))
    sys.stdout.flush()
signal.signal(signal.SIGWINCH, paint)
os.system("stty raw -echo")
paint()
while os.read(0, 1) != b"q":
    pass
os.system("stty sane")`

// TestResizeStorm: fifty sizes as fast as they come, and the screen is the last one's.
func TestResizeStorm(t *testing.T) {
	w := theWorld(t)
	w.guestFile(t, "painter.py", painter)
	v := w.session(t, w.agent(t, "/usr/bin/python3", "/home/admin/painter.py"))
	v.sees(`^1 of 100x29\.`)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var cols, rows int
	for range 50 {
		cols, rows = 20+random.IntN(180), 4+random.IntN(60)
		v.resize(cols, rows)
	}
	begun := time.Now()
	green := strings.TrimRight(plain(session.Banner(
		session.Status{Workspace: "demo", Mode: "Safe Mode"}, cols, false)), " ")
	v.until(fmt.Sprintf("the screen of %dx%d", cols, rows), func(s []string) bool {
		return len(s) == rows && s[0] == green && slices.Equal(s[1:], painted(cols, rows-1))
	})
	t.Logf("settled at %dx%d %.0f ms after the last", cols, rows, time.Since(begun).Seconds()*1000)
	v.keys("q")
	if code := v.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// painted is what painter shows.
func painted(cols, rows int) []string {
	lines := make([]string, rows)
	for i := range lines {
		l := fmt.Sprintf("%d of %dx%d", i+1, cols, rows)
		l += strings.Repeat(".", max(0, cols-1-len(l))) + "|"
		lines[i] = l[:cols]
	}
	return lines
}

// plain is text without its colours.
func plain(s string) string {
	for _, sgr := range []string{"\x1b[7m", "\x1b[0m"} {
		s = strings.ReplaceAll(s, sgr, "")
	}
	return s
}

// TestBannerFollows: what another process does to the workspace is said at once.
func TestBannerFollows(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	taking := w.command("snapshot", "create", "demo", "--name", "from elsewhere")
	if err := taking.Start(); err != nil {
		t.Fatal(err)
	}
	said := v.sees(`\A(.*snapshot.*)`)[1]
	seen := time.Now()
	for _, e := range slices.Backward(w.events(t)) {
		if e.Kind == journal.OpBegin && strings.HasPrefix(e.Verb, "snapshot") {
			t.Logf("%q, %.0f ms after it began", said, seen.Sub(e.Time).Seconds()*1000)
			break
		}
	}
	if got := v.painted(0); !strings.HasPrefix(got, "\x1b[30m\x1b[43m◐") {
		t.Errorf("it is not yellow: %q", got)
	}
	if err := taking.Wait(); err != nil {
		t.Errorf("taking the snapshot: %v", err)
	}
	ended := time.Now()
	v.safe()
	t.Logf("all is well %.0f ms after its end", time.Since(ended).Seconds()*1000)
	w.must(t, "snapshot", "delete", "demo", "from elsewhere")
}
