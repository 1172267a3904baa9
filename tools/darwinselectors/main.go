// Command darwinselectors reads every place where CALMenu's own code reaches Cocoa and compares it with a reviewed table.
//
//	darwinselectors [-table reviewed.yaml]
//
// To Go a selector, a class and a notification are strings, and so no compiler would notice a misspelt one, a missing
// argument or one of the wrong kind. This program follows each of them: those in own code, through own helpers that take
// one, and those that darwinkit's bindings send on behalf of own code. What is not in the table fails, and so does what
// is in the table and used no more, and what breaks a rule that darwinkit v0.5.0 must be handled by (rules.go).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var path string
	flags := flag.NewFlagSet("darwinselectors", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&path, "table", "tools/darwinselectors/reviewed.yaml", "the reviewed table")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	reviewed, err := readTable(path)
	if err != nil {
		fmt.Fprintf(stderr, "darwinselectors: %v\n", err)
		return 2
	}
	found, err := analyze(ctx, "")
	if err != nil {
		fmt.Fprintf(stderr, "darwinselectors: %v\n", err)
		return 2
	}
	problems := reviewed.compare(found)
	for _, p := range problems {
		fmt.Fprintln(stdout, p)
	}
	fmt.Fprintf(stdout, "Cocoa: %d messages, %d classes, %d notifications at %d places, %d problems\n",
		len(reviewed.Methods), len(reviewed.Classes), len(reviewed.Notifications), len(found.sends), len(problems))
	if len(problems) > 0 {
		return 1
	}
	return 0
}
