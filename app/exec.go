package app

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/session"
)

// ExecStreams are the near ends of a command run in the guest. With a TTY the command gets a terminal as well.
type ExecStreams struct {
	TTY       *os.File
	In        io.Reader
	PassInput bool // In is passed on; otherwise the command's standard input is empty
	Out, Err  io.Writer
}

// Exec runs one command in a running guest and returns its exit code.
func (a *App) Exec(ctx context.Context, name string, argv []string, s ExecStreams) (int, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return -1, err
	}
	c, err := a.Connect(ctx, w)
	if err != nil {
		return -1, err
	}
	defer func() { _ = c.Close() }()
	a.leaveKept(ctx, w.Name)
	// A keeper that was just killed may have looked alive: it holds its locks until what it writes is on the disk.
	defer a.leaveKept(ctx, w.Name)
	a.awaitNetwork(ctx, w.Name)
	cmd := guest.Cmd{Argv: argv}
	if s.TTY != nil {
		return session.RunPTY(ctx, c, s.TTY, cmd)
	}
	if s.PassInput {
		cmd.Stdin = s.In
	}
	exit, err := c.Stream(ctx, cmd, s.Out, s.Err)
	if err != nil {
		return -1, fmt.Errorf("running a command in %q: %w", w.Name, err)
	}
	return exit, nil
}
