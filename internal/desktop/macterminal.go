package desktop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// macTerminals says how each terminal of macOS is opened on a script, as arguments of open(1). Nothing here sends Apple
// Events, so macOS has no permission to ask for.
var macTerminals = map[string]func(script string) []string{
	"terminal": func(script string) []string { return []string{"-b", "com.apple.Terminal", script} },
	"iterm2":   func(script string) []string { return []string{"-b", "com.googlecode.iterm2", script} },
	"ghostty": func(script string) []string {
		return []string{"-n", "-b", "com.mitchellh.ghostty", "--args", "-e", script}
	},
	"wezterm": func(script string) []string {
		return []string{"-n", "-b", "com.github.wez.wezterm", "--args", "start", "--", script}
	},
	"kitty": func(script string) []string { return []string{"-n", "-b", "net.kovidgoyal.kitty", "--args", script} },
}

// macTerminal returns the arguments of open(1) that open a terminal on a script. name is what the person configured, ""
// is Terminal.app; a name that is not known here is an application that can open scripts.
func macTerminal(name, script string) []string {
	key := strings.ToLower(strings.TrimSuffix(name, ".app"))
	switch key {
	case "":
		key = "terminal"
	case "iterm":
		key = "iterm2"
	}
	if args, known := macTerminals[key]; known {
		return args(script)
	}
	return []string{"-a", name, script}
}

// macScript returns a script (.command) that runs r in the terminal that opened it. It removes itself and its folder at
// once, and hands on those variables of env (NAME=value) that are CALMenu's: an application is started with the
// desktop's environment, not with that of the program that asked for it.
func macScript(r TerminalRequest, env []string) (string, error) {
	if len(r.Argv) == 0 {
		return "", errors.New("opening a terminal: nothing to run in it")
	}
	var b strings.Builder
	b.WriteString("#!/bin/sh\nrm -f -- \"$0\"\nrmdir -- \"${0%/*}\" 2>/dev/null\n")
	var words []string
	quoted := func(s string) string {
		words = append(words, s)
		return shellWord(s)
	}
	if r.Dir != "" {
		fmt.Fprintf(&b, "cd -- %s || exit 1\n", quoted(r.Dir))
	} else {
		b.WriteString("cd\n")
	}
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "CAL_") && isVariableName(name) {
			fmt.Fprintf(&b, "export %s=%s\n", name, quoted(value))
		}
	}
	if title := screenTitle(r.Title); title != "" {
		fmt.Fprintf(&b, "printf '\\033]0;%%s\\007' %s\n", quoted(title))
	}
	b.WriteString("exec")
	for _, arg := range r.Argv {
		b.WriteString(" " + quoted(arg))
	}
	b.WriteString("\n")
	if slices.ContainsFunc(words, func(s string) bool { return strings.ContainsRune(s, 0) }) {
		return "", errors.New("opening a terminal: an argument holds a NUL, which no program can be given")
	}
	return b.String(), nil
}

// shellWord returns s as one word of a POSIX shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func isVariableName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// screenTitle is title without what a terminal would obey.
func screenTitle(title string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(title, "\uFFFD"))
}

// scriptName is the file name of a script for a window called title: terminals show it until the script sets its own.
func scriptName(title string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, title)
	if r := []rune(name); len(r) > 40 {
		name = string(r[:40])
	}
	if name = strings.Trim(name, "-"); name == "" {
		name = "CALMenu"
	}
	return name + ".command"
}

// appleScriptText is text as beeep can hand it to AppleScript: beeep quotes as Go does, whose escapes for unprintable
// characters AppleScript does not know.
func appleScriptText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
