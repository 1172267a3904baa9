package desktop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/calmenu/calmenu/internal/hint"
)

// terminals says how each terminal program takes a title, a folder and an argv that no shell reads. In order of
// preference where nothing is configured and the desktop names none. A session tells its state in the window's title: where
// one that is given as an option would stay for good, or is not shown (xfce4-terminal 1.0), it is set as programs set it.
var terminals = []struct {
	name string
	argv func(r TerminalRequest) []string
}{
	// A server of xfce4-terminal that runs already would give the session its own environment, not ours.
	{"xfce4-terminal", func(r TerminalRequest) []string {
		// The person's own settings may say that a title stays, or where a new one is put.
		return append([]string{
			"--disable-server", "--dynamic-title-mode=replace", "--working-directory=" + r.Dir, "-x",
		}, titled(r)...)
	}},
	{"gnome-terminal", func(r TerminalRequest) []string {
		return append([]string{"--title=" + r.Title, "--working-directory=" + r.Dir, "--"}, r.Argv...)
	}},
	{"konsole", func(r TerminalRequest) []string {
		return append([]string{"-p", "tabtitle=%w", "--workdir", r.Dir, "-e"}, titled(r)...)
	}},
	{"kitty", func(r TerminalRequest) []string {
		return append([]string{"--directory=" + r.Dir, "--"}, titled(r)...)
	}},
	{"wezterm", func(r TerminalRequest) []string {
		return append([]string{"start", "--always-new-process", "--cwd", r.Dir, "--"}, titled(r)...)
	}},
	{"ghostty", func(r TerminalRequest) []string {
		return append([]string{"--working-directory=" + r.Dir, "-e"}, titled(r)...)
	}},
	{"alacritty", func(r TerminalRequest) []string {
		return append([]string{"--working-directory", r.Dir, "-e"}, titled(r)...)
	}},
	{"foot", func(r TerminalRequest) []string {
		return append([]string{"--title=" + r.Title, "--working-directory=" + r.Dir, "--"}, r.Argv...)
	}},
	{"xterm", func(r TerminalRequest) []string {
		return append([]string{"-T", r.Title, "-e"}, plain(r.Argv)...)
	}},
}

// titleScript names the window $1 by OSC 2, and becomes the rest of its arguments.
const titleScript = `printf '\033]2;%s\033\\' "$1"; shift; exec "$@"`

// titled is the argv with a first title for the window, which the program may change.
func titled(r TerminalRequest) []string {
	title := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, r.Title)
	return append([]string{"sh", "-c", titleScript, "sh", title}, r.Argv...)
}

// generic is the interface that Debian Policy 11.8.3 asks of an x-terminal-emulator: -T and -e, with the rest as argv.
func generic(r TerminalRequest) []string {
	return append([]string{"-T", r.Title, "-e"}, plain(r.Argv)...)
}

// plain makes argv safe for a terminal that hands a lone argument after -e to a shell: two are always an argv.
func plain(argv []string) []string {
	if len(argv) == 1 {
		return append([]string{"env", "--"}, argv...)
	}
	return argv
}

func (d *linux) Terminal(ctx context.Context, r TerminalRequest) error {
	if len(r.Argv) == 0 {
		return errors.New("opening a terminal: nothing to run in it")
	}
	if r.Dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("opening a terminal: %w", err)
		}
		r.Dir = home
	}
	if d.opts.terminal != "" {
		program, err := exec.LookPath(d.opts.terminal)
		if err != nil {
			return hint.Errorf("Install it, or remove terminal from config.yaml to use the desktop's own.",
				"opening the configured terminal: %w", err)
		}
		return openTerminal(ctx, program, r)
	}
	var failed []error
	for _, program := range installedTerminals(exec.LookPath) {
		err := openTerminal(ctx, program, r)
		if err == nil || ctx.Err() != nil {
			return err
		}
		failed = append(failed, err)
	}
	if len(failed) > 0 {
		return hint.Wrap(errors.Join(failed...), "Choose another terminal in config.yaml, or run CALMenu session in one.")
	}
	return hint.Errorf("Install one: apt install xfce4-terminal", "opening a terminal: no terminal program is installed")
}

// installedTerminals returns the paths of the terminals there are: the administrator's choice first, then those known
// here.
func installedTerminals(lookPath func(string) (string, error)) []string {
	var found []string
	seen := map[string]bool{}
	names := []string{"x-terminal-emulator"}
	for _, t := range terminals {
		names = append(names, t.name)
	}
	for _, name := range names {
		if path, err := lookPath(name); err == nil && !seen[terminalName(path)] {
			seen[terminalName(path)] = true
			found = append(found, path)
		}
	}
	return found
}

// terminalName says which terminal a program is, behind Debian's alternatives and wrappers.
func terminalName(program string) string {
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	return strings.TrimSuffix(filepath.Base(program), ".wrapper")
}

func openTerminal(ctx context.Context, program string, r TerminalRequest) error {
	program, argv := terminalCommand(program, r)
	return launch(ctx, r.Dir, append([]string{program}, argv...)...)
}

// terminalCommand returns the program to start and its arguments. Behind a wrapper of a known terminal it is the
// terminal.
func terminalCommand(program string, r TerminalRequest) (string, []string) {
	name := terminalName(program)
	for _, t := range terminals {
		if t.name != name {
			continue
		}
		if filepath.Base(program) != name {
			if path, err := exec.LookPath(name); err == nil {
				program = path
			} else {
				break
			}
		}
		return program, t.argv(r)
	}
	return program, generic(r)
}
