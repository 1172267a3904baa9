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

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/qemu"
)

// cal is CALMenu with a home of its own.
type cal struct {
	program string
	dir     string // holds the home and what lands
	env     []string
	log     io.Writer
}

const noTemplate = "CAL_VM_TEMPLATE=off"

// newCAL makes a home. Base images are not part of it: they stay in the person's cache.
func newCAL(b *bench) (*cal, error) {
	dir, err := os.MkdirTemp("", "calmenu-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a home: %w", err)
	}
	return &cal{
		program: b.program, dir: dir, log: b.log,
		env: append(os.Environ(), "CAL_HOME="+filepath.Join(dir, "home"), "CAL_OUTPUT_SYNC_DIR="+filepath.Join(dir, "landed"),
			"CAL_AGENT=shell", "DISPLAY=", "WAYLAND_DISPLAY=",
			// One made in the midst of a measurement would take as much of this computer as a boot.
			noTemplate),
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

// machines is where the home keeps its machines.
func (c *cal) machines() string { return filepath.Join(c.dir, "home", "isolation", "vms") }

// remove deletes workspaces and the home. A machine CALMenu cannot delete is powered off all the same.
func (c *cal) remove(workspaces ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTime)
	defer cancel()
	var failed []error
	for _, name := range workspaces {
		if _, _, err := c.run(ctx, "delete", name, "--yes", "--discard-work"); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return errors.Join(os.RemoveAll(c.dir))
	}
	d := qemu.New(qemu.Options{Dir: c.machines()})
	for _, name := range workspaces {
		err := d.Stop(ctx, name, vm.Shutdown{})
		if err != nil && !errors.Is(err, vm.ErrNotRunning) && !errors.Is(err, vm.ErrNotFound) {
			failed = append(failed, err)
		}
	}
	return errors.Join(append(failed, fmt.Errorf("the home is left to be looked at: %s", c.dir))...)
}

// event is what is read of a line of the journal.
type event struct {
	Time              time.Time
	Kind, Verb, Phase string
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

// clockPhase is what CALMenu calls its first commands in a guest.
const clockPhase = "setting the clock"

// bootToSSH returns how long the last start took from powering the machine on to the first command done over SSH (it
// reads the guest's clock): what lies before (keys, files) and after (isolation) is not the boot.
func bootToSSH(events []event) (time.Duration, error) {
	var booting, connected bool
	var began time.Time
	took := time.Duration(-1)
	for _, e := range events {
		switch {
		case e.Kind != "op.phase":
		case e.Phase == "booting":
			began, booting, connected = e.Time, true, false
		case e.Phase == clockPhase:
			connected = true
		case booting && connected:
			took, booting = e.Time.Sub(began), false
		}
	}
	if took < 0 {
		return 0, errors.New("reading the journal: no start from booting to SSH is in it")
	}
	return took, nil
}

// untilSSH returns how long the last operation of a verb took from its beginning to the first command done over SSH.
func untilSSH(events []event, verb string) (time.Duration, error) {
	var began time.Time
	connected := false
	took := time.Duration(-1)
	for _, e := range events {
		switch {
		case e.Verb != verb:
		case e.Kind == "op.begin":
			began, connected, took = e.Time, false, -1
		case e.Kind != "op.phase" || began.IsZero():
		case e.Phase == clockPhase:
			connected = true
		case connected:
			took, connected = e.Time.Sub(began), false
		}
	}
	if took < 0 {
		return 0, fmt.Errorf("reading the journal: no %s that came as far as SSH is in it", verb)
	}
	return took, nil
}
