package tunnel

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// Packets judges a destination for UDP and returns a socket that reaches no other. The host's own proxy carries no UDP:
// what lies behind it is refused. The record is written when the socket is closed, or at once if it is refused.
func (g *Gate) Packets(ctx context.Context, d Destination) (net.Conn, error) {
	record := newRecord(d)
	r, err := g.admit(ctx, d, record)
	if err == nil && r.upstream != nil {
		err = &RefusedError{hostPort(record.Host, d.Port) + " is refused: the host's proxy carries no UDP"}
		record.Allowed, record.Reason = false, "is refused: the host's proxy carries no UDP"
	}
	var conn net.Conn
	if err == nil {
		conn, err = g.dialer()(ctx, "udp", hostPort(r.decision.Addr.String(), d.Port))
	}
	if err != nil {
		g.finish(record)
		return nil, err
	}
	return &packetConn{Conn: conn, gate: g, record: record}, nil
}

// packetConn counts what passes.
type packetConn struct {
	net.Conn
	gate     *Gate
	record   *Connection
	once     sync.Once
	up, down atomic.Int64
}

func (c *packetConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.down.Add(int64(n))
	return n, err
}

func (c *packetConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.up.Add(int64(n))
	return n, err
}

func (c *packetConn) Close() error {
	c.once.Do(func() {
		c.record.BytesUp, c.record.BytesDown = c.up.Load(), c.down.Load()
		c.gate.finish(c.record)
	})
	return c.Conn.Close()
}
