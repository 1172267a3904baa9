package sessiontest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/session/topline"
)

// The names this program has when it runs another one below a banner, and without.
const (
	belowBanner = "below-banner"
	noBanner    = "no-banner"
)

// vtCols and vtRows are the size vttest draws for.
const vtCols, vtRows = 80, 24

// withoutColumns is output without the switch between 80 and 132 columns, which the filter drops on purpose: in the
// person's window it would do nothing but clear the screen.
type withoutColumns struct{ rest []byte }

func (w *withoutColumns) output(dst, src []byte) []byte {
	dst = append(append(dst, w.rest...), src...)
	w.rest = nil
	for _, mode := range []string{"\x1b[?3h", "\x1b[?3l"} {
		dst = bytes.ReplaceAll(dst, []byte(mode), nil)
	}
	const head = "\x1b[?3"
	for n := len(head); n > 0; n-- {
		if bytes.HasSuffix(dst, []byte(head[:n])) {
			w.rest = []byte(head[:n])
			return dst[:len(dst)-n]
		}
	}
	return dst
}

// runBelow runs a program on the terminal this process has: below a banner of the filter, or without both.
func runBelow(banner bool, argv []string) error {
	var mu sync.Mutex // of the filter
	f := topline.New(topline.Options{Rows: vtRows + 1, Cols: vtCols, Banner: true})
	input, output := f.Input, f.Output
	begin := append(f.Start(), f.SetBanner("the banner")...)
	if !banner {
		input, output, begin = func(dst, src []byte) []byte { return append(dst, src...) }, new(withoutColumns).output, nil
	}
	old, err := term.MakeRaw(0)
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(0, old) }()
	if _, err := os.Stdout.Write(begin); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGWINCH)
	cmd := exec.Command(argv[0], argv[1:]...)
	child, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: vtRows, Cols: vtCols})
	if err != nil {
		return err
	}
	pass := func(to io.Writer, from io.Reader, through func(dst, src []byte) []byte) {
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			mu.Lock()
			out := through(nil, buf[:n])
			mu.Unlock()
			if _, werr := to.Write(out); err != nil || werr != nil {
				return
			}
		}
	}
	go pass(child, os.Stdin, input)
	pass(os.Stdout, child, output)
	return cmd.Wait()
}

// differsOnPurpose are the screens of vttest that are not the same, by a piece of their text: where the filter knows better than tmux.
var differsOnPurpose = map[string]string{
	"Origin mode test. This line should be at the bottom of the screen.": "in origin mode tmux goes to the screen's " +
		"first row when the region is set; below the banner the cursor goes to the region's, as on a VT100",
}

// TestVTTest: below the banner each screen of vttest looks as it does without one, in every cell and its colour.
func TestVTTest(t *testing.T) {
	if os.Getenv("CAL_TEST_LONG") == "" {
		t.Skip("set CAL_TEST_LONG=1: this takes some 15 s, though no machine")
	}
	program, err := exec.LookPath("vttest")
	if err != nil {
		t.Skip("vttest is not installed")
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{belowBanner, noBanner} {
		if err := os.Symlink(own, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{dir: dir, env: append(os.Environ(), "LANG=C.UTF-8")}
	if err := w.startTmux(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = w.tmux("kill-server") })
	start := func(name string, rows int, argv ...string) *window {
		v := &window{T: t, w: w, name: name}
		v.tmux(append([]string{
			"new-session", "-d", "-s", name, "-x", fmt.Sprint(vtCols), "-y", fmt.Sprint(rows), "env", "-C", dir,
		}, argv...)...)
		return v
	}
	for _, menu := range []struct {
		name string
		keys []string // to it
	}{
		{"cursor movements", []string{"1"}},
		{"screen features", []string{"2"}},
		{"insert and delete", []string{"8"}},
	} {
		t.Run(menu.name, func(t *testing.T) {
			plain := start("plain"+menu.keys[0], vtRows, filepath.Join(dir, noBanner), program)
			below := start("below"+menu.keys[0], vtRows+1, filepath.Join(dir, belowBanner), program)
			plain.T, below.T = t, t
			both := []*window{plain, below}
			for _, v := range both {
				v.sees(`Enter choice number`)
			}
			want := settle(t, plain, nil)
			for _, k := range menu.keys {
				for _, v := range both {
					v.types(k)
				}
			}
			want = settle(t, plain, want)
			screens, same := 0, 0
			for {
				for _, v := range both {
					v.keys("Enter")
				}
				want = settle(t, plain, want)
				if strings.Contains(strings.Join(want, "\n"), "Enter choice number") {
					break
				}
				screens++
				got := settleAs(below, want)
				switch title := firstText(want); {
				case slices.Equal(got[1:], want) && got[0] == "the banner":
					same++
				case differsOnPurpose[title] != "":
					t.Logf("%q differs: %s", title, differsOnPurpose[title])
				default:
					t.Errorf("screen %d, %q:\n%s\nwithout the banner:\n%s", screens, title,
						strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				if screens > 60 {
					t.Fatal("the menu does not come back")
				}
			}
			t.Logf("%d of %d screens are the same, cell for cell", same, screens)
		})
	}
}

// firstText is what a screen is called by: its first line that says something.
func firstText(screen []string) string {
	for _, l := range screen {
		if l = strings.TrimSpace(l); strings.Contains(l, " ") {
			return l
		}
	}
	return ""
}

// settle waits until a screen stands still, and is another than before.
func settle(t *testing.T, v *window, before []string) []string {
	t.Helper()
	var last []string
	still := 0
	eventually(t, func() bool {
		now := v.capture("-e")
		if slices.Equal(now, last) && !slices.Equal(now, before) {
			still++
		} else {
			still = 0
		}
		last = now
		return still >= 8
	}, func() string { return "the screen goes on changing:\n" + strings.Join(last, "\n") })
	return last
}

// settleAs waits until a screen below the banner is as wanted, or stands still for long.
func settleAs(v *window, want []string) (got []string) {
	v.Helper()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if got = v.capture("-e"); len(got) > 0 && slices.Equal(got[1:], want) {
			return got
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return got
		}
	}
}
