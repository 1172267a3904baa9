package sshuttle

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel"
)

// Limits of what a client sends by UDP, which of sshuttle's methods only tproxy catches.
const (
	maxFlows        = 128 // sockets of the client's at once
	maxPeers        = 16  // destinations of one
	flowIdle        = 30 * time.Second
	maxPacket       = 4096 // as sshuttle's own server has it
	packetsInFlight = 64
)

// packets is one UDP socket of the client's: it sends to several destinations and hears from those alone.
type packets struct {
	ctx    context.Context // of the session
	cancel context.CancelFunc
	queue  chan packet

	mu    sync.Mutex // guards peers
	peers map[netip.AddrPort]net.Conn
}

type packet struct {
	to   netip.AddrPort
	data []byte
}

func (s *session) openUDP(ctx context.Context, id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.udp[id] != nil || len(s.udp) >= maxFlows {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &packets{ctx: ctx, cancel: cancel, queue: make(chan packet, packetsInFlight), peers: map[netip.AddrPort]net.Conn{}}
	s.udp[id] = p
	s.running.Go(func() { s.carryUDP(id, p) })
}

// sendUDP takes "address,port,data". Packets that do not fit are lost, as packets are.
func (s *session) sendUDP(id uint16, data []byte) {
	s.mu.Lock()
	p := s.udp[id]
	s.mu.Unlock()
	w := bytes.SplitN(data, []byte(","), 3)
	if p == nil || len(w) != 3 || len(w[2]) > maxPacket {
		return
	}
	addr, err := netip.ParseAddr(string(w[0]))
	port, perr := strconv.ParseUint(string(w[1]), 10, 16)
	if err != nil || perr != nil {
		return
	}
	select {
	case p.queue <- packet{netip.AddrPortFrom(addr.Unmap(), uint16(port)), bytes.Clone(w[2])}:
	default:
	}
}

func (s *session) closeUDP(id uint16) {
	s.mu.Lock()
	p := s.udp[id]
	delete(s.udp, id)
	s.mu.Unlock()
	if p != nil {
		p.cancel()
	}
}

// carryUDP sends what the client sends until it closes the socket or is silent.
func (s *session) carryUDP(id uint16, p *packets) {
	var hearing sync.WaitGroup
	defer func() {
		s.closeUDP(id)
		p.mu.Lock()
		for _, c := range p.peers {
			_ = c.Close()
		}
		p.mu.Unlock()
		hearing.Wait()
	}()
	idle := time.NewTimer(flowIdle)
	defer idle.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-idle.C:
			return
		case packet := <-p.queue:
			idle.Reset(flowIdle)
			if conn := s.peer(id, p, packet.to, &hearing); conn != nil {
				_, _ = conn.Write(packet.data)
			}
		}
	}
}

// peer returns the host's socket for a destination; nil if it is refused.
func (s *session) peer(id uint16, p *packets, to netip.AddrPort, hearing *sync.WaitGroup) net.Conn {
	p.mu.Lock()
	conn, known := p.peers[to]
	full := len(p.peers) >= maxPeers
	p.mu.Unlock()
	if known || full {
		return conn
	}
	conn, err := s.gate.Packets(p.ctx, tunnel.Destination{Host: to.Addr().String(), Port: int(to.Port()), Way: tunnel.WaySshuttle})
	if err != nil {
		return nil
	}
	p.mu.Lock()
	p.peers[to] = conn
	p.mu.Unlock()
	hearing.Go(func() {
		b := append([]byte(to.Addr().String()+","+strconv.Itoa(int(to.Port()))+","), make([]byte, maxPacket)...)
		head := len(b) - maxPacket
		for {
			n, err := conn.Read(b[head:])
			if err != nil {
				return
			}
			s.out.send(id, cmdUDPData, b[:head+n], false)
		}
	})
	return conn
}
