package sessiontest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

func (w *world) snapshots(t *testing.T) (names []string) {
	t.Helper()
	var list []struct{ Name string }
	if err := json.Unmarshal([]byte(w.must(t, "snapshot", "list", "demo", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		names = append(names, s.Name)
	}
	return names
}

// TestKeys: the keys that only look, and the prefix itself.
func TestKeys(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	v.line("echo stays-$((40+2))")
	v.sees(`^stays-42$`)
	v.prompt()
	before := v.screen()
	same := func(after string) {
		t.Helper()
		v.until("the agent's screen after "+after, func(s []string) bool { return slices.Equal(s, before) })
	}
	v.hotkey("Escape")
	same("Esc")
	v.hotkey("?")
	v.sees(`Ctrl-\] twice sends Ctrl-\] to the agent`)
	v.types("x")
	same("help")
	v.hotkey("z")
	v.sees(`'z' is no key of CALMenu\. Ctrl-\] \? shows them`)
	v.keys("Escape")
	same("a key that is none")
	v.hotkey("q")
	v.sees(`\[K\]eep the agent running │ \[S\]top the VM │ Esc:Back`)
	v.keys("Escape")
	same("Q and Esc")

	// Doubled, it is the agent's, and so is everything else that is typed.
	v.line("echo cooked-$((40+2)); cat -v")
	v.sees(`^cooked-42$`)
	v.keys("C-]", "C-]")
	v.types("a")
	v.keys("C-]", "C-]")
	v.line("b")
	v.sees(`^\^\]a\^\]b$`)
	v.keys("C-d")
	v.prompt()
	v.line("stty raw -echo; echo raw-$((40+2)); dd bs=1 count=4 2>/dev/null | od -An -tx1; stty sane")
	v.sees(`raw-42`)
	v.keys("C-]", "C-]", "C-a", "C-c", "C-b")
	v.sees(`1d 01 03 02`)
}

// TestSnapshotKey: S takes a snapshot, by a name or without.
func TestSnapshotKey(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	v.hotkey("s")
	v.sees(`Name of the snapshot`)
	v.line("by hand")
	v.sees(`✓ Snapshot "by hand" taken`)
	v.back(`✓`)
	v.hotkey("S")
	v.sees(`Name of the snapshot`)
	v.keys("Enter")
	name := v.sees(`✓ Snapshot "(.+)" taken`)[1]
	v.back(`✓`)
	v.prompt()
	v.line("echo on-$((40+2))")
	v.sees(`^on-42$`)
	if got := w.snapshots(t); !slices.Contains(got, "by hand") || !slices.Contains(got, name) {
		t.Errorf("snapshots %q", got)
	}
	for _, n := range []string{"by hand", name} {
		w.must(t, "snapshot", "delete", "demo", n)
	}
}

// TestAgentKey: A goes to another agent and back; both go on.
func TestAgentKey(t *testing.T) {
	w := theWorld(t)
	other := w.agent(t, "/bin/sh", "-c", "echo other-$((40+2)); exec cat")
	v := w.shell(t)
	v.line("echo first-$((40+2))")
	v.sees(`^first-42$`)
	to := func(id string) {
		t.Helper()
		v.hotkey("a")
		v.sees(`▸ 1 `)
		n, err := strconv.Atoi(v.sees(`(\d+)  Agent ` + id + `(,|$)`)[1])
		if err != nil {
			t.Fatal(err)
		}
		v.keys(slices.Repeat([]string{"Down"}, n-1)...)
		v.sees(fmt.Sprintf(`▸ %d  Agent %s(,|$)`, n, id))
		v.keys("Enter")
	}
	to(other)
	v.sees(`^other-42$`)
	v.safe()
	v.line("echoed")
	v.sees(`^echoed\nechoed$`)
	to("agentkey")
	v.sees(`^first-42$`)
	v.safe()
	v.line("echo again-$((40+2))")
	v.sees(`^again-42$`)
	to(other)
	v.sees(`^echoed\nechoed$`)
	v.keys("C-c")
	if code := v.ends(); code != 130 {
		t.Errorf("exit code %d", code)
	}
}

// TestQuitKeep: Q and K leave the agent at work.
func TestQuitKeep(t *testing.T) {
	w := theWorld(t)
	v := w.shell(t)
	v.line("mark=still-here; echo pid-$$.")
	pid := v.sees(`^pid-(\d+)\.$`)[1]
	v.hotkey("q")
	v.sees(`\[K\]eep`)
	v.keys("k")
	if code := v.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	v.sees(`^Detached\. The agent goes on in the VM; the same command attaches again\.$`)
	if got := w.guest(t, "cat /proc/"+pid+"/comm"); got != "bash" {
		t.Errorf("the agent is %q", got)
	}
	again := w.session(t, "quitkeep")
	again.line("echo $mark-$$")
	again.sees(`^still-here-` + pid + `$`)
}

// receiver reads one bracketed paste and a line in raw mode, and tells the size and hash of the one, and the other.
const receiver = `import hashlib, os, sys
os.system("stty raw -echo")
sys.stdout.write("\033[?2004hready\r\n")
sys.stdout.flush()
got = b""
while b"\033[201~" not in got[-70000:] or not got.endswith(b"\r"):
    got += os.read(0, 65536)
os.system("stty sane")
pasted, _, rest = got.partition(b"\033[201~")
print("begins", pasted[:6] == b"\033[200~", len(pasted) - 6, hashlib.sha256(pasted[6:]).hexdigest()[:16], flush=True)
print("then", rest, flush=True)
sys.stdin.readline()`

// TestPaste: a megabyte comes through whole, and what is typed behind it too.
func TestPaste(t *testing.T) {
	w := theWorld(t)
	w.guestFile(t, "receiver.py", receiver)
	v := w.session(t, w.agent(t, "/usr/bin/python3", "/home/admin/receiver.py"))
	v.sees(`^ready$`)
	random := make([]byte, 3<<18)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(random)
	text := []byte(base64.StdEncoding.EncodeToString(random))
	for i := 70; i < len(text); i += 71 {
		text[i] = '\n'
	}
	file := filepath.Join(t.TempDir(), "paste")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	v.tmux("load-buffer", "-b", "big", file)
	v.tmux("paste-buffer", "-p", "-r", "-d", "-b", "big", "-t", v.target())
	v.line("typed behind it")
	v.sees(fmt.Sprintf(`^begins True %d %.8x$`, len(text), sha256.Sum256(text)))
	t.Logf("%d bytes in %.1f s", len(text), time.Since(begun).Seconds())
	v.sees(`^then b'typed behind it\\r'$`)
}
