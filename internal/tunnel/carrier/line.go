package carrier

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/guest/serial"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/direct"
	"github.com/calmenu/calmenu/internal/tunnel/mux"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
	"github.com/calmenu/calmenu/internal/vm"
)

// lineTime is how long the guest's program may take until connections go over a line: loading a serial port's driver, and
// waiting for the program before it to end, take their time in an emulated guest.
const lineTime = 30 * time.Second

// line carries many connections past the guest's SSH server.
type line interface {
	// offer tells the guest's program of it.
	offer(ctx context.Context, g *caught) error
	// meet waits for that at the other end. The session owns what is open then.
	meet(ctx context.Context) (*mux.Session, error)
	io.Closer
}

// overLine carries redirected connections and the proxy's over a line, as long as that and the conversation with the guest's
// program last. Without one they go through the SSH server.
func (r *Carrier) overLine(ctx context.Context, s *lineServer, open func(context.Context) (line, error)) error {
	g := s.caught
	if err := g.until(ctx, func(p wire.Report) bool { return p.Method != "" }); err != nil {
		return err
	}
	l, err := open(ctx)
	if errors.Is(err, vm.ErrUnsupported) {
		<-ctx.Done() // it will not get one while this connection lasts
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer func() {
		cancel(nil)
		_ = l.Close()
		running.Wait()
	}()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	// The next that the program tells is whether it has it.
	n, _ := g.told()
	if err := l.offer(ctx, g); err != nil {
		return err
	}
	running.Go(func() { cancel(g.hasLine(ctx, n)) })
	session, err := l.meet(ctx)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = session.Close() })
		err = s.serve(ctx, session)
		stop()
		_ = session.Close()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("the guest's line: %w", err)
}

// hasLine returns when the guest's program does not have the line, any more or in time. n is from before it was told of it.
func (g *caught) hasLine(ctx context.Context, n uint64) error {
	first, cancel := context.WithTimeoutCause(ctx, lineTime, errors.New("the guest's program does not take it"))
	defer cancel()
	for wait := first; ; wait = ctx {
		if err := g.news(wait, n); err != nil {
			return err
		}
		var p wire.Report
		if n, p = g.told(); p.Line == "" {
			return fmt.Errorf("the guest's program: %q", p.LineProblem)
		}
	}
}

// serialLine is a serial port.
type serialLine struct {
	net.Conn
	word string // that each end says first
}

func (r *Carrier) openSerial(ctx context.Context) (line, error) {
	conn, err := r.Port(ctx)
	if err != nil {
		return nil, err
	}
	return &serialLine{conn, serial.Word()}, nil
}

func (l *serialLine) offer(_ context.Context, g *caught) error {
	return g.say(wire.Frame{Kind: wire.Port, Payload: []byte(l.word)})
}

func (l *serialLine) meet(context.Context) (*mux.Session, error) {
	in := bufio.NewReaderSize(l, 64<<10)
	err := serial.SkipTo(in, l.word)
	if err == nil {
		_, err = io.WriteString(l, l.word) // what is left of an earlier session is before it
	}
	if err != nil {
		return nil, err
	}
	return mux.Server(l, in, mux.Serial, catch.MaxStreams), nil
}

// directLine is a direct connection.
type directLine struct {
	dial func(context.Context, uint16) (net.Conn, error)
	id   *direct.Identity
	at   wire.Place // where the guest's program waits
}

func (r *Carrier) openDirect(context.Context) (line, error) {
	id, err := direct.NewIdentity()
	if err != nil {
		return nil, err
	}
	return &directLine{dial: r.DialPort, id: id}, nil
}

func (l *directLine) offer(ctx context.Context, g *caught) error {
	pin := l.id.Pin()
	payload, err := json.Marshal(wire.Offer{Pin: pin[:]})
	if err != nil {
		return err
	}
	reply, err := g.ask(ctx, wire.Direct, payload)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply, &l.at); err != nil || l.at.Port == 0 || len(l.at.Pin) != len(pin) {
		return fmt.Errorf("the guest's program does not listen: %q", reply)
	}
	return nil
}

func (l *directLine) meet(ctx context.Context) (*mux.Session, error) {
	raw, err := l.dial(ctx, l.at.Port)
	if err != nil {
		return nil, err
	}
	conn, err := l.id.Dial(ctx, raw, direct.Pin(l.at.Pin))
	if err != nil {
		return nil, err
	}
	return mux.Server(conn, bufio.NewReader(conn), mux.Network, catch.MaxStreams), nil
}

// Close implements io.Closer: nothing is open before the two have met.
func (*directLine) Close() error { return nil }

// lineServer serves what comes over a line.
type lineServer struct {
	caught *caught
	places chan struct{} // of redirected connections, whichever way they come
	proxy  *tunnel.Proxy
}

// serve serves the streams of a session until that is over. The error is why.
func (s *lineServer) serve(ctx context.Context, session *mux.Session) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() {
		cancel()
		running.Wait()
	}()
	for {
		st, err := session.Accept()
		if err != nil {
			return err
		}
		running.Go(func() {
			defer func() { _ = st.Close() }()
			defer context.AfterFunc(ctx, func() { _ = st.Close() })()
			if to, err := netip.ParseAddrPort(st.Target()); err == nil && to.Addr().Zone() == "" {
				s.serveStream(ctx, to, st)
			}
		})
	}
}

// serveStream serves one stream that leads somewhere, in the guest's words.
func (s *lineServer) serveStream(ctx context.Context, to netip.AddrPort, st tunnel.Stream) {
	if to.Addr() == loopback && slices.Contains(proxyPorts, to.Port()) {
		s.proxy.ServeConn(ctx, st)
		return
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
		s.caught.carryTo(ctx, to, st)
	default:
	}
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
