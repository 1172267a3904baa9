package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/hint"
)

// freezeScript freezes the guest's root file system, says so, and thaws it on a line or the end of its input. Nothing
// in it writes to a disk while that is frozen. The watchdog is a session of its own, so that no death of this shell
// takes it along, and it asks several times in case the freeze is completed only after it first did; it starts before
// the freeze.
const freezeScript = `sync
setsid sh -c 'for i in 1 2 3 4; do sleep 5; fsfreeze -u /; done' </dev/null >/dev/null 2>&1 &
w=$!
trap 'fsfreeze -u / 2>/dev/null; kill $w 2>/dev/null' EXIT
trap 'exit 1' HUP INT TERM PIPE
fsfreeze -f / || exit 1
echo frozen
read -r x
if fsfreeze -u / 2>/dev/null; then r=thawed; else r=early; fi
trap - EXIT
kill $w 2>/dev/null
echo $r`

// FreezeLimit is how long a guest stays frozen at most: then it thaws itself, whatever this side does.
const FreezeLimit = 5 * time.Second

// Freeze brings the guest's file system to a state on disk that is whole, runs do, and lets the guest go on, also if
// do panics, ctx ends or the connection breaks. do must be done within FreezeLimit (of which the freezing itself takes
// a part); otherwise the error is ErrThawed, and what do made of the disk is not to be relied on. do's own error comes
// first.
func (c *Client) Freeze(ctx context.Context, do func() error) (err error) {
	if c.darwin() {
		return hint.Errorf("Stop the workspace before taking the snapshot.",
			"freeze guest: macOS cannot freeze its file system")
	}
	freezer, err := c.startFreezer(ctx)
	if err != nil {
		return fmt.Errorf("freeze guest: %w", err)
	}
	panicked := true
	defer func() {
		thawErr := freezer.thaw(c)
		if panicked {
			return // the panic goes on
		}
		if err == nil && thawErr != nil {
			err = fmt.Errorf("thaw guest: %w", thawErr)
		}
	}()
	err = freezer.await(ctx, c, "frozen")
	if err != nil {
		err = fmt.Errorf("freeze guest: %w", err)
	} else {
		err = do()
	}
	panicked = false
	return err
}

// maxWords bounds what is read of the script's output, in bytes and so also in lines.
const maxWords = 256

// freezer is the shell in the guest that froze it.
type freezer struct {
	session *ssh.Session
	stdin   io.WriteCloser
	stderr  *tail
	lines   chan string // of its standard output; closed at its end
	frozen  bool
}

func (c *Client) startFreezer(ctx context.Context) (*freezer, error) {
	line, err := Cmd{Argv: c.sudo("sh", "-c", freezeScript)}.line()
	if err != nil {
		return nil, err
	}
	session, err := await(ctx, c, "open session", c.ssh.NewSession, func(s *ssh.Session) { _ = s.Close() })
	if err != nil {
		return nil, err
	}
	f := &freezer{session: session, stderr: &tail{limit: 4 << 10}, lines: make(chan string, maxWords)}
	session.Stderr = f.stderr
	f.stdin, err = session.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	stdout, err := session.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	if err := c.start(ctx, session, line); err != nil {
		go func() { _ = session.Close() }()
		return nil, err
	}
	go func() {
		defer close(f.lines)
		// The script writes two short words; whatever a hostile guest writes beyond that is not read.
		scanner := bufio.NewScanner(io.LimitReader(stdout, maxWords))
		for scanner.Scan() {
			f.lines <- scanner.Text()
		}
	}()
	return f, nil
}

// await waits for the script to say a word.
func (f *freezer) await(ctx context.Context, c *Client, word string) error {
	timer := time.NewTimer(c.options.Timeout)
	defer timer.Stop()
	select {
	case line, open := <-f.lines:
		if open && line == word {
			f.frozen = true
			return nil
		}
		if !open {
			return f.ended(c)
		}
		return fmt.Errorf("guest answered %q", printable(line, 80))
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return c.err
	case <-timer.C:
		return fmt.Errorf("guest did not answer within %v: %w", c.options.Timeout, context.DeadlineExceeded)
	}
}

// ended says why the script ended before it said what it had to.
func (f *freezer) ended(c *Client) error {
	waited := make(chan error, 1)
	go func() { waited <- f.session.Wait() }()
	timer := time.NewTimer(killGrace)
	defer timer.Stop()
	var err error
	select {
	case err = <-waited:
	case <-timer.C:
		return errors.New("guest's freezing shell closed its output")
	case <-c.done:
		return c.err
	}
	exit, err := exitStatus(err)
	if err != nil {
		return c.explain(err)
	}
	return guestSaid(Result{Stderr: []byte(f.stderr.String()), Exit: exit})
}

// thaw tells the script to thaw, and waits until it has, no longer than the guest's own watchdog would take. It does
// not heed a context: the guest must not stay frozen because somebody lost patience.
func (f *freezer) thaw(c *Client) error {
	go func() {
		_, _ = io.WriteString(f.stdin, "thaw\n")
		_ = f.stdin.Close()
	}()
	defer func() { go func() { _ = f.session.Close() }() }()
	if !f.frozen {
		return nil
	}
	timer := time.NewTimer(FreezeLimit + killGrace)
	defer timer.Stop()
	select {
	case line := <-f.lines:
		switch strings.TrimSpace(line) {
		case "thawed":
			return nil
		case "early":
			return fmt.Errorf("%w: it took longer than %v", ErrThawed, FreezeLimit)
		}
		return fmt.Errorf("%w: guest did not confirm it was still frozen", ErrThawed)
	case <-c.done:
		return fmt.Errorf("%w: %w", ErrThawed, c.err)
	case <-timer.C:
		return fmt.Errorf("%w: guest did not confirm it was still frozen", ErrThawed)
	}
}
