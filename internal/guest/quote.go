package guest

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// maxLine bounds a command line: Linux refuses a single argument (here: the guest shell's -c) of 128 KiB.
const maxLine = 120 << 10

// Quote writes argv as words of a POSIX shell (sh, dash, bash, zsh), so that the shell gives back exactly argv whatever
// its bytes are. Every word is quoted, also harmless ones, because an unquoted word may be a reserved word, an alias or
// (zsh) a global alias or "=command". A NUL byte cannot be a part of any argument: Cmd refuses it before it comes here.
func Quote(argv []string) string {
	var b strings.Builder
	for i, arg := range argv {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteByte('\'')
		b.WriteString(strings.ReplaceAll(arg, `'`, `'\''`))
		b.WriteByte('\'')
	}
	return b.String()
}

// unquote gives back what Quote wrote, and false for anything else.
func unquote(words string) (argv []string, ok bool) {
	for {
		rest, ok := strings.CutPrefix(words, "'")
		if !ok {
			return nil, false
		}
		var arg strings.Builder
		for {
			part, after, ok := strings.Cut(rest, "'")
			if !ok {
				return nil, false
			}
			arg.WriteString(part)
			if rest, ok = strings.CutPrefix(after, `\''`); !ok {
				words = after
				break
			}
			arg.WriteByte('\'')
		}
		argv = append(argv, arg.String())
		if words == "" {
			return argv, true
		}
		if words, ok = strings.CutPrefix(words, " "); !ok {
			return nil, false
		}
	}
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// line is the command line for the guest's shell: it changes directory if asked, then replaces itself by the program.
func (c Cmd) line() (string, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return "", errors.New("run guest command: no program given")
	}
	program := c.Argv[0]
	if program[0] == '-' || strings.Contains(program, "=") {
		// exec and env would take these for an option or a variable.
		return "", fmt.Errorf("run guest command: %q cannot name a program", program)
	}
	words := []string{"exec"}
	if len(c.Env) > 0 {
		words = append(words, "env")
		for _, name := range slices.Sorted(maps.Keys(c.Env)) {
			if !envName.MatchString(name) {
				return "", fmt.Errorf("run guest command: %q cannot name a variable", name)
			}
			words = append(words, Quote([]string{name + "=" + c.Env[name]}))
		}
	}
	words = append(words, Quote(c.Argv))
	line := strings.Join(words, " ")
	if c.Dir != "" {
		dir := c.Dir
		if dir[0] != '/' {
			// Never looked up in CDPATH, never an option, never "-".
			dir = "./" + dir
		}
		line = "cd " + Quote([]string{dir}) + " && " + line
	}
	if c.Early {
		line = earlyPrefix + line
	}
	if strings.IndexByte(line, 0) >= 0 {
		return "", fmt.Errorf("run guest command %q: an argument contains a NUL byte", program)
	}
	if len(line) > maxLine {
		return "", fmt.Errorf("run guest command %q: its arguments are %d bytes, at most %d are possible",
			program, len(line), maxLine)
	}
	return line, nil
}
