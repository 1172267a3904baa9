// Command calhelper is CALMenu's hand in the guest: one static program for what the guest's own tools do too slowly or
// not at all. The host puts it there (internal/guest/helper) and starts it over SSH; it talks to the host by its
// standard input and output and ends with them.
//
// What must hold: it runs as the guest's user, opens nothing to a network, and is trusted by nobody: the host takes what
// it says as it takes anything a guest says. It is small, because an emulated guest has to load it: each verb's logic is
// a package of its own, and what a verb does not need it does not link.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// verb runs one of the helper's jobs with the arguments behind its name, until it is done, ctx ends or standard input
// does.
type verb func(ctx context.Context, args []string) error

// verbs are the helper's jobs by name.
var verbs = map[string]verb{
	"free":    free,
	"outbox":  outbox,
	"pipe":    pipe,
	"port":    port,
	"proxy":   proxy,
	"tunnel":  tunnel,
	"version": version,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	if len(args) == 0 || verbs[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: calhelper "+strings.Join(names(), "|")+" [ARGUMENT...]")
		return 2
	}
	if err := verbs[args[0]](ctx, args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "calhelper %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

func names() []string {
	var list []string
	for name := range verbs {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
