//go:build linux

package desktop

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/hint"
)

// script puts an executable shell script into a folder that is all of PATH but the system's own programs.
func script(t *testing.T, name, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func env(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

// wait reads a file as soon as a program has written a whole line to it.
func wait(t *testing.T, path string) string {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if data, err := os.ReadFile(path); err == nil && strings.HasSuffix(string(data), "\n") {
			return string(data)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("nothing was written to %s", path)
		}
	}
}

func TestDetectSaysWhyThereIsNoDesktop(t *testing.T) {
	for want, vars := range map[string]map[string]string{
		"no display":           {},
		"no D-Bus session bus": {"DISPLAY": ":0"},
		"connecting to the D-Bus session": {
			"WAYLAND_DISPLAY": "wayland-0", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent",
		},
	} {
		if d, why := Detect(env(vars)); d != nil || !strings.Contains(why, want) {
			t.Errorf("Detect(%v) = %v, %q, want %q", vars, d, why, want)
		}
	}
}

func TestName(t *testing.T) {
	for want, vars := range map[string]map[string]string{
		"XFCE on X11":             {"XDG_CURRENT_DESKTOP": "XFCE"},
		"ubuntu GNOME on Wayland": {"XDG_CURRENT_DESKTOP": "ubuntu:GNOME", "WAYLAND_DISPLAY": "wayland-0"},
		"desktop on X11":          {},
	} {
		if got := describe(env(vars)); got != want {
			t.Errorf("describe = %q, want %q", got, want)
		}
	}
}

func TestTerminalCommands(t *testing.T) {
	r := TerminalRequest{Title: "CALMenu: demo", Dir: "/home/p", Argv: []string{"/bin/CALMenu", "session", "de mo;$x"}}
	const named = " sh -c " + titleScript + " sh CALMenu: demo"
	for name, want := range map[string]string{
		"xfce4-terminal":      "--disable-server --dynamic-title-mode=replace --working-directory=/home/p -x" + named,
		"gnome-terminal":      "--title=CALMenu: demo --working-directory=/home/p --",
		"konsole":             "-p tabtitle=%w --workdir /home/p -e" + named,
		"kitty":               "--directory=/home/p --" + named,
		"wezterm":             "start --always-new-process --cwd /home/p --" + named,
		"ghostty":             "--working-directory=/home/p -e" + named,
		"alacritty":           "--working-directory /home/p -e" + named,
		"foot":                "--title=CALMenu: demo --working-directory=/home/p --",
		"xterm":               "-T CALMenu: demo -e",
		"x-terminal-emulator": "-T CALMenu: demo -e",
	} {
		program, argv := terminalCommand("/nonexistent/"+name, r)
		if program != "/nonexistent/"+name {
			t.Errorf("%s: starts %s", name, program)
		}
		if n := len(argv) - len(r.Argv); n < 0 || !slices.Equal(argv[n:], r.Argv) || strings.Join(argv[:n], " ") != want {
			t.Errorf("%s: %q, want %q and the argv as it is", name, argv, want)
		}
	}
	_, argv := terminalCommand("xterm", TerminalRequest{Argv: []string{"a b"}})
	if want := []string{"-T", "", "-e", "env", "--", "a b"}; !slices.Equal(argv, want) {
		t.Errorf("a lone argument: %q, want %q: xterm hands one to a shell", argv, want)
	}
}

// What sets the first title hands everything on as it is, and lets nothing but a title reach the terminal.
func TestTitled(t *testing.T) {
	argv := titled(TerminalRequest{Title: "a %s\x1b\\$x", Argv: []string{"printf", "<%s>", "de mo;$x", ""}})
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if want := "\x1b]2;a %s\\$x\x1b\\<de mo;$x><>"; string(out) != want || err != nil {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

func TestTerminalBehindDebiansAlternatives(t *testing.T) {
	dir := script(t, "xfce4-terminal", "")
	for link, to := range map[string]string{"x-terminal-emulator": "xfce4-terminal.wrapper"} {
		if err := os.WriteFile(filepath.Join(dir, to), nil, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(dir, to), filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	program, argv := terminalCommand(filepath.Join(dir, "x-terminal-emulator"), TerminalRequest{Argv: []string{"a"}})
	if program != filepath.Join(dir, "xfce4-terminal") || argv[0] != "--disable-server" {
		t.Errorf("x-terminal-emulator -> wrapper: %s %q, want the terminal itself", program, argv)
	}
	look := func(name string) (string, error) {
		path := filepath.Join(dir, name)
		_, err := os.Stat(path)
		return path, err
	}
	if got := installedTerminals(look); len(got) != 1 {
		t.Errorf("installed %q, want one, found under two names", got)
	}
}

func TestTerminalStartsAndFails(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("OUT", out)
	script(t, "good", `printf '%s|' "$PWD" "$@" >"$OUT"; echo >>"$OUT"`)
	d := newLinux(os.Getenv, WithTerminal("good"))
	defer d.Close()
	dir := t.TempDir()
	if err := d.Terminal(t.Context(), TerminalRequest{Title: "T", Dir: dir, Argv: []string{"a", "b c"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := wait(t, out), dir+"|-T|T|-e|a|b c|\n"; got != want {
		t.Errorf("the terminal got %q, want %q", got, want)
	}

	script(t, "bad", `echo "cannot open display" >&2; exit 3`)
	bad := newLinux(os.Getenv, WithTerminal("bad"))
	defer bad.Close()
	err := bad.Terminal(t.Context(), TerminalRequest{Argv: []string{"a", "b"}})
	if err == nil || !strings.Contains(err.Error(), "cannot open display") {
		t.Errorf("a terminal that fails: %v", err)
	}
	absent := newLinux(os.Getenv, WithTerminal("no-such-terminal"))
	defer absent.Close()
	if err := absent.Terminal(t.Context(), TerminalRequest{Argv: []string{"a"}}); hint.Of(err) == "" {
		t.Errorf("a terminal that is not installed: %v, without a hint", err)
	}
	if err := d.Terminal(t.Context(), TerminalRequest{}); err == nil {
		t.Error("an empty argv opened a terminal")
	}
}

func TestZenity(t *testing.T) {
	confirm := Question{
		Kind: Confirm, Title: "T\nx", Text: "--text <b>", Cancel: "No",
		Buttons: []string{"Roll_back", "Keep"},
	}
	list := Question{Kind: List, Text: "a & b", Choices: []string{"x\ny", "<z>"}}
	for _, c := range []struct {
		q     Question
		args  string
		input string
	}{
		{Question{Kind: Info, Text: "x"}, "--title= --width=420 --info --no-markup --text=x", ""},
		{Question{Kind: Warn, Text: "x"}, "--title= --width=420 --warning --no-markup --text=x", ""},
		{confirm, "--title=T x --width=420 --question --no-markup --text=--text <b> --ok-label=Roll__back " +
			"--cancel-label=No --extra-button=Keep", ""},
		{
			Question{Kind: Entry, Text: "a_b", Initial: "i_j"},
			"--title= --width=420 --entry --text=a__b --entry-text=i_j --cancel-label=Cancel", "",
		},
		{Question{Kind: Password, Text: "p"}, "--title= --width=420 --entry --hide-text --text=p --cancel-label=Cancel", ""},
		{list, "--title= --width=420 --list --hide-header --column=index --column=choice --hide-column=1 " +
			"--print-column=1 --height=360 --text=a &amp; b --cancel-label=Cancel", "0\nx y\n1\n<z>\n"},
	} {
		args, input, err := zenity(c.q)
		if err != nil || strings.Join(args, " ") != c.args || input != c.input {
			t.Errorf("zenity(%+v) =\n%s\n%q %v, want\n%s\n%q", c.q, strings.Join(args, " "), input, err, c.args, c.input)
		}
	}
	for _, bad := range []Question{
		{Kind: Confirm},
		{Kind: Confirm, Buttons: []string{"a", "a"}},
		{Kind: 99},
		{Kind: Confirm, Buttons: []string{"Cancel"}},
	} {
		if _, _, err := zenity(bad); err == nil {
			t.Errorf("zenity(%+v) is no error", bad)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	confirm := Question{Kind: Confirm, Buttons: []string{"Yes", "Keep_it"}}
	list := Question{Kind: List, Choices: []string{"a", "b"}}
	for _, c := range []struct {
		q       Question
		code    int
		printed string
		want    Answer
	}{
		{confirm, 0, "", Answer{}},
		{confirm, 1, "", Answer{Cancelled: true}},
		{confirm, 1, "Keep__it\n", Answer{Button: 1}},
		{Question{Kind: Entry}, 0, " a|b \n", Answer{Text: " a|b "}},
		{Question{Kind: Password}, 1, "", Answer{Cancelled: true}},
		{list, 0, "1\n", Answer{Choice: 1}},
		{list, 0, "1|1\n", Answer{Choice: 1}},
		{list, 0, "", Answer{Cancelled: true}},
		{list, 1, "", Answer{Cancelled: true}},
		{Question{Kind: Info}, 0, "", Answer{}},
	} {
		got, err := parseAnswer(c.q, c.code, c.printed)
		if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("parseAnswer(%+v, %d, %q): %v\n%s", c.q, c.code, c.printed, err, d)
		}
	}
	if _, err := parseAnswer(list, 0, "7\n"); err == nil {
		t.Error("a row that is not there was chosen")
	}
}

// TestDialogsQueue: a lock folder in the stand-in for zenity shows that two were never open at once.
func TestDialogsQueue(t *testing.T) {
	script(t, "zenity", `mkdir "$LOCK" || exit 9; echo answer; rmdir "$LOCK"`)
	t.Setenv("LOCK", filepath.Join(t.TempDir(), "open"))
	d := newLinux(os.Getenv)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if a, err := d.Ask(t.Context(), Question{Kind: Entry}); err != nil || a.Text != "answer" {
				t.Errorf("Ask = %+v, %v", a, err)
			}
		})
	}
	all.Wait()
	script(t, "zenity", "exec sleep 60")
	closed := make(chan error)
	go func() {
		_, err := d.Ask(t.Context(), Question{Kind: Info})
		closed <- err
	}()
	d.Close()
	if err := <-closed; !errors.Is(err, ErrClosed) {
		t.Errorf("Ask at Close = %v", err)
	}
}

func TestCopyText(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("OUT", out)
	script(t, "xclip", `cat >"$OUT"; sleep 5 &`) // stays behind, as the real one does
	d := newLinux(env(nil))
	defer d.Close()
	if err := d.CopyText(t.Context(), "ü\n"); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, out); got != "ü\n" {
		t.Errorf("copied %q", got)
	}
	t.Setenv("PATH", t.TempDir())
	if err := d.CopyText(t.Context(), "x"); hint.Of(err) == "" {
		t.Errorf("without a clipboard program: %v, without a hint", err)
	}
}

func TestOpenRefusesWhatIsNeitherFileNorPage(t *testing.T) {
	for _, s := range []string{"file:///etc/passwd", "relative", "-x", "javascript:1", "https://", "/nonexistent"} {
		if got, err := openable(s); err == nil {
			t.Errorf("openable(%q) = %q", s, got)
		}
	}
	for _, s := range []string{"https://example.org/pull/1", t.TempDir()} {
		if got, err := openable(s); err != nil || got != s {
			t.Errorf("openable(%q) = %q, %v", s, got, err)
		}
	}
}

func TestRevealFallsBackToTheFolder(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("OUT", out)
	script(t, "xdg-open", `echo "$@" >"$OUT"`)
	d := newLinux(env(nil))
	defer d.Close()
	file := filepath.Join(t.TempDir(), "a b")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Reveal(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if got, want := wait(t, out), filepath.Dir(file)+"\n"; got != want {
		t.Errorf("opened %q, want %q", got, want)
	}
	if err := d.Reveal(t.Context(), file+"x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("revealing nothing: %v", err)
	}
}

// TestNothingOpens: a desktop without a file manager says so, and not what xdg-open tried.
func TestNothingOpens(t *testing.T) {
	script(t, "xdg-open", "echo x-www-browser: not found >&2; exit 3")
	d := newLinux(env(nil))
	defer d.Close()
	dir := t.TempDir()
	err := d.Open(t.Context(), dir)
	if err == nil || err.Error() != "opening "+dir+": this desktop has no program for it" || hint.Of(err) == "" {
		t.Errorf("Open = %v (hint %q)", err, hint.Of(err))
	}
}

func TestLaunchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the person left")
	cancel(why)
	if err := launch(ctx, "", "sleep", "60"); !errors.Is(err, why) {
		t.Errorf("launch = %v", err)
	}
	if err := launch(t.Context(), "", "/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("launch of nothing = %v", err)
	}
}
