package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// goTest is one run of the go command.
type goTest struct {
	race     bool
	limit    time.Duration // of each package
	packages []string
	atOnce   int    // so many packages; 0: as many as there are processors
	filter   string // of -run
	env      []string
	fresh    bool // not from the cache
}

// run runs the tests, and returns an error if any failed.
func (g goTest) run(ctx context.Context, c *collector) error {
	args := []string{"test", "-json", "-vet=off", "-timeout", g.limit.String()} // lint has vetted them
	if g.race {
		args = append(args, "-race")
	} else {
		args = append(args, "-trimpath") // as make build does: what that has compiled is not compiled again
	}
	if g.atOnce > 0 {
		args = append(args, "-p", strconv.Itoa(g.atOnce))
	}
	if g.fresh {
		args = append(args, "-count=1")
	}
	if g.filter != "" {
		args = append(args, "-run", g.filter)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, g.packages...)...)
	cmd.Env = os.Environ()
	cgo := "0"
	if g.race { // which is C
		cgo = "1"
		// Otherwise each test program, and each that it starts from itself, sleeps for a second at its end.
		cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	}
	cmd.Env = append(append(cmd.Env, "CGO_ENABLED="+cgo), g.env...)
	cmd.Stderr = os.Stderr
	// The tests end first what they have started.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running the tests: %w", err)
	}
	read := c.follow(events)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("tests failed (%w)", err)
	}
	return errors.Join(err, read)
}
