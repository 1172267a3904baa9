package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
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
	// MaxConns is how many connections the guest may have at once; 0 is DefaultMaxConns. More are closed unread.
	MaxConns int

	headerTime time.Duration // for tests; 0 is the constant
}

// Serve proxies for the connections of l until ctx ends (then the error is ctx's) or l fails, closes l and all
// connections, and returns when nothing of it runs any more.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	if p.Gate == nil || p.Gate.Policy == nil {
		return errors.New("serve tunnel: no policy given")
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	var running sync.WaitGroup
	defer func() {
		cancel()
		stop()
		_ = l.Close()
		running.Wait()
	}()
	limit := int64(p.MaxConns)
	if limit <= 0 {
		limit = DefaultMaxConns
	}
	var open atomic.Int64
	var told time.Time
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
		if open.Add(1) > limit {
			// Never wait here: connections nobody accepts hold up the whole SSH connection.
			open.Add(-1)
			_ = conn.Close()
			if now := time.Now(); now.Sub(told) >= time.Second {
				told = now
				p.Gate.log(Connection{Time: now, Reason: fmt.Sprintf("is refused: the guest has %d connections open", limit)})
			}
			continue
		}
		running.Go(func() {
			defer open.Add(-1)
			p.serveConn(ctx, conn)
		})
	}
}
