package catch

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

const (
	maxQuestions = 256 // on their way to the host at once
	maxQuestion  = 4096
	questionTime = 15 * time.Second
)

// names passes questions for names on to the host and its answers back.
type names struct {
	conn *net.UDPConn
	out  *wire.Writer

	mu    sync.Mutex // guards both
	next  uint32
	asked map[uint32]asker
}

type asker struct {
	from netip.AddrPort
	at   time.Time
}

// namesPort is where questions are led, if it is free. For a while the kernel leads what comes from a port that a question has
// come from before to where that one was led: answers would be missing after each change if this was another port each time.
const namesPort = 3131

func newNames(out *wire.Writer) (*names, error) {
	at := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: namesPort}
	conn, err := net.ListenUDP("udp4", at)
	if err != nil {
		at.Port = 0
		conn, err = net.ListenUDP("udp4", at)
	}
	if err != nil {
		return nil, err
	}
	return &names{conn: conn, out: out, asked: map[uint32]asker{}}, nil
}

func (n *names) port() uint16 { return uint16(n.conn.LocalAddr().(*net.UDPAddr).Port) }

// serve passes questions on until the socket is closed or the host no longer listens.
func (n *names) serve() error {
	b := make([]byte, maxQuestion)
	for {
		length, from, err := n.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}
		id, ok := n.note(from, time.Now())
		if !ok {
			continue // the program asks again
		}
		if err := n.out.Send(wire.Frame{Kind: wire.Question, ID: id, Payload: b[:length]}); err != nil {
			return err
		}
	}
}

func (n *names) note(from netip.AddrPort, now time.Time) (uint32, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.asked) >= maxQuestions {
		for id, a := range n.asked {
			if now.Sub(a.at) > questionTime {
				delete(n.asked, id)
			}
		}
		if len(n.asked) >= maxQuestions {
			return 0, false
		}
	}
	n.next++
	n.asked[n.next] = asker{from, now}
	return n.next, true
}

// answer passes an answer on to who asked. An empty one is none.
func (n *names) answer(id uint32, message []byte) {
	n.mu.Lock()
	a, ok := n.asked[id]
	delete(n.asked, id)
	n.mu.Unlock()
	if ok && len(message) > 0 {
		_, _ = n.conn.WriteToUDPAddrPort(message, a.from)
	}
}
