package clitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a condition may take to come about. A guest under emulation needs seconds for what the double
// does at once; nothing is measured here.
const patience = 2 * time.Minute

// exits runs a command and wants this exit code: exits CODE PROGRAM [ARG...]
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts, ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func exitCode(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Fatalf("%v", err)
	return -1
}

// until runs a command again and again until its output matches: until REGEXP PROGRAM [ARG...]
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM [ARG...]")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ts.Exec(args[1], args[2:]...) == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("%q did not come about", args[0])
		}
	}
}

// lookInJSON looks into the JSON the last command printed: [!] json PATH [REGEXP]. The path's steps are keys and
// indices, apart by points; length is a list's length. Without an expression the value has to be there. `-file NAME`
// before the path looks into a file, or stderr.
func lookInJSON(ts *testscript.TestScript, neg bool, args []string) {
	file := "stdout"
	if len(args) > 2 && args[0] == "-file" {
		file, args = args[1], args[2:]
	}
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: [!] json [-file NAME] PATH [REGEXP]")
	}
	var doc any
	if err := json.Unmarshal([]byte(ts.ReadFile(file)), &doc); err != nil {
		ts.Fatalf("%s is no JSON document: %v", file, err)
	}
	got, there := walk(doc, strings.Split(args[0], "."))
	matches := there
	if there && len(args) == 2 {
		want, err := regexp.Compile(args[1])
		ts.Check(err)
		matches = want.MatchString(got)
	}
	if matches == neg {
		ts.Fatalf("%s is %q (there: %v), wanted %q (negated: %v)", args[0], got, there, args[1:], neg)
	}
}

// walk follows a path into a document and returns what it finds as text.
func walk(doc any, path []string) (string, bool) {
	for _, step := range path {
		switch x := doc.(type) {
		case map[string]any:
			next, ok := x[step]
			if !ok {
				return "", false
			}
			doc = next
		case []any:
			if step == "length" {
				doc = len(x)
				continue
			}
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(x) {
				return "", false
			}
			doc = x[i]
		default:
			return "", false
		}
	}
	if s, ok := doc.(string); ok {
		return s, true
	}
	text, err := json.Marshal(doc)
	return string(text), err == nil
}

// terminalKey is where a script keeps the terminal it has open.
type terminalKey struct{}

// tty works a terminal as a person does:
//
//	tty open PROGRAM [ARG...]   opens one on a program
//	tty sees REGEXP             waits until this appears, after what was seen already
//	tty awaits DURATION REGEXP  the same, for as long as that
//	tty types TEXT              types TEXT, in which \r is Enter and \x03 Ctrl-C
//	tty size COLUMNS ROWS       changes its size
//	tty close                   closes the window; the program must end
//	tty ends CODE               waits for the program's end
func tty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: tty open|sees|awaits|types|size|close|ends ...")
	}
	if args[0] == "open" && len(args) > 1 {
		t, err := openTerminal(ts, args[1:])
		ts.Check(err)
		open := ts.Value(terminalKey{}).(*openTerminals)
		open.t = t
		return
	}
	t := ts.Value(terminalKey{}).(*openTerminals).t
	if t == nil {
		ts.Fatalf("no terminal is open")
	}
	switch {
	case args[0] == "sees" && len(args) == 2:
		want, err := regexp.Compile("(?m)" + args[1])
		ts.Check(err)
		ts.Check(t.sees(want, patience))
	case args[0] == "awaits" && len(args) == 3: // what takes longer than others
		wait, err := time.ParseDuration(args[1])
		ts.Check(err)
		want, err := regexp.Compile("(?m)" + args[2])
		ts.Check(err)
		ts.Check(t.sees(want, wait))
	case args[0] == "types" && len(args) == 2:
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[1], `"`, `\"`) + `"`)
		ts.Check(err)
		ts.Check(t.types(text))
	case args[0] == "size" && len(args) == 3:
		ts.Check(t.resize(args[1], args[2]))
	case args[0] == "close" && len(args) == 1:
		ts.Check(t.close())
	case args[0] == "ends" && len(args) == 2:
		code, err := t.ends()
		ts.Logf("[terminal]\n%s", t.transcript())
		ts.Check(err)
		if fmt.Sprint(code) != args[1] {
			ts.Fatalf("exit code %d, want %s", code, args[1])
		}
	default:
		ts.Fatalf("tty %q: see its documentation", args)
	}
}
