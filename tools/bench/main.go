// Command bench measures build/CALMenu from outside, as a person or a script uses it, and puts each figure beside what
// one would use instead. It prints a table and writes build/bench.jsonl, one object per figure.
//
//	bench [-program build/CALMenu] [-out build/bench.jsonl] [-runs 3] [-group GROUP] [GROUP...]
//
// Without a group it runs all. What must hold: each group has a home of its own (CAL_HOME), so nothing of the person's is
// touched but the cache of base images; it ends within 15 minutes, its machines and processes with it; only clocks of
// this host are read. It exits 1 if a figure could not be measured; a missed target is a figure, not a failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// groupTime and cleanTime are how long measuring a group and tidying up after it may take: 15 minutes together.
const (
	groupTime = 13 * time.Minute
	cleanTime = 2 * time.Minute
)

// group is a set of figures that are measured together.
type group struct {
	name string
	run  func(ctx context.Context, b *bench) error
}

// groups are what there is to measure.
var groups = []group{
	{"loop", loop},
	{"outbox", outboxes},
	{"session", sessions},
	{"snapshot", snapshots},
	{"tunnel", tunnels},
}

// bench is what a group measures with.
type bench struct {
	program string // absolute
	group   string
	runs    int // of what is slow
	log     io.Writer
	figures []Figure
}

// add records a figure of the running group.
func (b *bench) add(f Figure) {
	f.Group = b.group
	b.figures = append(b.figures, f.judged())
	b.progress("%s: %s %s", f.Name, number(f.Value), f.Unit)
}

// progress tells whoever waits what has been done.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.log, "  %s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// verbs are what this program is called with by itself, to be one of the clients that are measured.
var verbs = map[string]func(ctx context.Context, args []string) error{
	probeVerb:  runProbe,
	outboxVerb: runOutbox,

	proxyVerb:    runTunnelProxy,
	lineVerb:     runTunnelLine,
	guestVerb:    runTunnelGuest,
	sshuttleVerb: runTunnelSshuttle,
}

func main() {
	// fyne.io/systray, which is part of what is measured, has locked this goroutine to its thread: whatever waits here costs
	// two changes of threads, some thousand times a second.
	code := make(chan int)
	go func() { code <- start() }()
	os.Exit(<-code)
}

// start does what the arguments say and returns the exit status.
func start() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	verb := verbs[strings.Join(os.Args[1:min(2, len(os.Args))], "")]
	if verb == nil {
		return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err := verb(ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program := flags.String("program", "build/CALMenu", "program to measure")
	out := flags.String("out", "build/bench.jsonl", "file for the figures")
	runs := flags.Int("runs", 3, "how often to do what is slow")
	named := flags.String("group", "", "a group to measure, as the arguments name")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	names := flags.Args()
	if *named != "" {
		names = append(names, *named)
	}
	chosen, err := choose(names)
	if err == nil && *runs < 1 {
		err = fmt.Errorf("-runs %d: at least one is needed", *runs)
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 2
	}
	b := &bench{log: stderr, runs: *runs}
	if b.program, err = built(ctx, *program, stderr); err != nil {
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
	fmt.Fprintf(stdout, "%s\n\n", machine(context.WithoutCancel(ctx)))
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

// built returns where the program is, after building it if it is not there.
func built(ctx context.Context, program string, log io.Writer) (string, error) {
	path, err := filepath.Abs(program)
	if err != nil {
		return "", fmt.Errorf("finding the program: %w", err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	build := exec.CommandContext(ctx, "make", "build")
	build.Stdout, build.Stderr = log, log
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building %s: %w", program, err)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("finding the program after building it: %w", err)
	}
	return path, nil
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
