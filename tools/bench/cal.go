package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// cal is CALMenu with a home of its own.
type cal struct {
	program string
	dir     string // holds the home and what lands
	env     []string
	log     io.Writer
}

// newCAL makes a home. Base images are not part of it: they stay in the person's cache.
func newCAL(b *bench) (*cal, error) {
	dir, err := os.MkdirTemp("", "calmenu-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a home: %w", err)
	}
	return &cal{
		program: b.program, dir: dir, log: b.log,
		env: append(os.Environ(), "CAL_HOME="+filepath.Join(dir, "home"), "CAL_OUTPUT_SYNC_DIR="+filepath.Join(dir, "landed"),
			"CAL_AGENT=shell", "DISPLAY=", "WAYLAND_DISPLAY="),
	}, nil
}

// command is CALMenu with a verb. It ends with ctx, asked politely first.
func (c *cal) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Env = c.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// run runs a verb and returns what it prints and how long it takes.
func (c *cal) run(ctx context.Context, args ...string) ([]byte, time.Duration, error) {
	cmd := c.command(ctx, args...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	began := time.Now()
	out, err := cmd.Output()
	took := time.Since(began)
	if err != nil {
		return nil, 0, fmt.Errorf("CALMenu %s: %w: %s", strings.Join(args, " "), err, lastLines(problems.String(), 3))
	}
	return out, took, nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " / ")
}

// remove deletes workspaces and the home.
func (c *cal) remove(workspaces ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var failed []error
	for _, name := range workspaces {
		if _, _, err := c.run(ctx, "delete", name, "--yes"); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 { // machines that could not be deleted keep their files, to be looked at
		failed = append(failed, os.RemoveAll(c.dir))
	}
	return errors.Join(failed...)
}

// event is what is read of a line of the journal.
type event struct {
	Time                   time.Time
	Kind, Op, Verb, Phase  string
	Path, Error, Workspace string
}

// journal returns what happened to a workspace, oldest first.
func (c *cal) journal(ctx context.Context, workspace string) ([]event, error) {
	out, _, err := c.run(ctx, "logs", workspace, "--json")
	if err != nil {
		return nil, err
	}
	return parseJournal(out)
}

func parseJournal(lines []byte) ([]event, error) {
	var events []event
	for dec := json.NewDecoder(bytes.NewReader(lines)); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return events, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
		events = append(events, e)
	}
}

// bootToSSH returns how long the last start took from powering the machine on to a session over SSH: what lies before
// (keys, files) and after (clock, isolation) is not the boot.
func bootToSSH(events []event) (time.Duration, error) {
	var booting, waiting bool
	var began time.Time
	took := time.Duration(-1)
	for _, e := range events {
		if e.Kind != "op.phase" {
			continue
		}
		switch {
		case e.Phase == "booting":
			began, booting, waiting = e.Time, true, false
		case !booting:
		case e.Phase == "waiting for SSH":
			waiting = true
		case waiting:
			took, booting = e.Time.Sub(began), false
		}
	}
	if took < 0 {
		return 0, errors.New("reading the journal: no start from booting to SSH is in it")
	}
	return took, nil
}
