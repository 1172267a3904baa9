package guest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// A process that keeps a connection to a guest lends it to others of the same user, as OpenSSH's ControlMaster does: an
// emulated guest takes longer to agree on keys and to start a server than to do most of what it is asked. Lender and borrower
// speak SSH over a socket in a directory that is the user's alone, so that a borrowed connection is a Client like any other;
// sessions are handed on, nothing else. Who may open the socket could read the workspace's key as well.

const (
	// maxSocketPath is what fits in a socket's address on every system, in bytes.
	maxSocketPath = 103
	// maxBorrowers is how many are served at once; others make a connection of their own.
	maxBorrowers = 32
	// borrowTime bounds how long a borrower may take to say what it is, and to be answered.
	borrowTime = 2 * time.Second
)

// Lend serves sessions over the connection that client returns to processes of this user, at a socket that it makes, until
// ctx ends. The socket's directory must be the user's alone. What an ended process left there is replaced: the caller sees to
// it that there is only one at a time. What waits in the guest for a borrower that asks for it: a shell of the user's, one of
// root's, root's run of CALMenu's program there, which helper names (empty: there is none), and one of each command that is
// ready, which does nothing before it is told to on standard input.
func Lend(
	ctx context.Context, path string, client func(context.Context) (*Client, error), helper string, ready ...Cmd,
) error {
	l, err := newLender(client, helper, ready...)
	if err == nil {
		err = l.lend(ctx, path)
	}
	if err != nil {
		return fmt.Errorf("lend the guest's connection: %w", err)
	}
	return nil
}

// lender is one that lends.
type lender struct {
	client func(context.Context) (*Client, error)
	config *ssh.ServerConfig
	spares []*spares
}

func newLender(client func(context.Context) (*Client, error), helper string, ready ...Cmd) (*lender, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	l := &lender{client: client, config: &ssh.ServerConfig{NoClientAuth: true}}
	for _, cmd := range ready {
		l.spares = append(l.spares, copies(cmd))
	}
	if helper != "" {
		l.spares = append(l.spares, rootHelpers(helper))
	}
	l.spares = append(l.spares, rootShells(), userShells())
	l.config.AddHostKey(signer)
	return l, nil
}

func (l *lender) lend(ctx context.Context, path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("the name of its socket is longer than %d bytes", maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	for _, k := range l.spares {
		all.Go(func() { k.keep(ctx, l.client) })
	}
	places := make(chan struct{}, maxBorrowers)
	for {
		conn, err := socket.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		select {
		case places <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		all.Go(func() {
			defer func() { conn.Close(); <-places }()
			_ = l.serve(ctx, conn) // it learns from the end of its connection, and makes another one
		})
	}
}

// serve hands on the sessions of one borrower, until it, the guest's connection or ctx ends.
func (l *lender) serve(ctx context.Context, conn *net.UnixConn) error {
	if err := sameUser(conn); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	soon, cancel := context.WithTimeout(ctx, borrowTime)
	defer cancel()
	c, err := l.client(soon)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(borrowTime))
	borrower, channels, requests, err := ssh.NewServerConn(conn, l.config)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-c.Done():
			conn.Close()
		case <-ended:
		}
	}()
	go func() {
		for r := range requests {
			// A sign of life is the guest's to give.
			alive := r.Type == keepaliveRequest && c.Ping(ctx) == nil
			if r.Type == keepaliveRequest && !alive {
				conn.Close()
			}
			if r.WantReply {
				_ = r.Reply(alive, nil)
			}
		}
	}()
	var all sync.WaitGroup
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "sessions alone are lent")
			continue
		}
		all.Go(func() { l.session(ctx, c, ch) })
	}
	all.Wait()
	return borrower.Close()
}

// Borrow connects to a guest over the connection another process lends at a socket; an error means that there is none to be
// had, or that the guest does not answer over it. The other process has proven who the guest is.
func Borrow(ctx context.Context, path string, o Options) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(path) > maxSocketPath {
		return nil, errors.New("borrow the guest's connection: nobody lends it")
	}
	ctx, cancel := context.WithTimeout(ctx, borrowTime)
	defer cancel()
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("borrow the guest's connection: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c, err := borrowOver(raw.(*net.UnixConn), o)
	if err == nil {
		err = c.Ping(ctx)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		if c != nil {
			_ = c.Close()
		}
		return nil, fmt.Errorf("borrow the guest's connection: %w", err)
	}
	return c, nil
}

func borrowOver(socket *net.UnixConn, o Options) (*Client, error) {
	if err := sameUser(socket); err != nil {
		return nil, err
	}
	terminals := &atomic.Int32{}
	raw := newEar(socket, terminals)
	conn, channels, requests, err := ssh.NewClientConn(raw, "lender", &ssh.ClientConfig{
		User: o.User,
		// The socket says who this is, which only this user can have made. Its key is of no account.
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
	})
	if err != nil {
		return nil, err
	}
	c := newClient(ssh.NewClient(conn, channels, requests), raw, terminals, o)
	c.borrowed = true
	return c, nil
}

// Borrowed tells whether the connection is another process's, which all that is said goes through.
func (c *Client) Borrowed() bool { return c.borrowed }

// sameUser fails unless the process at the other end of a socket is this user's.
func sameUser(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var uid int
	var uidErr error
	if err := raw.Control(func(fd uintptr) { uid, uidErr = peerUID(int(fd)) }); err != nil {
		return err
	}
	if uidErr != nil {
		return fmt.Errorf("whose the other end is: %w", uidErr)
	}
	if uid != os.Geteuid() {
		return fmt.Errorf("the other end is a process of user %d, not of this one", uid)
	}
	return nil
}
