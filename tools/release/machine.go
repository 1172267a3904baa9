package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// machine is the computer a release is made on.
type machine struct {
	goos string
	say  io.Writer
	// command runs a program and returns what it printed; tests record it instead.
	command func(ctx context.Context, argv []string) (output, error)
}

// output is what a program printed: all of it, for people, and standard output alone, for reading.
type output struct{ all, stdout string }

func thisMachine(say io.Writer) *machine {
	return &machine{goos: runtime.GOOS, say: say, command: execute}
}

func execute(ctx context.Context, argv []string) (output, error) {
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return output{all: stdout.String() + stderr.String(), stdout: stdout.String()}, err
}

// errNotMac is why a step is refused elsewhere.
var errNotMac = errors.New("this needs a Mac")

// onMac says what a step needs where it cannot be done.
func (m *machine) onMac(doing, program string) error {
	if m.goos == "darwin" {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s: %w: %s is a program of macOS", doing, errNotMac, program),
		"Run it on a Mac, or push a version tag: the release workflow does it (docs/release.md).")
}

// step runs one program, after saying what for. A failure carries what the program said.
func (m *machine) step(ctx context.Context, what, advice string, argv ...string) (output, error) {
	fmt.Fprintf(m.say, "%s\n", what)
	out, err := m.command(ctx, argv)
	if ctx.Err() != nil {
		return out, fmt.Errorf("%s: %w", what, ctx.Err())
	}
	if err != nil {
		err = fmt.Errorf("%s: %s: %w\n%s", what, filepath.Base(argv[0]), err, strings.TrimSpace(out.all))
		return out, hint.Wrap(err, advice)
	}
	return out, nil
}
