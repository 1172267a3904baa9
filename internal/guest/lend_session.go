package guest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// lentRequests are what a borrower may ask of a session in the guest.
var lentRequests = []string{"env", "exec", "pty-req", "signal", "subsystem", "window-change"}

// guestSession is a session in the guest. The guest's requests in it are taken as they come, whatever a borrower does: who
// leaves them holds up all that the guest says. How its program ended is all of them that counts.
type guestSession struct {
	ssh.Channel
	over chan struct{} // closed at its end
	end  *ssh.Request  // how its program ended, if the guest said so; written before over is closed
}

func openGuestSession(ctx context.Context, c *Client) (*guestSession, error) {
	return await(ctx, c, "open session", func() (*guestSession, error) {
		ch, requests, err := c.ssh.OpenChannel("session", nil)
		if err != nil {
			return nil, err
		}
		s := &guestSession{Channel: ch, over: make(chan struct{})}
		go func() {
			defer close(s.over)
			for r := range requests {
				if r.Type == "exit-status" || r.Type == "exit-signal" {
					s.end = r
				}
				if r.WantReply {
					_ = r.Reply(false, nil)
				}
			}
		}()
		return s, nil
	}, func(s *guestSession) { _ = s.Close() })
}

// session gives a borrower a session in the guest and hands on what both say, until one of them ends it.
func (l *lender) session(ctx context.Context, c *Client, asked ssh.NewChannel) {
	down, requests, err := asked.Accept()
	if err != nil {
		return
	}
	defer down.Close()
	first, ok := <-requests
	if !ok {
		return
	}
	up := l.startSpare(c, first)
	if up == nil {
		if up, err = openGuestSession(ctx, c); err != nil {
			return
		}
		handOn(up, first)
	}
	defer up.Close()
	gone := make(chan struct{}) // the borrower has ended it: a program that goes on in the guest is nobody's any more
	go func() {
		defer close(gone)
		for r := range requests {
			handOn(up, r)
		}
	}()
	go func() {
		_, _ = io.Copy(up, down)
		_ = up.CloseWrite()
	}()
	said := make(chan struct{})
	go func() {
		defer close(said)
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(down, up) })
		both.Go(func() { _, _ = io.Copy(down.Stderr(), up.Stderr()) })
		both.Wait()
	}()
	select {
	case <-said:
	case <-gone:
		return
	}
	_ = down.CloseWrite()
	select {
	case <-up.over:
		if up.end != nil {
			_, _ = down.SendRequest(up.end.Type, false, up.end.Payload)
		}
	case <-gone:
	}
}

// handOn asks the guest what a borrower asks, and answers as it does.
func handOn(up ssh.Channel, r *ssh.Request) {
	ok := false
	if slices.Contains(lentRequests, r.Type) {
		ok, _ = up.SendRequest(r.Type, r.WantReply, r.Payload)
	}
	if r.WantReply {
		_ = r.Reply(ok, nil)
	}
}

// spare is a shell of root's in the guest that was started before anybody needs it: sshd, a login shell and sudo take an
// emulated guest half a second, in which a snapshot could be taken. It waits for one line, which it becomes.
type spare struct {
	*guestSession
	of *Client
}

// spareScript reads a command line, in which $n stands for the ends of lines.
const spareScript = "n='\n'\nIFS= read -r command && eval \"$command\""

// sudoPrefix is how the lines of commands begin that a spare can become: see Client.sudo.
var sudoPrefix = "exec " + Quote([]string{"sudo", "-n"}) + " "

// startSpare has the spare become the command a borrower wants to run as root. It returns nil if that is to be started anew.
func (l *lender) startSpare(c *Client, r *ssh.Request) *guestSession {
	var exec struct{ Line string } // RFC 4254, 6.5
	if r.Type != "exec" || ssh.Unmarshal(r.Payload, &exec) != nil {
		return nil
	}
	words, ok := strings.CutPrefix(exec.Line, sudoPrefix)
	if !ok || strings.HasPrefix(words, "'-") { // an option of sudo's
		return nil
	}
	l.mu.Lock()
	s := l.spare
	l.spare = nil
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	select {
	case l.used <- struct{}{}:
	default:
	}
	if s.of != c {
		_ = s.Close()
		return nil
	}
	select {
	case <-s.over:
		return nil
	default:
	}
	// Every end of a line is within quotes.
	line := "exec " + strings.ReplaceAll(words, "\n", `'"$n"'`) + "\n"
	if _, err := io.WriteString(s, line); err != nil {
		_ = s.Close()
		return nil
	}
	if r.WantReply {
		_ = r.Reply(true, nil)
	}
	return s.guestSession
}

// spareAgain is how long after a spare was used the next one is started, which is to disturb nobody.
const spareAgain = time.Second

// keepSpare sees that there is a spare, until ctx ends. Where none can be had there is none until the connection is another.
func (l *lender) keepSpare(ctx context.Context) {
	for {
		c, err := l.client(ctx)
		if err != nil {
			return
		}
		if s, err := newSpare(ctx, c); err == nil {
			l.mu.Lock()
			before := l.spare
			l.spare = s
			l.mu.Unlock()
			if before != nil { // of a connection that has ended, or somebody was told of the same use twice
				_ = before.Close()
			}
		}
		select {
		case <-l.used:
		case <-c.Done():
		case <-ctx.Done():
			return
		}
		if !sleep(ctx, spareAgain) {
			return
		}
	}
}

func newSpare(ctx context.Context, c *Client) (*spare, error) {
	if c.options.User == "root" {
		return nil, errors.New("root needs no other shell")
	}
	line, err := Cmd{Argv: c.sudo("sh", "-c", spareScript)}.line()
	if err != nil {
		return nil, err
	}
	s, err := openGuestSession(ctx, c)
	if err != nil {
		return nil, err
	}
	_, err = await(ctx, c, "start", func() (bool, error) {
		return s.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{line}))
	}, nil)
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return &spare{s, c}, nil
}
