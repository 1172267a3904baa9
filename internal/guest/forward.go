package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxForwarded is how many connections from the guest one client has at once. Each can hold 2 MiB that nobody reads.
const maxForwarded = 256

// Listen listens on a TCP address of the guest's loopback, such as "127.0.0.1:1080" (port 0: any free one). Connections
// accepted there end in this process; their remote address is the guest's word. They know no deadlines: close them
// instead. More than 256 at once over one client, listeners taken together, are refused before they cost anything, also
// if the guest's SSH server never admits that one has ended.
func (c *Client) Listen(addr string) (*Listener, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("open a port in the guest: %w", err)
	}
	return await(context.Background(), c, "open a port in the guest", func() (*Listener, error) {
		return c.forwards.listen(c, at)
	}, func(l *Listener) { _ = l.Close() })
}

// forwards are the ports of the guest that lead here. (x/crypto/ssh has them too, but accepts every channel the guest
// opens, and has its connection wait for whoever should accept from a listener.)
type forwards struct {
	mu     sync.Mutex // guards all below
	byAddr map[netip.AddrPort]*Listener
	open   int
	ended  bool
}

// serve sorts out the channels the guest opens, until the connection ends.
func (f *forwards) serve(opened <-chan ssh.NewChannel) {
	for ch := range opened {
		f.sort(ch)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for addr, l := range f.byAddr {
		delete(f.byAddr, addr)
		close(l.queue)
	}
}

// sort hands one channel to its listener, or refuses it. A refused one leaves nothing behind.
func (f *forwards) sort(ch ssh.NewChannel) {
	var m struct { // RFC 4254, 7.2
		Addr       string
		Port       uint32
		OriginAddr string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(ch.ExtraData(), &m); err != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "not a forwarded connection")
		return
	}
	addr, err := addrPort(m.Addr, m.Port)
	origin, originErr := addrPort(m.OriginAddr, m.OriginPort)
	if err != nil || originErr != nil {
		_ = ch.Reject(ssh.ConnectionFailed, "not a forwarded connection")
		return
	}
	switch f.take(addr, incoming{ch, origin}) {
	case nobodyListens:
		_ = ch.Reject(ssh.Prohibited, "nobody listens")
	case tooMany:
		_ = ch.Reject(ssh.ResourceShortage, "too many connections")
	case taken:
	}
}

type outcome int

const (
	taken outcome = iota
	nobodyListens
	tooMany
)

func (f *forwards) take(addr netip.AddrPort, in incoming) outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.byAddr[addr]
	if l == nil {
		return nobodyListens
	}
	if f.open >= maxForwarded {
		return tooMany
	}
	f.open++
	l.queue <- in // has room for all there can be
	return taken
}

func (f *forwards) release() {
	f.mu.Lock()
	f.open--
	f.mu.Unlock()
}

func addrPort(addr string, port uint32) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err == nil && port > 65535 {
		err = errors.New("not a port")
	}
	return netip.AddrPortFrom(a, uint16(port)), err
}

func (f *forwards) listen(c *Client, at netip.AddrPort) (*Listener, error) {
	type request struct { // RFC 4254, 7.1
		Addr string
		Port uint32
	}
	l := &Listener{
		all: f, client: c, at: at, queue: make(chan incoming, maxForwarded), closed: make(chan struct{}),
		asked: ssh.Marshal(request{at.Addr().String(), uint32(at.Port())}),
	}
	if at.Port() != 0 {
		// Before the guest hears of it: connections may come at once.
		if err := f.add(l); err != nil {
			return nil, err
		}
	}
	ok, answer, err := c.ssh.SendRequest("tcpip-forward", true, l.asked)
	if err == nil && !ok {
		err = fmt.Errorf("guest does not let us listen on %s", at)
	}
	if err != nil {
		f.remove(l)
		return nil, err
	}
	if at.Port() == 0 {
		var given struct{ Port uint32 }
		if err := ssh.Unmarshal(answer, &given); err != nil || given.Port == 0 || given.Port > 65535 {
			return nil, errors.New("guest does not say which port it listens on")
		}
		l.at = netip.AddrPortFrom(at.Addr(), uint16(given.Port))
		l.asked = ssh.Marshal(request{at.Addr().String(), given.Port})
		if err := f.add(l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (f *forwards) add(l *Listener) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return io.EOF
	case f.byAddr[l.at] != nil:
		return fmt.Errorf("listening on %s already", l.at)
	case f.byAddr == nil:
		f.byAddr = map[netip.AddrPort]*Listener{}
	}
	f.byAddr[l.at] = l
	return nil
}

func (f *forwards) remove(l *Listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byAddr[l.at] == l {
		delete(f.byAddr, l.at)
		close(l.queue)
	}
}

type incoming struct {
	ch     ssh.NewChannel
	origin netip.AddrPort
}

// Listener listens in the guest.
type Listener struct {
	all    *forwards
	client *Client
	at     netip.AddrPort
	asked  []byte // the request for it
	queue  chan incoming

	once   sync.Once
	closed chan struct{}
}

// Accept waits for the next connection. After Close or Stop the error is net.ErrClosed, after the end of the connection
// to the guest it is io.EOF.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		in, ok := <-l.queue
		if !ok {
			select {
			case <-l.closed:
				return nil, net.ErrClosed
			default:
				return nil, io.EOF
			}
		}
		ch, requests, err := in.ch.Accept()
		if err != nil {
			l.all.release()
			continue // the connection to the guest has ended, or is about to: the queue's end will tell
		}
		go func() {
			ssh.DiscardRequests(requests)
			l.all.release() // only now has the library let go of it
		}()
		return &forwarded{Channel: ch, local: l.at, remote: in.origin}, nil
	}
}

// Stop has the guest listen no more. Connections that its SSH server has taken until then are there for Accept, which
// returns net.ErrClosed after them.
func (l *Listener) Stop(ctx context.Context) error {
	_, err := await(ctx, l.client, "close a port in the guest", func() (struct{}, error) { return struct{}{}, l.cancel() }, nil)
	l.end()
	return err
}

// Close ends the listener; connections accepted before go on.
func (l *Listener) Close() error {
	if l.end() {
		// Nobody waits for the answer, which on a broken connection does not come.
		go func() { _ = l.cancel() }()
	}
	for in := range l.queue {
		_ = in.ch.Reject(ssh.Prohibited, "nobody listens")
		l.all.release()
	}
	return nil
}

func (l *Listener) cancel() error {
	_, _, err := l.client.ssh.SendRequest("cancel-tcpip-forward", true, l.asked)
	return err
}

// end has no more connections come, and tells whether they would have until now.
func (l *Listener) end() (now bool) {
	l.once.Do(func() {
		now = true
		close(l.closed)
		l.all.remove(l)
	})
	return now
}

// Addr is the address in the guest.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// forwarded is a connection from the guest.
type forwarded struct {
	ssh.Channel
	local, remote netip.AddrPort
}

func (c *forwarded) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *forwarded) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (*forwarded) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (*forwarded) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (*forwarded) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
