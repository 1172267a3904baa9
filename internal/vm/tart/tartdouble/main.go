// Tartdouble plays the tart program (Tart 2.32) for tests on any Unix: its files, locks, signals, texts and exit codes,
// with a sandbox of internal/vm/vmtest as the guest. "Row N" in its comments is a row of the Tart contract.
//
// What must hold: locks are real fcntl and flock locks, a running machine is a process that holds one, and where the
// real program is careless (a clone replaces, a stop is a power cut) so is this one. TART_HOME/double.json scripts the
// guests, and the environment's TART_DOUBLE_SCALE stretches or shrinks every wait.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// failure ends the program with a code and what goes to standard error.
type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

// failA is tart's own RuntimeError: no prefix.
func failA(code int, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// failC is any other error.
func failC(format string, args ...any) error {
	return &failure{1, "Error: " + fmt.Sprintf(format, args...)}
}

// failUsage is an error of arguments; command "" shows the root's usage, as errors found while running do.
func failUsage(command, format string, args ...any) error {
	text := "Error: " + fmt.Sprintf(format, args...) + "\n"
	if command == "" {
		text += "Usage: tart <subcommand>\n  See 'tart --help' for more information."
	} else {
		text += fmt.Sprintf("Usage: tart %s\n  See 'tart %s --help' for more information.", command, command)
	}
	return &failure{64, text}
}

func noSuchVM(name string) error { return failA(2, `the specified VM "%s" does not exist`, name) }

type command struct {
	syntax  syntax
	run     func(ctx context.Context, h *home, a *arguments) error
	keepTmp bool // does not collect garbage first
}

var commands = map[string]command{
	"clone": {syntax: cloneSyntax, run: clone, keepTmp: true}, "create": {syntax: createSyntax, run: create},
	"delete": {syntax: deleteSyntax, run: remove}, "exec": {syntax: execSyntax, run: execute},
	"get": {syntax: getSyntax, run: get}, "ip": {syntax: ipSyntax, run: ip}, "list": {syntax: listSyntax, run: list},
	"prune": {syntax: pruneSyntax, run: prune}, "pull": {syntax: pullSyntax, run: pull, keepTmp: true},
	"rename": {syntax: renameSyntax, run: rename}, "run": {syntax: runSyntax, run: runVM},
	"set": {syntax: setSyntax, run: set}, "stop": {syntax: stopSyntax, run: stop},
	"suspend": {syntax: suspendSyntax, run: suspend},
}

func main() {
	// Row 33: a SIGINT before there is a handler is swallowed.
	signal.Ignore(syscall.SIGINT)
	err := tart(os.Args[1:])
	var f *failure
	switch {
	case err == nil:
		return
	case errors.As(err, &f):
		if f.text != "" {
			fmt.Fprintln(os.Stderr, f.text)
		}
		os.Exit(f.code)
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "Error: CancellationError()")
	default:
		fmt.Fprintln(os.Stderr, "Error: "+err.Error())
	}
	os.Exit(1)
}

func tart(argv []string) error {
	if len(argv) == 0 || argv[0] == "--help" || argv[0] == "-h" {
		names := []string{}
		for name := range commands {
			names = append(names, "  "+name)
		}
		fmt.Println("USAGE: tart <subcommand>\n\nSUBCOMMANDS:\n" + strings.Join(names, "\n"))
		return nil
	}
	h, err := openHome()
	if err != nil {
		return err
	}
	if argv[0] == "--version" {
		fmt.Println(h.script.Version)
		return nil
	}
	c, known := commands[argv[0]]
	if !known {
		return failUsage("", "Unexpected argument '%s'", argv[0])
	}
	a, err := c.syntax.parse(argv[0], argv[1:])
	if err != nil {
		return err
	}
	if !c.keepTmp {
		if err := h.collectGarbage(); err != nil {
			return failC("Failed to perform garbage collection: %v", err)
		}
	}
	ctx := context.Background()
	if argv[0] != "run" {
		var stop func()
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGINT)
		defer stop()
	}
	return c.run(ctx, h, a)
}
