package catch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel/mux"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

// MaxStreams is how many connections there may be at once over a line: as many as over SSH.
const MaxStreams = 256

// lineTime is how long the host may take to be met at the other end of a line.
const lineTime = 20 * time.Second

// line leads redirected connections to the host past the guest's SSH server, by one session of it.
type line struct {
	kind    wire.Line
	session *mux.Session
	piece   int // bytes that are best passed on at once
	l       *net.TCPListener
}

func (p *line) number() uint16 { return uint16(p.l.Addr().(*net.TCPAddr).Port) }

// useLine has what is redirected go over a line until that ends, and what is said to the proxy too. All that is dialled
// after that goes through the SSH server again.
func (k *keeper) useLine(kind wire.Line, meet func(context.Context) (*mux.Session, mux.Sizes, error)) {
	p, err := newLine(kind, meet)
	if err != nil {
		k.log.add("the %s: %v", kind, err)
		k.loseLine(nil, err)
		return
	}
	k.mu.Lock()
	k.setLine(p, nil)
	k.mu.Unlock()
	err = p.serve(k)
	_ = p.l.Close()
	_ = p.session.Close()
	k.log.add("the %s: %v", kind, err)
	k.loseLine(p, err)
}

// loseLine leads what is redirected to the SSH server, unless it goes over another line already.
func (k *keeper) loseLine(p *line, problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.line == p {
		k.setLine(nil, problem)
	}
}

func newLine(kind wire.Line, meet func(context.Context) (*mux.Session, mux.Sizes, error)) (*line, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lineTime)
	defer cancel()
	session, sizes, err := meet(ctx)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	return &line{kind, session, sizes.Piece, l}, nil
}

// setLine leads what is redirected to a line, or back, and tells the host. Its caller holds mu.
func (k *keeper) setLine(p *line, problem error) {
	k.line = p
	r := k.report
	if m, ok := k.method.(leader); ok {
		if err := m.lead(k.target()); err != nil {
			r.Problem = inOneLine(err)
		}
	}
	r.LineProblem = ""
	if problem != nil {
		r.LineProblem = inOneLine(problem)
	}
	k.tell(r)
}

// leader is a method that can lead connections elsewhere, from now on.
type leader interface{ lead(t target) error }

// target is where the kernel is to lead which connections.
type target struct {
	port  uint16   // of the loopback
	proxy []uint16 // ports of the loopback that are led there too, though what is dialled there goes nowhere else
}

// target is the present one: the SSH server serves the proxy's ports itself. Its caller holds mu.
func (k *keeper) target() target {
	if k.line != nil {
		return target{k.line.number(), k.options.Proxy}
	}
	return target{port: k.options.Port}
}

// led tells whether a connection that wanted to go somewhere is the host's affair.
func (o *Options) led(to netip.AddrPort) bool {
	if to.Addr().IsLoopback() {
		return to.Addr() == loopback && slices.Contains(o.Proxy, to.Port()) // else somebody dialled the port itself
	}
	return to.IsValid()
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// serve leads connections to the host until the session is over. The error is why.
func (p *line) serve(k *keeper) error {
	go func() {
		<-p.session.Done()
		_ = p.l.Close()
	}()
	for {
		conn, err := p.l.AcceptTCP()
		if err != nil {
			return errors.Join(p.session.Err(), err)
		}
		go func() {
			to, err := wantedTo(conn)
			if err != nil || !k.options.led(to) {
				_ = conn.Close()
				return
			}
			p.carry(k, conn, to)
		}()
	}
}

// carry leads one connection to the host.
func (p *line) carry(k *keeper, conn *net.TCPConn, to netip.AddrPort) {
	defer conn.Close()
	st, err := p.session.Open(to.String())
	if err != nil {
		k.log.add("a connection to %v: %v", to, err)
		return
	}
	k.mu.Lock()
	k.served++
	k.mu.Unlock()
	Lead(conn, st, p.piece)
}

// Lead passes bytes both ways until both sides have ended, piece bytes at once at most. What ends otherwise ends both.
func Lead(conn *net.TCPConn, st *mux.Stream, piece int) {
	defer conn.Close()
	defer func() { _ = st.Close() }()
	st.OnCut(func() { _ = conn.SetReadDeadline(time.Now()) }) // nobody reads what it says any more
	up := make(chan struct{})
	go func() {
		defer close(up)
		if pass(st, conn, piece) != nil {
			_ = st.Close()
			_ = conn.Close()
		}
	}()
	_, err := st.WriteTo(conn)
	if err == nil {
		err = conn.CloseWrite()
	}
	if err != nil {
		_ = st.Close()
		_ = conn.Close()
	}
	<-up
}

// firstPiece is how much is passed on at once until that is not enough, in bytes.
const firstPiece = 16 << 10

func pass(to *mux.Stream, from io.Reader, piece int) error {
	b := make([]byte, firstPiece)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return fmt.Errorf("writing: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return to.CloseWrite()
		}
		if err != nil {
			return err
		}
		if n == len(b) && n < piece {
			b = make([]byte, piece)
		}
	}
}
