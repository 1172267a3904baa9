package guest

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// shells are those of this machine that a guest's user may have.
func shells(t testing.TB) [][]string {
	var found [][]string
	for _, s := range [][]string{
		{"sh"}, {"dash"}, {"bash"}, {"bash", "--posix"}, {"zsh"}, {"zsh", "-o", "rcquotes"}, {"busybox", "sh"}, {"ksh"},
	} {
		if path, err := exec.LookPath(s[0]); err == nil {
			found = append(found, append([]string{path}, s[1:]...))
		}
	}
	if len(found) == 0 {
		t.Skip("no shell here")
	}
	return found
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{
		"", "a", "a b", "'", "''", `"`, `\`, "\\'", "$x ${x} $(id) `id`", "*?[a]", "~ ~root", "a=b =ls", "if", "-n", "!",
		"!!", "#", "\n", "\r\n", "\t", "\x01\x7f\x81\x88", "é",
		"\xff\xfe", "{a,b}", "^x^y", "&& || ; | > <", "'\\''", "𝕊",
	} {
		f.Add(s, "second")
		f.Add("first", s)
	}
	all := shells(f)
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.IndexByte(a+b, 0) >= 0 {
			if _, err := (Cmd{Argv: []string{"x", a, b}}).line(); err == nil {
				t.Error("NUL was accepted")
			}
			return
		}
		if len(a)+len(b) > 32<<10 {
			return
		}
		want := []byte(a + "\x00" + b + "\x00")
		if back, ok := unquote(Quote([]string{a, b})); !ok || !slices.Equal(back, []string{a, b}) {
			t.Errorf("%q, %q: unquoted as %q, %v", a, b, back, ok)
		}
		if back, ok := unquote(a); ok && Quote(back) != a {
			t.Errorf("%q: unquoted as %q", a, back)
		}
		for _, shell := range all {
			words := Quote([]string{"printf", `%s\0`, a, b})
			out, err := exec.Command(shell[0], append(shell[1:], "-c", "exec "+words)...).CombinedOutput()
			if err != nil || !bytes.Equal(out, want) {
				t.Errorf("%v: %q came back as %q (%v)", shell, want, out, err)
			}
		}
		line, err := Cmd{
			Argv: []string{"sh", "-c", `printf '%s\0%s\0' "$A" "$1"`, "sh", b},
			Env:  map[string]string{"A": a},
		}.line()
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(all[0][0], "-c", line).CombinedOutput()
		if err != nil || !bytes.Equal(out, want) {
			t.Errorf("line %q gave %q (%v)", line, out, err)
		}
	})
}

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		name string
		cmd  Cmd
		want string // "!" and a part of the error
	}{
		{"plain", Cmd{Argv: []string{"ls", "-l"}}, "exec 'ls' '-l'"},
		{
			"all",
			Cmd{Argv: []string{"ls"}, Dir: "-", Env: map[string]string{"B": "2", "A": "it's"}},
			`cd './-' && exec env 'A=it'\''s' 'B=2' 'ls'`,
		},
		{"absolute directory", Cmd{Argv: []string{"ls"}, Dir: "/a b"}, "cd '/a b' && exec 'ls'"},
		{"no program", Cmd{}, "!no program"},
		{"empty program", Cmd{Argv: []string{"", "x"}}, "!no program"},
		{"an option as program", Cmd{Argv: []string{"-c"}}, "!cannot name a program"},
		{"an assignment as program", Cmd{Argv: []string{"A=b"}}, "!cannot name a program"},
		{"a bad variable", Cmd{Argv: []string{"ls"}, Env: map[string]string{"A=B": ""}}, "!cannot name a variable"},
		{"an option as variable", Cmd{Argv: []string{"ls"}, Env: map[string]string{"-i": ""}}, "!cannot name a variable"},
		{"NUL in an argument", Cmd{Argv: []string{"ls", "a\x00b"}}, "!NUL"},
		{"NUL in a value", Cmd{Argv: []string{"ls"}, Env: map[string]string{"A": "\x00"}}, "!NUL"},
		{"NUL in the directory", Cmd{Argv: []string{"ls"}, Dir: "/\x00"}, "!NUL"},
		{"too long", Cmd{Argv: []string{"ls", strings.Repeat("x", maxLine)}}, "!at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.cmd.line()
			if part, wantErr := strings.CutPrefix(tt.want, "!"); wantErr {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, %v", got, err)
				}
			} else if err != nil || got != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}
