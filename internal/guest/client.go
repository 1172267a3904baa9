package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Client is an authenticated connection to one guest. All methods are safe to call at once from several goroutines;
// once Done is closed they all fail with Err.
type Client struct {
	ssh      *ssh.Client
	raw      *ear
	options  Options
	borrowed bool // of another process

	terminals *atomic.Int32 // that are shown over it

	forwards forwards

	once sync.Once
	done chan struct{}
	err  error // written before done is closed
}

func newClient(sc *ssh.Client, raw *ear, terminals *atomic.Int32, o Options) *Client {
	c := &Client{ssh: sc, raw: raw, terminals: terminals, options: o, done: make(chan struct{})}
	go func() {
		err := sc.Wait()
		if err == nil || errors.Is(err, io.EOF) {
			c.fail(ErrLost)
			return
		}
		c.fail(fmt.Errorf("%w: %w", ErrLost, err))
	}()
	go c.forwards.serve(sc.HandleChannelOpen("forwarded-tcpip"))
	if o.Keepalive > 0 {
		go c.keepalive()
	}
	return c
}

// keepalive closes a connection whose other end stopped answering. The library has no such thing (golang/go#19338), and
// without it a request to a guest that is gone blocks for ever.
func (c *Client) keepalive() {
	ticker := time.NewTicker(c.options.Keepalive)
	defer ticker.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-ticker.C:
		}
		if err := c.Ping(context.Background()); err != nil {
			c.fail(fmt.Errorf("%w: %w", ErrLost, err))
			return
		}
	}
}

// keepaliveRequest asks for a sign of life.
const keepaliveRequest = "keepalive@openssh.com"

// Ping asks the guest for a sign of life and waits for it, at most Options.Timeout.
func (c *Client) Ping(ctx context.Context) error {
	_, err := await(ctx, c, "answer", func() (struct{}, error) {
		// OpenSSH answers "failure" to it, which is an answer.
		_, _, err := c.ssh.SendRequest(keepaliveRequest, true, nil)
		return struct{}{}, err
	}, nil)
	return err
}

func (c *Client) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
		// The transport first: closing the SSH connection politely may block on a peer that does not read.
		_ = c.raw.Close()
		_ = c.ssh.Close()
	})
}

// Done is closed when the connection has ended, for whatever reason.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the connection ended (ErrLost or ErrClosed, wrapped), or nil while it lives.
func (c *Client) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection, and with it every command, forward and file transfer over it.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	return nil
}

// ServerVersion is the version line of the guest's SSH server. It is the guest's word.
func (c *Client) ServerVersion() string { return string(c.ssh.ServerVersion()) }

// await runs f, a request of the SSH library, which has no contexts, and gives up on it when ctx or the connection
// ends or the guest does not answer in time. drop disposes of a result that comes when nobody waits any more.
func await[T any](ctx context.Context, c *Client, what string, f func() (T, error), drop func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if err := c.Err(); err != nil {
		return none, fmt.Errorf("%s: %w", what, err)
	}
	if err := context.Cause(ctx); err != nil {
		return none, fmt.Errorf("%s: %w", what, err)
	}
	answer := make(chan result)
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		v, err := f()
		select {
		case answer <- result{v, err}:
		case <-quit:
			if err == nil && drop != nil {
				drop(v)
			}
		}
	}()
	timer := time.NewTimer(c.options.Timeout)
	defer timer.Stop()
	select {
	case r := <-answer:
		if r.err != nil {
			return none, fmt.Errorf("%s: %w", what, c.explain(r.err))
		}
		return r.v, nil
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case <-c.done:
		return none, fmt.Errorf("%s: %w", what, c.err)
	case <-timer.C:
		return none, fmt.Errorf("%s: guest did not answer within %v: %w",
			what, c.options.Timeout, context.DeadlineExceeded)
	}
}

// settle is how long to wait for the news that the connection broke after a request failed in a way that suggests it.
const settle = 500 * time.Millisecond

// explain replaces the library's bare io.EOF by the reason for which the connection ended.
func (c *Client) explain(err error) error {
	var missing *ssh.ExitMissingError
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.As(err, &missing) {
		return err
	}
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.err
	case <-timer.C:
		return err
	}
}
