package catch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/calmenu/calmenu/internal/guest/serial"
	"github.com/calmenu/calmenu/internal/tunnel/mux"
)

// MaxStreams is how many connections there may be at once over the serial port: as many as over SSH.
const MaxStreams = 256

// portTime is how long the host may take to say its word on the serial port.
const portTime = 20 * time.Second

// port leads redirected connections to the host over a serial port, by one session of it.
type port struct {
	session *mux.Session
	l       *net.TCPListener
}

func (p *port) number() uint16 { return uint16(p.l.Addr().(*net.TCPAddr).Port) }

// usePort has what is redirected go over the serial port, on which the host waits for a word, until that ends, and what is
// said to the proxy too. All that is dialled after that goes through the SSH server again.
func (k *keeper) usePort(word string) {
	p, err := k.openPort(word)
	if err != nil {
		k.log.add("the serial port: %v", err)
		k.losePort(nil, err)
		return
	}
	k.mu.Lock()
	k.setPort(p, nil)
	k.mu.Unlock()
	err = p.serve(k)
	_ = p.l.Close()
	_ = p.session.Close()
	k.log.add("the serial port: %v", err)
	k.losePort(p, err)
}

// losePort leads what is redirected to the SSH server, unless it goes over another session already.
func (k *keeper) losePort(p *port, problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.port == p {
		k.setPort(nil, problem)
	}
}

func (k *keeper) openPort(word string) (*port, error) {
	ctx, cancel := context.WithTimeout(context.Background(), portTime)
	defer cancel()
	f, err := serial.Open(ctx, k.options.Program, k.options.Serial)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	in := bufio.NewReaderSize(f, mux.MaxData)
	if _, err = io.WriteString(f, word); err == nil {
		err = serial.SkipTo(in, word)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &port{mux.Client(f, in, MaxStreams), l}, nil
}

// setPort leads what is redirected to the serial port, or back, and tells the host. Its caller holds mu.
func (k *keeper) setPort(p *port, problem error) {
	k.port = p
	r := k.report
	if m, ok := k.method.(interface{ lead(t target) error }); ok {
		if err := m.lead(k.target()); err != nil {
			r.Problem = line(err)
		}
	}
	r.PortProblem = ""
	if problem != nil {
		r.PortProblem = line(problem)
	}
	k.tell(r)
}

// target is where the kernel is to lead which connections.
type target struct {
	port  uint16   // of the loopback
	proxy []uint16 // ports of the loopback that are led there too, though what is dialled there goes nowhere else
}

// target is the present one: the SSH server serves the proxy's ports itself. Its caller holds mu.
func (k *keeper) target() target {
	if k.port != nil {
		return target{k.port.number(), k.options.Proxy}
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
func (p *port) serve(k *keeper) error {
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
			defer conn.Close()
			to, err := wantedTo(conn)
			if err != nil || !k.options.led(to) {
				return
			}
			st, err := p.session.Open(to.String())
			if err != nil {
				k.log.add("a connection to %v: %v", to, err)
				return
			}
			k.mu.Lock()
			k.served++
			k.mu.Unlock()
			lead(conn, st)
		}()
	}
}

// lead passes bytes both ways until both sides have ended. What ends otherwise ends both.
func lead(conn *net.TCPConn, st *mux.Stream) {
	defer conn.Close()
	defer func() { _ = st.Close() }()
	st.OnCut(func() { _ = conn.SetReadDeadline(time.Now()) }) // nobody reads what it says any more
	up := make(chan struct{})
	go func() {
		defer close(up)
		if pass(st, conn) != nil {
			_ = st.Close()
			_ = conn.Close()
		}
	}()
	if pass(conn, st) != nil {
		_ = st.Close()
		_ = conn.Close()
	}
	<-up
}

// half is what can be written to until its CloseWrite.
type half interface {
	io.Writer
	CloseWrite() error
}

func pass(to half, from io.Reader) error {
	b := make([]byte, mux.Piece)
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
	}
}
