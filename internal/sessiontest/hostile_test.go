package sessiontest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// prober prints what it is told to, through the guest's tmux unread, and shows what comes back as input.
const prober = `import os, select, sys
os.system("stty raw -echo")
for name, seq in (line.split(" ", 1) for line in open("/home/admin/probes").read().splitlines()):
    seq = seq.encode().decode("unicode_escape").encode("latin1")
    os.write(1, b"\033Ptmux;" + seq.replace(b"\033", b"\033\033") + b"\033\\")
    got = b""
    while select.select([0], [], [], 2)[0]:
        got += os.read(0, 4096)
    os.write(1, ("%s: %r\r\n" % (name, got)).encode())
os.system("stty sane")
os.write(1, b"probed\r\n")
sys.stdin.readline()`

// probes are queries whose answers would be typed into the session, as a shell command might be.
var probes = []struct{ name, seq string }{
	{"clipboard", `\033]52;c;?\007`},
	{"decrqss", `\033P$q"p\033\\`},
	{"decrqss-sgr", `\033P$qm\033\\`},
	{"title", `\033[21t`},
	{"icon", `\033[20t`},
	{"answerback", `\005`},
	{"checksum", `\033[1;1;1;1;1;1*y`},
}

// TestHostile: nothing a program prints comes back as if it were typed, and the clipboard is written within limits.
func TestHostile(t *testing.T) {
	w := theWorld(t)
	var lines strings.Builder
	for _, p := range probes {
		fmt.Fprintf(&lines, "%s %s\n", p.name, p.seq)
	}
	w.guestFile(t, "probes", strings.TrimSuffix(lines.String(), "\n"))
	w.guestFile(t, "prober.py", prober)
	if _, err := w.tmux("set-buffer", "secret of the host"); err != nil {
		t.Fatal(err)
	}
	// Beyond doubt the terminal outside does answer some of it, were it asked.
	direct := &window{T: t, w: w, name: "direct"}
	direct.tmux("new-session", "-d", "-s", direct.name, "-x", "100", "-y", "30", "sh", "-c",
		`stty raw -echo; printf '\033]52;c;?\007'; dd bs=1 count=8 2>/dev/null | od -An -c; sleep 999`)
	t.Cleanup(direct.kill)
	direct.sees(`033   \]   5   2   ;`)

	v := w.session(t, w.agent(t, "/usr/bin/python3", "/home/admin/prober.py"))
	v.sees(`^probed$`)
	for _, p := range probes {
		v.sees(`^` + p.name + `: b''$`)
	}
	v.keys("Enter")
	v.ends()
}

// TestClipboard: what the guest puts on the clipboard arrives, unless it is too much or not wanted.
func TestClipboard(t *testing.T) {
	w := theWorld(t)
	copies := func(v *window, text string) {
		v.line(`printf '\033]52;c;` + base64.StdEncoding.EncodeToString([]byte(text)) + `\007'; clear; echo copied-$((40+2))`)
		v.sees(`^copied-42$`)
	}
	buffer := func() string {
		out, _ := w.tmux("show-buffer") // there is none at first
		return out
	}
	v := w.shell(t)
	copies(v, "from the guest")
	eventually(t, func() bool { return buffer() == "from the guest" }, func() string { return "the clipboard is " + buffer() })

	for name, env := range map[string]string{
		"too much": "CAL_SESSION_CLIPBOARD_MAX=1kB", "not wanted": "CAL_SESSION_CLIPBOARD_WRITE=false",
	} {
		t.Run(name, func(t *testing.T) {
			v := w.open(t, []string{env}, "session", "demo", "--yes", "--agent", w.agent(t))
			v.safe()
			v.prompt()
			text := "refused"
			if name == "too much" {
				text = strings.Repeat("x", 2000)
			}
			copies(v, text)
			// By then a clipboard that were passed on had arrived: what was printed after it is on the screen.
			if got := buffer(); got != "from the guest" {
				t.Errorf("the clipboard is %.40q", got)
			}
		})
	}
}
