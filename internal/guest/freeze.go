package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest/freezer"
	"github.com/calmenu/calmenu/internal/hint"
)

// freezeScript does what package freezer does, in a guest that has no CALMenu's program. Nothing in it writes to a disk while
// that is frozen. The watchdog is a session of its own, so that no death of this shell takes it along, and it asks several
// times in case the freeze is completed only after it first did; it starts before the freeze.
const freezeScript = `sync
echo ready
read -r x
[ "$x" = freeze ] || exit 0
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
const FreezeLimit = freezer.Limit

// Freezing is a freeze that was begun: the guest has written out what it held in memory, or is about to, and waits to be told
// to freeze. Much of what a freeze takes is over before anything else has to wait for it.
type Freezing struct {
	c      *Client
	cancel context.CancelFunc
	begun  chan struct{} // closed when what follows is written
	shell  *frozenShell
	err    error
	used   atomic.Bool
}

// BeginFreeze begins a freeze, which is to be closed. helper is the name of CALMenu's program in a Linux guest (see package
// freezer); without it, or where it is not, the guest's own tools freeze.
func (c *Client) BeginFreeze(ctx context.Context, helper string) *Freezing {
	ctx, cancel := context.WithCancel(ctx)
	z := &Freezing{c: c, cancel: cancel, begun: make(chan struct{})}
	go func() {
		defer close(z.begun)
		z.shell, z.err = c.beginFreezer(ctx, helper)
	}()
	return z
}

// Close ends what was begun. It waits for nothing.
func (z *Freezing) Close() {
	z.cancel()
	go func() {
		<-z.begun
		if z.err == nil {
			z.shell.close()
		}
	}()
}

// Freeze brings the guest's file system to a state on disk that is whole, runs do, and lets the guest go on, also if
// do panics, ctx ends or the connection breaks. do must be done within FreezeLimit (of which the freezing itself takes
// a part); otherwise the error is ErrThawed, and what do made of the disk is not to be relied on. do's own error comes
// first. It can be called once.
func (z *Freezing) Freeze(ctx context.Context, do func() error) (err error) {
	if z.used.Swap(true) {
		return errors.New("freeze guest: it was frozen already")
	}
	select {
	case <-z.begun:
	case <-ctx.Done():
		return fmt.Errorf("freeze guest: %w", context.Cause(ctx))
	}
	if z.err != nil {
		return fmt.Errorf("freeze guest: %w", z.err)
	}
	panicked := true
	defer func() {
		thawErr := z.shell.thaw(z.c)
		if panicked {
			return // the panic goes on
		}
		if err == nil && thawErr != nil {
			err = fmt.Errorf("thaw guest: %w", thawErr)
		}
	}()
	z.shell.say <- freezer.Freeze
	if err = z.shell.await(ctx, z.c, freezer.Frozen); err != nil {
		err = fmt.Errorf("freeze guest: %w", err)
	} else {
		z.shell.frozen = true
		err = do()
	}
	panicked = false
	return err
}

// Freeze is BeginFreeze and the Freeze of what that began.
func (c *Client) Freeze(ctx context.Context, helper string, do func() error) error {
	z := c.BeginFreeze(ctx, helper)
	defer z.Close()
	return z.Freeze(ctx, do)
}

// maxWords bounds what is read of what the guest answers, in bytes and so also in lines.
const maxWords = 256

// frozenShell is the program in the guest that freezes it.
type frozenShell struct {
	session *ssh.Session
	say     chan string // to its standard input, in order; two words at most
	stderr  *tail
	lines   chan string // of its standard output; closed at its end
	frozen  bool
}

// beginFreezer has a program in the guest ready to freeze it.
func (c *Client) beginFreezer(ctx context.Context, helper string) (*frozenShell, error) {
	if c.darwin() {
		return nil, hint.Errorf("Stop the workspace before taking the snapshot.", "macOS cannot freeze its file system")
	}
	if helper != "" {
		f, err := c.startFreezer(ctx, helper, freezer.Verb)
		if err == nil || c.Err() != nil || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			return f, err
		}
	}
	return c.startFreezer(ctx, "sh", "-c", freezeScript)
}

func (c *Client) startFreezer(ctx context.Context, argv ...string) (*frozenShell, error) {
	line, err := Cmd{Argv: c.sudo(argv...)}.line()
	if err != nil {
		return nil, err
	}
	session, err := await(ctx, c, "open session", c.ssh.NewSession, func(s *ssh.Session) { _ = s.Close() })
	if err != nil {
		return nil, err
	}
	f := &frozenShell{
		session: session, say: make(chan string, 2), stderr: &tail{limit: 4 << 10}, lines: make(chan string, maxWords),
	}
	session.Stderr = f.stderr
	stdin, err := session.StdinPipe()
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
	go func() { // a write may block on a peer that is stuck
		for word := range f.say {
			_, _ = io.WriteString(stdin, word+"\n")
		}
		_ = stdin.Close()
	}()
	go func() {
		defer close(f.lines)
		// It answers with three short words; whatever a hostile guest writes beyond that is not read.
		scanner := bufio.NewScanner(io.LimitReader(stdout, maxWords))
		for scanner.Scan() {
			f.lines <- scanner.Text()
		}
	}()
	if err := f.await(ctx, c, freezer.Ready); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// close ends it, in the background. It is the last that is called.
func (f *frozenShell) close() {
	close(f.say)
	go func() { _ = f.session.Close() }()
}

// await waits for it to say a word.
func (f *frozenShell) await(ctx context.Context, c *Client, word string) error {
	timer := time.NewTimer(c.options.Timeout)
	defer timer.Stop()
	select {
	case line, open := <-f.lines:
		if open && line == word {
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

// ended says why it ended before it said what it had to.
func (f *frozenShell) ended(c *Client) error {
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

// thaw tells it to thaw, and waits until it has, no longer than the guest's own watchdog would take. It does
// not heed a context: the guest must not stay frozen because somebody lost patience.
func (f *frozenShell) thaw(c *Client) error {
	f.say <- freezer.Thaw
	if !f.frozen {
		return nil
	}
	timer := time.NewTimer(FreezeLimit + killGrace)
	defer timer.Stop()
	select {
	case line := <-f.lines:
		switch strings.TrimSpace(line) {
		case freezer.Thawed:
			return nil
		case freezer.Early:
			return fmt.Errorf("%w: it took longer than %v", ErrThawed, FreezeLimit)
		}
		return fmt.Errorf("%w: guest did not confirm it was still frozen", ErrThawed)
	case <-c.done:
		return fmt.Errorf("%w: %w", ErrThawed, c.err)
	case <-timer.C:
		return fmt.Errorf("%w: guest did not confirm it was still frozen", ErrThawed)
	}
}
