package carrier

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

const (
	aliveEvery  = 5 * time.Second
	replyTime   = 10 * time.Second
	maxAnswers  = 256              // questions of the guest's answered at once
	dnsIdleTime = 30 * time.Second // of a TCP connection with questions for names
)

// caught serves connections that the guest's kernel redirected: the guest's program, which holds them, knows where they wanted
// to go.
type caught struct {
	gate *tunnel.Gate

	mu    sync.Mutex // guards what follows
	out   *wire.Writer
	next  uint32
	asked map[uint32]chan []byte
	tells uint64        // how often the program has told what holds, or ended
	last  wire.Report   // of them
	again chan struct{} // closed at the next
}

func newCaught(g *tunnel.Gate) *caught {
	return &caught{gate: g, asked: map[uint32]chan []byte{}, again: make(chan struct{})}
}

// told is what the guest's program has told last, and how often it has.
func (g *caught) told() (uint64, wire.Report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tells, g.last
}

// news waits until the guest's program has told more than n times.
func (g *caught) news(ctx context.Context, n uint64) error {
	for {
		g.mu.Lock()
		tells, again := g.tells, g.again
		g.mu.Unlock()
		if tells > n {
			return nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// until waits until what the guest's program has told last is good.
func (g *caught) until(ctx context.Context, good func(wire.Report) bool) error {
	for n, p := g.told(); !good(p); n, p = g.told() {
		if err := g.news(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (g *caught) tell(r wire.Report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tells++
	g.last = r
	close(g.again)
	g.again = make(chan struct{})
}

// say sends the guest's program a frame.
func (g *caught) say(f wire.Frame) error {
	g.mu.Lock()
	out := g.out
	g.mu.Unlock()
	if out == nil {
		return errNobody
	}
	return out.Send(f)
}

var errNobody = errors.New("the guest's program is not there")

// carry serves one connection.
func (g *caught) carry(ctx context.Context, conn net.Conn) {
	to, err := g.origin(ctx, conn.RemoteAddr().String())
	if err != nil || !to.IsValid() {
		return // somebody dialled the port itself
	}
	if near, ok := conn.(tunnel.Stream); ok {
		g.carryTo(ctx, to, near)
	}
}

// carryTo serves one connection that wanted to go somewhere, in the guest's words.
func (g *caught) carryTo(ctx context.Context, to netip.AddrPort, near tunnel.Stream) {
	if to.Port() == 53 {
		g.answerStream(ctx, near)
		return
	}
	d := tunnel.Destination{Host: to.Addr().String(), Port: int(to.Port()), Way: tunnel.WayHelper}
	// The guest's program was told it is connected when it was caught: what is refused ends.
	g.gate.Carry(ctx, d, near, func(err error) error { return err })
}

// origin asks the guest where the connection from an address wanted to go.
func (g *caught) origin(ctx context.Context, from string) (netip.AddrPort, error) {
	reply, err := g.ask(ctx, wire.Origin, []byte(from))
	if err != nil {
		return netip.AddrPort{}, err
	}
	to, err := netip.ParseAddrPort(string(reply))
	if err != nil || to.Addr().Zone() != "" {
		return netip.AddrPort{}, nil
	}
	return to, nil
}

// ask asks the guest's program something and waits for its reply.
func (g *caught) ask(ctx context.Context, k wire.Kind, payload []byte) ([]byte, error) {
	reply := make(chan []byte, 1)
	g.mu.Lock()
	g.next++
	id := g.next
	g.asked[id] = reply
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.asked, id)
		g.mu.Unlock()
	}()
	if err := g.say(wire.Frame{Kind: k, ID: id, Payload: payload}); err != nil {
		return nil, err
	}
	timer := time.NewTimer(replyTime)
	defer timer.Stop()
	select {
	case r := <-reply:
		return r, nil
	case <-timer.C:
		return nil, errNobody
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// converse talks with the guest's program until it ends, says what makes no sense, or does not read what is sent to it.
func (g *caught) converse(
	ctx context.Context, in *wire.Reader, out *wire.Writer, report func(wire.Report),
) error {
	ctx, cancel := context.WithCancel(ctx)
	var answering sync.WaitGroup
	defer func() {
		cancel()
		answering.Wait()
		g.mu.Lock()
		g.out = nil
		g.mu.Unlock()
		g.tell(wire.Report{})
	}()
	g.mu.Lock()
	g.out = out
	g.mu.Unlock()
	go beat(ctx, out)
	places := make(chan struct{}, maxAnswers)
	for {
		f, err := in.Next()
		if err != nil {
			return fmt.Errorf("the guest's program: %w", err)
		}
		switch f.Kind {
		case wire.Question:
			select {
			case places <- struct{}{}:
			default:
				continue // whoever asked asks again
			}
			answering.Go(func() {
				defer func() { <-places }()
				message := g.gate.Answer(ctx, f.Payload)
				_ = out.Send(wire.Frame{Kind: wire.Answer, ID: f.ID, Payload: message})
			})
		case wire.Reply:
			g.replied(f)
		case wire.State:
			var r wire.Report
			if err := json.Unmarshal(f.Payload, &r); err != nil {
				return fmt.Errorf("the guest's program: %w", err)
			}
			g.tell(r)
			report(r)
		case wire.Alive:
		case wire.Answer, wire.Origin, wire.Direct, wire.Method, wire.Port:
			return fmt.Errorf("%w: the guest does not say %q", wire.ErrFrame, byte(f.Kind))
		}
	}
}

// replied hands the guest's reply to who waits for it.
func (g *caught) replied(f wire.Frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if reply := g.asked[f.ID]; reply != nil {
		delete(g.asked, f.ID)
		reply <- f.Payload // has room for one
	}
}

// beat tells the guest's program that somebody is there.
func beat(ctx context.Context, out *wire.Writer) {
	ticker := time.NewTicker(aliveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if out.Send(wire.Frame{Kind: wire.Alive}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// answerStream answers questions for names that come over TCP (RFC 7766), one after the other.
func (g *caught) answerStream(ctx context.Context, conn io.ReadWriteCloser) {
	for ctx.Err() == nil {
		idle := time.AfterFunc(dnsIdleTime, func() { _ = conn.Close() })
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			idle.Stop()
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(length[:]))
		_, err := io.ReadFull(conn, question)
		if !idle.Stop() || err != nil {
			return
		}
		message := g.gate.Answer(ctx, question)
		if message == nil {
			return
		}
		slow := time.AfterFunc(dnsIdleTime, func() { _ = conn.Close() })
		_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
		if !slow.Stop() || err != nil {
			return
		}
	}
}
