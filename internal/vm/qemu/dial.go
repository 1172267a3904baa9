package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// QEMU's network accepts a connection to the forwarded port at once, whether or not the guest listens, and one made
// before the guest has a network may hang in retransmissions long after it has. So a connection counts from the
// server's first bytes on, and while one is silent another is tried beside it.
const (
	hedgeEvery = time.Second
	hedgeMost  = 6
)

// DialSSH returns a connection on which the guest's SSH server has begun to speak.
func (d *Driver) DialSSH(ctx context.Context, name string) (net.Conn, error) {
	p, err := d.runningProcess(ctx, name)
	if err != nil {
		return nil, err
	}
	port, err := sshPort(p.argv)
	if err != nil {
		return nil, fmt.Errorf("reaching machine %q: %w", name, err)
	}
	conn, err := firstToSpeak(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("reaching the SSH server of machine %q: %w", name, err)
	}
	return conn, nil
}

type spoken struct {
	conn net.Conn
	err  error
}

// firstToSpeak dials address until a connection's first byte arrives. It fails as soon as one connection fails: the
// guest then answers, but not yet with SSH.
func firstToSpeak(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan spoken)
	live := 0
	try := func() {
		live++
		go func() {
			conn, err := dialSpeaker(ctx, address)
			select {
			case results <- spoken{conn, err}:
			case <-ctx.Done():
				if conn != nil {
					conn.Close()
				}
			}
		}()
	}
	try()
	ticker := time.NewTicker(hedgeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case r := <-results:
			return r.conn, r.err
		case <-ticker.C:
			if live < hedgeMost {
				try()
			}
		}
	}
}

// dialSpeaker returns a connection once its first byte has been read.
func dialSpeaker(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	first := make([]byte, 256)
	n, err := conn.Read(first)
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if n == 0 || err != nil {
		conn.Close()
		return nil, fmt.Errorf("waiting for its greeting: %w", err)
	}
	return &greeted{Conn: conn, early: first[:n]}, nil
}

// greeted is a connection whose first bytes were read already.
type greeted struct {
	net.Conn
	early []byte
}

func (g *greeted) Read(p []byte) (int, error) {
	if len(g.early) > 0 {
		n := copy(p, g.early)
		g.early = g.early[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}

// NetConn is the connection below, which it writes to.
func (g *greeted) NetConn() net.Conn { return g.Conn }
