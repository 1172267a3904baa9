package guest

import (
	"context"
	"io"

	"golang.org/x/crypto/ssh"
)

// Terminal is the near side of a guest terminal. In and Out should be in raw mode.
type Terminal struct {
	// In is what is typed. A read that cannot be interrupted by SetReadDeadline stays behind when the command has ended,
	// and takes what is typed next.
	In  io.Reader
	Out io.Writer
	// Term is the terminal's type, known to the guest; empty is xterm-256color.
	Term string
	// Size is the terminal's size now; nil is 80 by 24.
	Size func() (cols, rows int)
	// Resized is received from whenever Size may have changed; may be nil.
	Resized <-chan struct{}
}

// PTY runs a command on a terminal of the guest and returns its exit status as soon as it has ended, whether or not a
// read from In is pending. Errors are as Output's; the end of ctx hangs the terminal up. Cmd.Stdin is not used.
func (c *Client) PTY(ctx context.Context, cmd Cmd, t Terminal) (exit int, err error) {
	size := func() (cols, rows int) {
		cols, rows = 80, 24
		if t.Size != nil {
			cols, rows = t.Size()
		}
		return max(cols, 1), max(rows, 1)
	}
	term := t.Term
	if term == "" {
		term = "xterm-256color"
	}
	ended := make(chan struct{})
	defer close(ended)
	cmd.Stdin = t.In
	c.terminals.Add(1)
	defer c.terminals.Add(-1)
	return c.run(ctx, cmd, t.Out, t.Out, func(ctx context.Context, s *ssh.Session) error {
		cols, rows := size()
		_, err := await(ctx, c, "get terminal", func() (struct{}, error) {
			return struct{}{}, s.RequestPty(term, rows, cols, ssh.TerminalModes{
				ssh.ECHO: 1, ssh.IUTF8: 1, ssh.TTY_OP_ISPEED: 115200, ssh.TTY_OP_OSPEED: 115200,
			})
		}, nil)
		if err != nil {
			return err
		}
		go func() {
			for {
				select {
				case <-ended:
					return
				case <-c.done:
					return
				case _, open := <-t.Resized:
					if !open {
						return
					}
				}
				cols, rows := size()
				if s.WindowChange(rows, cols) != nil {
					return
				}
			}
		}()
		return nil
	})
}
