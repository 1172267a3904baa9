package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Limits of a Proxy.
const (
	DefaultMaxConns = 128 // an SSH channel can hold 2 MiB unread, so this bounds memory too
	maxHeader       = 64 << 10
	headerTime      = 15 * time.Second // for one request's header
	idleTime        = 60 * time.Second // between requests of one connection
)

// Proxy is a proxy on the guest's loopback, HTTP and SOCKS5 on one port: CONNECT of either, and plain HTTP in absolute
// form. Only Gate must be set.
type Proxy struct {
	Gate *Gate
	// MaxConns is how many connections the guest may have at once, whichever way they come; 0 is DefaultMaxConns. More
	// are closed unread.
	MaxConns int

	headerTime time.Duration // for tests; 0 is the constant

	mu   sync.Mutex // guards what follows
	open int        // connections
	told time.Time  // when the log was told last that there are too many
}

// enter takes a place for a connection, which leave gives back; false if there is none.
func (p *Proxy) enter() bool {
	limit := p.MaxConns
	if limit <= 0 {
		limit = DefaultMaxConns
	}
	now := time.Now()
	p.mu.Lock()
	full := p.open >= limit
	if !full {
		p.open++
	}
	tell := full && now.Sub(p.told) >= time.Second
	if tell {
		p.told = now
	}
	p.mu.Unlock()
	if tell {
		p.Gate.log(Connection{Time: now, Reason: fmt.Sprintf("is refused: the guest has %d connections open", limit)})
	}
	return !full
}

func (p *Proxy) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

// ServeConn proxies for one connection until it or ctx ends, and closes it.
func (p *Proxy) ServeConn(ctx context.Context, conn Stream) {
	defer conn.Close()
	if p.enter() {
		defer p.leave()
		p.serveConn(ctx, conn)
	}
}

// Serve proxies for the connections of l, which must be Streams, until ctx ends (then the error is ctx's) or l fails. Then it
// closes l. Connections go on until they end, or ctx does, and Serve returns when none is left.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	if p.Gate == nil || p.Gate.Policy == nil {
		return errors.New("serve tunnel: no policy given")
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	var running sync.WaitGroup
	defer func() {
		stop()
		_ = l.Close()
		running.Wait()
	}()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("serve tunnel: %w", err)
		}
		near, ok := conn.(Stream)
		if !ok || !p.enter() {
			// Never wait here: connections nobody accepts hold up the whole SSH connection.
			_ = conn.Close()
			continue
		}
		running.Go(func() {
			defer p.leave()
			p.serveConn(ctx, near)
		})
	}
}
