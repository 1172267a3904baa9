package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// workspace is one of CALMenu's as a person uses it: by verbs, and by ssh with the configuration that CALMenu writes.
type workspace struct {
	c    *cal
	name string
}

// newWorkspace makes a workspace with a disk of so many GiB and memory of so many MiB.
func (c *cal) newWorkspace(ctx context.Context, name string, disk, memory int) (workspace, error) {
	_, _, err := c.run(ctx, "new", name, "--disk", strconv.Itoa(disk), "--memory", strconv.Itoa(memory))
	return workspace{c, name}, err
}

// ssh runs a command in the guest and returns what it prints.
func (w workspace) ssh(ctx context.Context, remote string) (string, error) {
	cmd := exec.CommandContext(ctx, "ssh", "-F", filepath.Join(w.c.dir, "home", "ssh_config"), "-o", "BatchMode=yes",
		"cal-"+w.name, remote)
	cmd.Env = w.c.env
	cmd.WaitDelay = 5 * time.Second
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ssh cal-%s %q: %w: %s", w.name, remote, err, lastLines(problems.String(), 3))
	}
	return string(out), nil
}

// What is written into a guest to tell whether a rollback took place. The disk has it; the boot's identifier, which the
// kernel makes at random once a boot, tells whether memory came back too.
const (
	markFile    = "bench-mark"
	markKept    = "kept"
	markWrecked = "wrecked"
	bootIDFile  = "/proc/sys/kernel/random/boot_id"
)

// state is what a guest says of itself.
type state struct{ boot, mark string }

const askState = "cat " + bootIDFile + "; cat " + markFile + " 2>/dev/null; true"

func marking(mark string) string {
	return "echo " + mark + " >" + markFile + "; sync; cat " + bootIDFile + " " + markFile
}

func parseState(answer string) (state, error) {
	words := strings.Fields(answer)
	if len(words) == 0 || len(words) > 2 {
		return state{}, fmt.Errorf("asking the guest for its state: it says %q", answer)
	}
	return state{words[0], strings.Join(words[1:], "")}, nil
}

// mark leaves a mark in the guest and returns its state with it.
func (w workspace) mark(ctx context.Context, mark string) (state, error) {
	answer, err := w.ssh(ctx, marking(mark))
	if err != nil {
		return state{}, err
	}
	return parseState(answer)
}

// usable runs a verb and then a command by ssh: what a person waits for to have a prompt. It returns how long that took
// altogether, in seconds, and the guest's state.
func (w workspace) usable(ctx context.Context, verb ...string) (float64, state, error) {
	began := time.Now()
	if _, _, err := w.c.run(ctx, verb...); err != nil {
		return 0, state{}, err
	}
	answer, err := w.ssh(ctx, askState)
	took := time.Since(began)
	if err != nil {
		return 0, state{}, err
	}
	s, err := parseState(answer)
	return took.Seconds(), s, err
}

// untilSSH is how long the last operation of a verb took to the first command over SSH, in seconds, by the journal.
func (w workspace) untilSSH(ctx context.Context, verb string) (float64, error) {
	events, err := w.c.journal(ctx, w.name)
	if err != nil {
		return 0, err
	}
	took, err := untilSSH(events, verb)
	return took.Seconds(), err
}

// The kinds of snapshot, as the verb's flags name them.
const (
	warm = "warm"
	cold = "cold"
)

// taken is a snapshot and what it took.
type taken struct {
	id      string
	kind    string
	seconds float64
	size    int64 // bytes on the disk by which the workspace grew
}

// take takes a snapshot. One that is not of the kind that was asked for is an error.
func (w workspace) take(ctx context.Context, kind string) (taken, error) {
	dir := filepath.Join(w.c.machines(), w.name)
	before, err := diskUse(dir)
	if err != nil {
		return taken{}, err
	}
	name := fmt.Sprintf("bench %s %d", kind, time.Now().UnixNano()) // another of its kind may be there
	out, took, err := w.c.run(ctx, "snapshot", "create", w.name, "--name", name, "--"+kind, "--json")
	if err != nil {
		return taken{}, err
	}
	after, err := diskUse(dir)
	if err != nil {
		return taken{}, err
	}
	var s struct {
		ID   string
		Warm bool
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return taken{}, fmt.Errorf("reading what CALMenu snapshot create says: %w", err)
	}
	if s.ID == "" || s.Warm != (kind == warm) {
		return taken{}, fmt.Errorf("taking a %s snapshot: CALMenu says %s", kind, bytes.TrimSpace(out))
	}
	return taken{id: s.ID, kind: kind, seconds: took.Seconds(), size: after - before}, nil
}

func (w workspace) forget(ctx context.Context, t taken) error {
	_, _, err := w.c.run(ctx, "snapshot", "delete", w.name, t.id)
	return err
}

// rollback rolls the running guest back and returns how long it took to a prompt, in seconds. The guest must have been
// marked as kept before the snapshot was taken.
func (w workspace) rollback(ctx context.Context, to taken) (float64, error) {
	before, err := w.mark(ctx, markWrecked)
	if err != nil {
		return 0, err
	}
	seconds, after, err := w.usable(ctx, "rollback", w.name, "--to", to.id, "--yes")
	if err != nil {
		return 0, err
	}
	if err := wasRolledBack(before, after, to.kind); err != nil {
		return 0, fmt.Errorf("rolling back to a %s snapshot: %w", to.kind, err)
	}
	return seconds, nil
}

// wasRolledBack tells whether a guest is what a rollback must have made of it.
func wasRolledBack(before, after state, kind string) error {
	switch {
	case after.mark != markKept:
		return fmt.Errorf("the disk was not: its mark is %q", after.mark)
	case kind == warm && after.boot != before.boot:
		return fmt.Errorf("the guest was booted")
	case kind == cold && after.boot == before.boot:
		return fmt.Errorf("the guest was not booted")
	}
	return nil
}

// diskUse returns the disk space a file, or the files below a directory, take, in bytes, each counted once however many names it
// has.
func diskUse(dir string) (int64, error) {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s has no blocks", d.Name())
		}
		if id := (inode{uint64(st.Dev), st.Ino}); !seen[id] { //nolint:unconvert // it is signed elsewhere
			seen[id] = true
			sum += st.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measuring the disk space of %s: %w", dir, err)
	}
	return sum, nil
}

// ignoreGone forgives a file that went while it was looked for: a running machine's come and go.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
