package sessiontest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tmuxConf is the person's terminal: windows stay when their program has ended, so that its last words can be read.
const tmuxConf = `set -g remain-on-exit on
set -g status off
set -g focus-events on
set -s set-clipboard on
set -g default-terminal tmux-256color
set -as terminal-features ',*:clipboard:RGB:title'
set -s escape-time 0
set -g remain-on-exit-format ''
`

func (w *world) socket() string { return filepath.Join(w.dir, "tmux") }

func (w *world) tmux(args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-S", w.socket()}, args...)...)
	cmd.Env = w.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("tmux %q: %w: %s", args, err, out)
	}
	return string(out), nil
}

func (w *world) startTmux() error {
	conf := filepath.Join(w.dir, "tmux.conf")
	if err := os.WriteFile(conf, []byte(tmuxConf), 0o644); err != nil {
		return err
	}
	_, _ = w.tmux("kill-server") // of a run that was cut short; it takes its time
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; ; tries++ {
		_, err := w.tmux("-f", conf, "new-session", "-d", "-s", "idle", "-x", "100", "-y", "30", "cat")
		if err == nil || tries == 100 {
			return err
		}
		<-tick.C
	}
}

// window is a terminal window with one program in it.
type window struct {
	*testing.T
	w    *world
	name string
	code string // file that will hold the program's exit code
}

const (
	columns = 100
	rows    = 30
)

var opened int

// open opens a window of the usual size, with CALMenu in it; env adds to its environment.
func (w *world) open(t *testing.T, env []string, args ...string) *window {
	t.Helper()
	return w.openSized(t, columns, rows, env, args...)
}

func (w *world) openSized(t *testing.T, cols, rows int, env []string, args ...string) *window {
	t.Helper()
	opened++
	win := &window{T: t, w: w, name: "w" + strconv.Itoa(opened)}
	// The exit code by a file: tmux misses the end of a child at times (3.3a), and would never tell.
	win.code = filepath.Join(t.TempDir(), "code")
	command := slices.Concat([]string{
		"env", "-u", "TMUX", "-u", "TMUX_PANE", "CODE=" + win.code, "sh", "-c", `env "$@"; echo $? >"$CODE"`, "sh",
	}, env,
		[]string{filepath.Join(w.dir, "bin", "CALMenu")}, args)
	if _, err := w.tmux(append([]string{
		"new-session", "-d", "-s", win.name, "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows),
	}, command...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the window %s at the end:\n%s", win.name, strings.Join(win.screen(), "\n"))
		}
		win.kill()
	})
	return win
}

// session opens a window with a session of an agent, and waits until its banner is green.
func (w *world) session(t *testing.T, agent string, args ...string) *window {
	t.Helper()
	win := w.open(t, nil, append([]string{"session", "demo", "--yes", "--agent", agent}, args...)...)
	win.safe()
	return win
}

// shell opens a session of a plain shell, and waits for its prompt.
func (w *world) shell(t *testing.T) *window {
	t.Helper()
	win := w.session(t, w.agent(t))
	win.prompt()
	return win
}

func (v *window) tmux(args ...string) string {
	v.Helper()
	out, err := v.w.tmux(args...)
	if err != nil {
		v.Fatal(err)
	}
	return strings.TrimSuffix(out, "\n")
}

// kill closes the window: its program loses its terminal.
func (v *window) kill() { _, _ = v.w.tmux("kill-session", "-t", "="+v.name) }

func (v *window) target() string { return "=" + v.name + ":" }

// keys types keys by tmux's names for them.
func (v *window) keys(names ...string) {
	v.Helper()
	v.tmux(append([]string{"send-keys", "-t", v.target()}, names...)...)
}

// types types text as it is.
func (v *window) types(text string) {
	v.Helper()
	v.tmux("send-keys", "-t", v.target(), "-l", text)
}

func (v *window) line(text string) {
	v.Helper()
	v.types(text)
	v.keys("Enter")
}

// hotkey types the prefix, waits for the bar, and types a key.
func (v *window) hotkey(key string) {
	v.Helper()
	v.keys("C-]")
	v.sees(`\[S\]nap.*\?:Help`)
	v.keys(key)
}

// back closes what shows a pattern. An escape and the key right behind it would be one key, as they are on a terminal.
func (v *window) back(pattern string) {
	v.Helper()
	v.keys("Escape")
	v.clears(pattern)
}

func (v *window) resize(cols, rows int) {
	v.Helper()
	v.tmux("resize-window", "-t", v.target(), "-x", strconv.Itoa(cols), "-y", strconv.Itoa(rows))
}

// screen is what the window shows, without colours and trailing spaces, one string per row.
func (v *window) screen() []string { return v.capture() }

func (v *window) capture(more ...string) []string {
	v.Helper()
	out, err := v.w.tmux(append([]string{"capture-pane", "-p", "-t", v.target()}, more...)...)
	if err != nil {
		return nil // it is closed
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// painted is one row with its colours.
func (v *window) painted(row int) string {
	v.Helper()
	return v.capture("-e")[row]
}

func (v *window) value(format string) string {
	v.Helper()
	return v.tmux("display-message", "-p", "-t", v.target(), format)
}

// until waits until the screen is as done wants it, and returns it.
func (v *window) until(what string, done func(screen []string) bool) (screen []string) {
	v.Helper()
	eventually(v.T, func() bool {
		screen = v.screen()
		return len(screen) > 0 && done(screen)
	}, func() string { return what + " did not come about in:\n" + strings.Join(screen, "\n") })
	return screen
}

// sees waits until a pattern is on the screen, and returns its first match with its groups.
func (v *window) sees(pattern string) []string {
	v.Helper()
	want := regexp.MustCompile("(?m)" + pattern)
	screen := v.until(pattern, func(s []string) bool { return want.MatchString(strings.Join(s, "\n")) })
	return want.FindStringSubmatch(strings.Join(screen, "\n"))
}

// clears waits until a pattern is not on the screen any more.
func (v *window) clears(pattern string) {
	v.Helper()
	want := regexp.MustCompile("(?m)" + pattern)
	v.until("the end of "+pattern, func(s []string) bool { return !want.MatchString(strings.Join(s, "\n")) })
}

const banner = "🔒 CAL ISOLATION ACTIVE │ VM: demo │ Safe Mode"

// silence is what the banner says of a machine that stands still.
const silence = `\A◐ CAL ISOLATION │ VM: demo │ Safe Mode │ not answering (\d+) s$`

var silentBanner = regexp.MustCompile(silence)

// isBanner tells whether a row is the banner of a machine that is well: one that is busy may be late to answer.
func isBanner(row string) bool { return row == banner || silentBanner.MatchString(row) }

// safe waits until the banner says that all is well.
func (v *window) safe() {
	v.Helper()
	v.until("the banner", func(s []string) bool { return s[0] == banner })
}

// prompt waits for the plain shell's prompt in the last line that is not empty.
func (v *window) prompt() {
	v.Helper()
	v.until("a prompt", func(s []string) bool {
		for _, l := range slices.Backward(s) {
			if l != "" {
				return l == "$"
			}
		}
		return false
	})
}

// ends waits for the program's end and returns its exit code.
func (v *window) ends() int {
	v.Helper()
	var code int
	eventually(v.T, func() bool {
		data, _ := os.ReadFile(v.code) // it is not there yet
		_, err := fmt.Sscanf(string(data), "%d\n", &code)
		return err == nil
	}, func() string { return "the program did not end:\n" + strings.Join(v.screen(), "\n") })
	return code
}
