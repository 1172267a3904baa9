// Command bench measures build/CALMenu from outside, as a person or a script uses it, and puts each figure beside what
// one would use instead. It prints a table and writes build/bench.jsonl, one object per figure.
//
//	bench [-program build/CALMenu] [-out build/bench.jsonl] [GROUP...]
//
// Without a group it runs all. Each group has a home of its own (CAL_HOME), so nothing of the person's is touched, and
// ends within 15 minutes. It exits 1 if a group could not be measured; a missed target is a figure, not a failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// groupTime is how long a group may take.
const groupTime = 15 * time.Minute

// group is a set of figures that are measured together.
type group struct {
	name string
	run  func(ctx context.Context, b *bench) error
}

// groups are what there is to measure.
var groups = []group{
	{"loop", loop},
}

// bench is what a group measures with.
type bench struct {
	program string // absolute
	group   string
	log     io.Writer
	figures []Figure
}

// add records a figure of the running group.
func (b *bench) add(f Figure) {
	f.Group = b.group
	b.figures = append(b.figures, f.judged())
	fmt.Fprintf(b.log, "  %s\n", f.Name)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program := flags.String("program", "build/CALMenu", "program to measure")
	out := flags.String("out", "build/bench.jsonl", "file for the figures")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 2
	}
	b := &bench{log: stderr}
	if b.program, err = filepath.Abs(*program); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	failed := false
	for _, g := range chosen {
		fmt.Fprintf(stderr, "%s:\n", g.name)
		b.group = g.name
		groupCtx, cancel := context.WithTimeout(ctx, groupTime)
		err := g.run(groupCtx, b)
		cancel()
		if err != nil {
			fmt.Fprintf(stderr, "error: measuring %s: %v\n", g.name, err)
			failed = true
		}
	}
	fmt.Fprintf(stdout, "%s\n\n", machine())
	writeTable(stdout, b.figures)
	if err := writeJSONL(*out, b.figures); err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		failed = true
	}
	if failed {
		return 1
	}
	return 0
}

// choose returns the groups with these names, all without any.
func choose(names []string) ([]group, error) {
	if len(names) == 0 {
		return groups, nil
	}
	var chosen []group
	for _, name := range names {
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
		if i < 0 {
			var known []string
			for _, g := range groups {
				known = append(known, g.name)
			}
			return nil, fmt.Errorf("there is no benchmark group %q (there are: %s)", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, groups[i])
	}
	return chosen, nil
}
