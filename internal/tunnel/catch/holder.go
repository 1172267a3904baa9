package catch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// wants tells where connections wanted to go that were redirected to this program.
type wants interface {
	wanted(conn *net.TCPConn) (netip.AddrPort, error)
}

// holder takes the connections that the kernel redirects, and leads them to the host: over a line while there is one, else
// through the guest's SSH server. That is not told where they wanted to go; the host asks.
type holder struct {
	k     *keeper
	l     *net.TCPListener
	wants wants
	proof chan struct{} // has room for one: a connection to nowhere has come
}

func newHolder(k *keeper, w wants) (*holder, error) {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		return nil, fmt.Errorf("listening for connections: %w", err)
	}
	return &holder{k: k, l: l, wants: w, proof: make(chan struct{}, 1)}, nil
}

func (h *holder) port() uint16 { return uint16(h.l.Addr().(*net.TCPAddr).Port) }

// acceptAgain is how long to wait when the guest cannot give this program another connection.
const acceptAgain = 20 * time.Millisecond

// serve leads connections until the listener is closed. Those it has go on then.
func (h *holder) serve() {
	for {
		conn, err := h.l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			h.k.log.add("a connection: %v", err)
			pause(context.Background(), acceptAgain)
		default:
			go h.lead(conn)
		}
	}
}

func (h *holder) lead(conn *net.TCPConn) {
	to, err := h.wants.wanted(conn)
	if err != nil {
		h.k.log.add("a connection: %v", err)
	}
	if err != nil || !h.k.options.led(to) || to == nowhere && h.proves() {
		_ = conn.Close()
		return
	}
	if p := h.k.presentLine(); p != nil {
		p.carry(h.k, conn, to)
		return
	}
	defer conn.Close()
	if err := h.leadThroughSSH(conn, to); err != nil {
		h.k.log.add("a connection to %v: %v", to, err)
		_ = conn.SetLinger(0) // its program is told that it failed, not that it ended
	}
}

// nowhere is an address of nobody's (RFC 5737, TEST-NET-2). A connection to it shows whether connections are redirected.
var nowhere = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, 1}), 9)

// proofTime is how long a connection to nowhere may take to be redirected.
const proofTime = 10 * time.Second

// prove dials nowhere and waits until that has come here: by rules that are taken and do nothing, the guest would have no
// network, where another method might give it one.
func (h *holder) prove(ctx context.Context, nowhere netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", nowhere.String())
	if errors.Is(err, syscall.ENETUNREACH) {
		return nil // the guest has no route now, and nothing that could be redirected
	}
	if err == nil {
		defer conn.Close()
		select {
		case <-h.proof:
			return nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return fmt.Errorf("the kernel has the rules, but does not redirect by them: %w", err)
}

// proves tells whether a connection to nowhere is the one that prove waits for.
func (h *holder) proves() bool {
	select {
	case h.proof <- struct{}{}:
		return true
	default:
		return false
	}
}

// leadThroughSSH leads one connection to the port that the SSH server forwards.
func (h *holder) leadThroughSSH(conn *net.TCPConn, to netip.AddrPort) error {
	at := netip.AddrPortFrom(loopback, h.k.options.Port)
	if to.Addr().IsLoopback() {
		at = to // one of the proxy's, redirected just before the line ended
	}
	var near netip.AddrPort // known before the SSH server knows of the connection: the host may ask at once
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		cerr := raw.Control(func(fd uintptr) { near, err = bind(int(fd)) })
		if err = errors.Join(cerr, err); err == nil {
			h.k.origins.note(near, to)
		}
		return err
	}}
	ctx, cancel := context.WithTimeout(context.Background(), sshTime)
	defer cancel()
	there, err := d.DialContext(ctx, "tcp4", at.String())
	defer h.k.origins.forget(near)
	if err != nil {
		return err
	}
	join(conn, there.(*net.TCPConn))
	return nil
}

// sshTime is how long the guest's own SSH server may take to accept a connection.
const sshTime = 10 * time.Second

// bind binds a socket to a free port of the loopback, which it returns.
func bind(fd int) (at netip.AddrPort, err error) {
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: loopback.As4()}); err != nil {
		return at, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return at, err
	}
	return netip.AddrPortFrom(loopback, uint16(name.(*syscall.SockaddrInet4).Port)), nil
}

// origins are where connections wanted to go, by the guest's end of what leads them to the SSH server. They outlive the
// method that led them there: the host may ask after it.
type origins struct {
	mu     sync.Mutex // guards byNear
	byNear map[netip.AddrPort]netip.AddrPort
}

func (o *origins) note(near, to netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byNear == nil {
		o.byNear = map[netip.AddrPort]netip.AddrPort{}
	}
	o.byNear[near] = to
}

func (o *origins) forget(near netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byNear, near)
}

// of returns where a connection to the SSH server is to lead; the zero value for those of others.
func (o *origins) of(near netip.AddrPort) netip.AddrPort {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byNear[near]
}

// led tells whether a connection that wanted to go somewhere is the host's affair.
func (o *Options) led(to netip.AddrPort) bool {
	if to.Addr().IsLoopback() {
		return to.Addr() == loopback && slices.Contains(o.Proxy, to.Port()) // else somebody dialled the port itself
	}
	return to.IsValid()
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// join passes bytes between two connections until both directions have ended, or one has failed.
func join(a, b *net.TCPConn) {
	var both sync.WaitGroup
	pass := func(to, from *net.TCPConn) {
		_, err := io.Copy(to, from)
		if err == nil {
			err = to.CloseWrite()
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
		}
	}
	both.Go(func() { pass(a, b) })
	both.Go(func() { pass(b, a) })
	both.Wait()
	_ = a.Close()
	_ = b.Close()
}
