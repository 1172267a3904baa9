package desktop

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMacTerminal(t *testing.T) {
	const script = "/tmp/x/demo.command"
	for _, tt := range []struct {
		configured string
		want       string
	}{
		{"", "-b com.apple.Terminal /tmp/x/demo.command"},
		{"Terminal", "-b com.apple.Terminal /tmp/x/demo.command"},
		{"iTerm", "-b com.googlecode.iterm2 /tmp/x/demo.command"},
		{"iTerm2.app", "-b com.googlecode.iterm2 /tmp/x/demo.command"},
		{"ghostty", "-n -b com.mitchellh.ghostty --args -e /tmp/x/demo.command"},
		{"WezTerm", "-n -b com.github.wez.wezterm --args start -- /tmp/x/demo.command"},
		{"kitty", "-n -b net.kovidgoyal.kitty --args /tmp/x/demo.command"},
		{"Warp", "-a Warp /tmp/x/demo.command"},
	} {
		if got := strings.Join(macTerminal(tt.configured, script), " "); got != tt.want {
			t.Errorf("terminal %q: open %s, want open %s", tt.configured, got, tt.want)
		}
	}
}

// runScript runs r as a terminal would and returns what it prints.
func runScript(t *testing.T, r TerminalRequest, env ...string) string {
	t.Helper()
	script, err := macScript(r, env)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "script")
	path := filepath.Join(dir, scriptName(r.Title))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", path)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\nscript:\n%s", err, out, script)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the script left its folder behind (%v)", err)
	}
	return string(out)
}

func TestMacScriptHandsArgumentsOnUntouched(t *testing.T) {
	args := []string{"a b", "it's", "$HOME", "`id`", `"`, "\\", "-n", "", "*", "two\nlines", "ümläut"}
	got := runScript(t, TerminalRequest{Argv: append([]string{"printf", "%s|"}, args...)})
	if want := strings.Join(args, "|") + "|"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestMacScript(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		r    TerminalRequest
		env  []string
		want string
	}{
		{"title", TerminalRequest{Title: "demo", Argv: []string{"printf", "x"}}, nil, "\x1b]0;demo\ax"},
		{
			"a title cannot talk to the terminal",
			TerminalRequest{Title: "a\x1b]52;c;eA==\a'b", Argv: []string{"printf", "x"}},
			nil,
			"\x1b]0;a]52;c;eA=='b\ax",
		},
		{"folder", TerminalRequest{Dir: dir, Argv: []string{"pwd"}}, nil, dir + "\n"},
		{
			"only variables of CALMenu",
			TerminalRequest{Argv: []string{"sh", "-c", `printf '%s' "$CAL_HOME$SECRET"`}},
			[]string{"CAL_HOME=/x y", "SECRET=s", "CAL_$(id)=1"},
			"/x y",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := runScript(t, tt.r, tt.env...); got != tt.want {
				t.Errorf("printed %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMacScriptRefuses(t *testing.T) {
	for _, r := range []TerminalRequest{{}, {Argv: []string{"a\x00b"}}, {Argv: []string{"a"}, Dir: "\x00"}} {
		if script, err := macScript(r, nil); err == nil {
			t.Errorf("%q became a script:\n%s", r, script)
		}
	}
}

// One word goes in and the same one comes out of a shell that prints it, for whatever bytes an argument can have.
func FuzzShellWord(f *testing.F) {
	for _, s := range []string{"", "a", "'", "''", "$(id)", "\\", "a'b'c", "\n", "\xff", "!!", "-e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			t.Skip("no argument can hold a NUL")
		}
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf '%s' "+shellWord(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q came back as %q (%v)", s, out, err)
		}
	})
}

func TestScriptName(t *testing.T) {
	for title, want := range map[string]string{
		"":                      "CALMenu.command",
		"demo":                  "demo.command",
		"../../etc/passwd":      "etc-passwd.command",
		"CAL: demo · claude":    "CAL--demo---claude.command",
		strings.Repeat("x", 90): strings.Repeat("x", 40) + ".command",
	} {
		if got := scriptName(title); got != want {
			t.Errorf("scriptName(%q) = %q, want %q", title, got, want)
		}
	}
}

func TestAppleScriptText(t *testing.T) {
	got := appleScriptText("a\u00a0b\tc\x1b\u200b\xffd\"e")
	if want := "a b c\uFFFDd\"e"; got != want {
		t.Errorf("appleScriptText = %q, want %q", got, want)
	}
	if slices.Contains([]byte(cText("a\x00b\xff")), 0) {
		t.Error("cText kept a NUL")
	}
}
