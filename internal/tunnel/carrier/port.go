package carrier

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/guest/serial"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/mux"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
	"github.com/calmenu/calmenu/internal/vm"
)

// portTime is how long the guest's program may take until connections go over the serial port: loading its driver, and
// waiting for the program before it to end, take their time in an emulated guest.
const portTime = 30 * time.Second

var errPort = errors.New("the guest's serial port")

// overPort carries redirected connections and the proxy's over the guest's serial port, as long as that and the
// conversation with the guest's program last. Without it they go through the SSH server.
func (r *Carrier) overPort(ctx context.Context, s *portServer) error {
	g := s.caught
	n, p := g.told()
	for ; p.Way != catch.Redirect; n, p = g.told() {
		if err := g.news(ctx, n); err != nil {
			return err
		}
	}
	conn, err := r.Port(ctx)
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
		_ = conn.Close()
		running.Wait()
	}()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	word := serial.Word()
	// The next that the program tells is whether it has it.
	n, _ = g.told()
	if err := g.say(wire.Frame{Kind: wire.Port, Payload: []byte(word)}); err != nil {
		return err
	}
	running.Go(func() { cancel(g.hasPort(ctx, n)) })
	in := bufio.NewReaderSize(conn, 64<<10)
	if err = serial.SkipTo(in, word); err == nil {
		_, err = io.WriteString(conn, word) // what is left of an earlier session is before it
	}
	if err == nil {
		session := mux.Server(conn, in, catch.MaxStreams)
		err = s.serve(ctx, session)
		_ = session.Close()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", errPort, err)
}

// hasPort returns when the guest's program does not have the serial port, any more or in time. n is from before it was
// told of it.
func (g *caught) hasPort(ctx context.Context, n uint64) error {
	first, cancel := context.WithTimeoutCause(ctx, portTime, errors.New("the guest's program does not take it"))
	defer cancel()
	for wait := first; ; wait = ctx {
		if err := g.news(wait, n); err != nil {
			return err
		}
		var p wire.Report
		if n, p = g.told(); !p.Port {
			return fmt.Errorf("the guest's program: %q", p.PortProblem)
		}
	}
}

// portServer serves what comes over the serial port.
type portServer struct {
	caught *caught
	places chan struct{} // of redirected connections, whichever way they come
	proxy  *tunnel.Proxy
}

// serve serves the streams of a session until that is over. The error is why.
func (s *portServer) serve(ctx context.Context, session *mux.Session) error {
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
func (s *portServer) serveStream(ctx context.Context, to netip.AddrPort, st tunnel.Stream) {
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
