package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// DefaultLimit is how many bytes Output takes of each of a command's two outputs if Cmd.Limit is 0.
const DefaultLimit = 16 << 20

// Cmd is a program to run in the guest. The user's login shell there starts it, with the environment of a
// non-interactive, non-login shell.
type Cmd struct {
	Argv []string
	// Env is added to the environment the guest's SSH server gives.
	Env map[string]string
	// Dir is absolute or relative to the user's home, which is also the default. "~" is not expanded.
	Dir string
	// Stdin is read to its end; nil is an empty input.
	Stdin io.Reader
	// Early lets it run in a shell that was started before it was asked for, where there is one: what has changed since in
	// what a login is given, it does not see.
	Early bool
	// Limit is how many bytes of standard output, and of standard error, are taken before the command is killed: for
	// Output 0 means DefaultLimit, for Stream and PTY no limit.
	Limit int64
}

// Result is what a command left.
type Result struct {
	Stdout, Stderr []byte
	Exit           int  // exit status; -1 if there is none
	Truncated      bool // an output was longer than Cmd.Limit
}

// Output runs a command and collects its output. A status other than 0 is no error: it is in Result.Exit. Errors are a
// lost connection, a signal (*SignalError), too much output (ErrLimit), or the end of ctx, which kills the command;
// what was written until then is in the Result.
func (c *Client) Output(ctx context.Context, cmd Cmd) (Result, error) {
	if cmd.Limit == 0 {
		cmd.Limit = DefaultLimit
	}
	var stdout, stderr bytes.Buffer
	exit, err := c.run(ctx, cmd, &stdout, &stderr, nil)
	return Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Exit: exit, Truncated: errors.Is(err, ErrLimit)}, err
}

// Stream runs a command and hands on its output as it comes; nil writers discard. A writer's error kills the command
// and is returned. Otherwise it is as Output.
func (c *Client) Stream(ctx context.Context, cmd Cmd, stdout, stderr io.Writer) (exit int, err error) {
	return c.run(ctx, cmd, stdout, stderr, nil)
}

// killGrace is how long a killed command's last words are waited for.
const killGrace = 2 * time.Second

// run is behind Output, Stream and PTY. prepare, unless nil, is called on the session before the command starts, and
// what it returns when the command runs.
func (c *Client) run(
	ctx context.Context, cmd Cmd, stdout, stderr io.Writer, prepare func(context.Context, *ssh.Session) error,
) (int, error) {
	line, err := cmd.line()
	if err != nil {
		return -1, err
	}
	fail := func(err error) (int, error) { return -1, fmt.Errorf("run guest command %q: %w", cmd.Argv[0], err) }
	// Whatever goes wrong on this side (limit, reader, writer) ends the command the same way ctx does.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	session, err := await(ctx, c, "open session", c.ssh.NewSession, func(s *ssh.Session) { _ = s.Close() })
	if err != nil {
		return fail(err)
	}
	defer func() { go func() { _ = session.Close() }() }() // a write, which may block on a peer that is stuck
	if prepare != nil {
		if err := prepare(ctx, session); err != nil {
			return fail(err)
		}
	}
	out, errOut := newOutlet(stdout, cmd.Limit, cancel), newOutlet(stderr, cmd.Limit, cancel)
	if prepare != nil { // for a terminal
		out.terminals = c.terminals
	}
	defer out.shut()
	defer errOut.shut()
	session.Stdout, session.Stderr = out, errOut
	var stdin io.WriteCloser
	if cmd.Stdin != nil {
		// Not session.Stdin: Wait would then wait for the reader, that is for a key press after the end.
		if stdin, err = session.StdinPipe(); err != nil {
			return fail(err)
		}
	}
	if err := c.start(ctx, session, line); err != nil {
		return fail(err)
	}
	if stdin != nil {
		defer feed(cmd.Stdin, stdin, cancel)()
	}
	var ending error
	ended := make(chan struct{})
	go func() {
		ending = session.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-c.done:
		return fail(c.err)
	case <-ctx.Done():
		c.kill(session, ended)
		return fail(context.Cause(ctx))
	}
	if cause := context.Cause(ctx); cause != nil {
		// It ended by itself, but not all of its output could be taken.
		return fail(cause)
	}
	exit, err := exitStatus(ending)
	if err != nil {
		return fail(c.explain(err))
	}
	return exit, nil
}

func (c *Client) start(ctx context.Context, session *ssh.Session, line string) error {
	_, err := await(ctx, c, "start", func() (struct{}, error) { return struct{}{}, session.Start(line) }, nil)
	return err
}

// kill ends a command: by signal, where the guest's server delivers it (OpenSSH does unless the user is root), and by
// closing its input and output.
func (c *Client) kill(session *ssh.Session, ended <-chan struct{}) {
	go func() {
		_ = session.Signal(ssh.SIGKILL)
		_ = session.Close()
	}()
	timer := time.NewTimer(killGrace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-c.done:
	}
}

func exitStatus(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		if exit.Signal() != "" {
			return -1, &SignalError{Signal: exit.Signal()}
		}
		return exit.ExitStatus(), nil
	}
	return -1, err
}

// feed copies a command's input in the background. The returned function ends it without waiting for a reader that
// cannot be interrupted.
func feed(from io.Reader, to io.WriteCloser, cancel context.CancelCauseFunc) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		source := &errorReader{r: from}
		_, _ = io.Copy(to, source)
		if source.err != nil {
			// Closing the input now would tell the command that this was all of it.
			cancel(fmt.Errorf("read its input: %w", source.err))
			return
		}
		_ = to.Close()
	}()
	return func() {
		d, ok := from.(interface{ SetReadDeadline(time.Time) error })
		if !ok || d.SetReadDeadline(time.Unix(1, 0)) != nil {
			return
		}
		timer := time.NewTimer(settle)
		defer timer.Stop()
		select {
		case <-ended:
			_ = d.SetReadDeadline(time.Time{})
		case <-timer.C:
			// It waits for the guest to take input, not for input; the end of the connection will end it.
		}
	}
}

// errorReader remembers what its reader failed with.
type errorReader struct {
	r   io.Reader
	err error
}

func (e *errorReader) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}

// outlet hands on a command's output up to a limit, and nothing after shut. It never returns an error: the library
// would stop reading, and the command would block rather than end.
type outlet struct {
	mu     sync.Mutex
	w      io.Writer
	limit  int64 // bytes still taken; negative: no limit
	closed bool
	cancel context.CancelCauseFunc

	terminals *atomic.Int32 // see gatherer
}

func newOutlet(w io.Writer, limit int64, cancel context.CancelCauseFunc) *outlet {
	if w == nil {
		w = io.Discard
	}
	if limit == 0 {
		limit = -1
	}
	return &outlet{w: w, limit: limit, cancel: cancel, terminals: new(atomic.Int32)}
}

func (o *outlet) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return len(b), nil
	}
	take := b
	if o.limit >= 0 && int64(len(b)) > o.limit {
		take = b[:o.limit]
	}
	if len(take) > 0 {
		if _, err := o.w.Write(take); err != nil {
			o.closed = true
			o.cancel(fmt.Errorf("hand on its output: %w", err))
			return len(b), nil
		}
	}
	if o.limit >= 0 {
		o.limit -= int64(len(take))
	}
	if len(take) < len(b) {
		o.closed = true
		o.cancel(ErrLimit)
	}
	return len(b), nil
}

// ReadFrom is io.Copy with moderation: see gatherer.
func (o *outlet) ReadFrom(r io.Reader) (int64, error) {
	g := gatherer{r: r, terminals: o.terminals}
	b := make([]byte, 32<<10)
	var all int64
	for {
		n, err := g.Read(b)
		if n > 0 {
			all += int64(n)
			_, _ = o.Write(b[:n]) // it never fails
		}
		if n == len(b) && n < readAhead {
			b = make([]byte, 2*n)
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func (o *outlet) shut() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

// missingExit tells whether a command's channel was closed without a word on how it ended.
func missingExit(err error) bool {
	var missing *ssh.ExitMissingError
	return errors.As(err, &missing)
}

// tail keeps the last bytes written to it.
type tail struct {
	mu    sync.Mutex
	data  []byte
	limit int
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
