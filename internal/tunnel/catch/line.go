package catch

import (
	"context"
	"fmt"
	"net"
	"net/netip"
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
}

// useLine has what is redirected go over a line until that ends, and what is said to the proxy too. All that is dialled
// after that goes through the SSH server again.
func (k *keeper) useLine(kind wire.Line, meet func(context.Context) (*mux.Session, error)) {
	p, err := newLine(kind, meet)
	if err != nil {
		k.loseLine(nil, fmt.Errorf("the %s: %w", kind, err))
		return
	}
	k.mu.Lock()
	k.setLine(p, nil)
	k.mu.Unlock()
	<-p.session.Done()
	err = p.session.Err()
	_ = p.session.Close()
	k.loseLine(p, fmt.Errorf("the %s: %w", kind, err))
}

// loseLine leads what is redirected to the SSH server, unless it goes over another line already.
func (k *keeper) loseLine(p *line, problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.line == p {
		k.setLine(nil, problem)
	}
}

func newLine(kind wire.Line, meet func(context.Context) (*mux.Session, error)) (*line, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lineTime)
	defer cancel()
	session, err := meet(ctx)
	if err != nil {
		return nil, err
	}
	return &line{kind, session}, nil
}

// setLine leads what is redirected to a line, or back, and tells the host. Its caller holds mu.
func (k *keeper) setLine(p *line, problem error) {
	k.line = p
	r := k.report
	if m, ok := k.method.(*redirect); ok {
		if err := m.lead(); err != nil {
			r.Problem = inOneLine(err)
		}
	}
	r.LineProblem = ""
	if problem != nil {
		r.LineProblem = inOneLine(problem)
	}
	k.tell(r)
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
	Lead(conn, st)
}

// Lead passes bytes both ways until both sides have ended. What ends otherwise ends both.
func Lead(conn *net.TCPConn, st *mux.Stream) {
	defer conn.Close()
	defer func() { _ = st.Close() }()
	st.OnCut(func() { _ = conn.SetReadDeadline(time.Now()) }) // nobody reads what it says any more
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, err := st.ReadFrom(conn)
		if err == nil {
			err = st.CloseWrite()
		}
		if err != nil {
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
