package guest

import (
	"context"
	"io"
	"slices"
	"sync"

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
	if first.Type == "pty-req" { // nothing is asked before it: see PTY
		c.terminals.Add(1)
		defer c.terminals.Add(-1)
	}
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
