package sshuttle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel"
)

// Limits of one client.
const (
	maxChannels  = 1024 // connections at once; more end at once
	maxQuestions = 256  // for names, at once; more are not answered
	uploadTime   = 2 * time.Minute

	// What the client has sent and a destination has not taken: from softWaiting on the client's pings are not answered until it
	// has become less, or for pongDelay, which has it send more slowly; at the others nothing more is read, and a destination that
	// then takes nothing for stallTime loses its connection.
	softWaiting  = 1 << 20
	hardWaiting  = 8 << 20
	totalWaiting = 64 << 20
	pongDelay    = time.Second
	maxHeld      = 64 // pings that are not answered yet; a client asks no more before it has an answer
	stallTime    = 30 * time.Second
)

// Serve serves one client over a stream until it or ctx ends; the stream is closed then, and nothing of it runs any more.
// The error says why, unless the client just went.
func Serve(ctx context.Context, conn io.ReadWriteCloser, g *tunnel.Gate) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{
		gate: g, out: newOutbox(conn, func() { _ = conn.Close() }), channels: map[uint16]*channel{}, udp: map[uint16]*packets{},
	}
	s.less.L = &s.mu
	var writing sync.WaitGroup
	defer context.AfterFunc(ctx, func() {
		s.out.end(context.Cause(ctx))
		s.mu.Lock()
		s.ended = true
		s.less.Broadcast()
		s.mu.Unlock()
	})()
	defer func() {
		cancel(errEnded)
		s.out.end(errEnded)
		s.endAll()
		s.running.Wait()
		writing.Wait()
	}()
	in := bufio.NewReaderSize(conn, 256<<10)
	slow := time.AfterFunc(uploadTime, func() { _ = conn.Close() })
	if err := skipUpload(in); !slow.Stop() || err != nil {
		return err
	}
	if _, err := io.WriteString(conn, header); err != nil {
		return err
	}
	writing.Go(func() { s.out.run() })
	s.out.send(0, cmdRoutes, nil, true) // the client waits for them; it is told none
	err := s.read(ctx, in)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if failed := s.out.failed(); failed != nil {
		return failed
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

var errEnded = errors.New("the client has ended")

type session struct {
	gate    *tunnel.Gate
	out     *outbox
	running sync.WaitGroup
	waiting atomic.Int64 // bytes from the client that destinations have not taken
	pushed  *channel     // has data it was not told of; nil if none has. Only read uses it

	places    atomic.Int32 // of maxChannels taken
	questions atomic.Int32 // of maxQuestions taken

	mu       sync.Mutex // guards what follows
	less     sync.Cond  // waiting has become less, or the end
	ended    bool
	channels map[uint16]*channel
	udp      map[uint16]*packets
	over     *channel // the one that is over softWaiting, if any
	held     []string // pings that are not answered because of it
}

// read takes frames until one is none or the client ends. Whoever waits for data is told when all that has come by then was
// taken: a client sends frames of 2 KiB, and a destination written to for each costs more than what is in them.
func (s *session) read(ctx context.Context, in *bufio.Reader) error {
	defer s.tell()
	for {
		if in.Buffered() < headerLength {
			s.tell()
		}
		head, err := in.Peek(headerLength)
		if err != nil {
			if errors.Is(err, io.EOF) && len(head) > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		id, cmd, length, err := parseHeader(head)
		if err != nil {
			return err
		}
		_, _ = in.Discard(headerLength)
		if in.Buffered() < length {
			s.tell()
		}
		data, err := in.Peek(length) // less than the buffer
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		if cmd == cmdExit {
			return io.EOF
		}
		if err := s.take(ctx, id, cmd, data); err != nil {
			return err
		}
		_, _ = in.Discard(length)
	}
}

// take obeys one frame. data is valid only until it returns.
func (s *session) take(ctx context.Context, id uint16, cmd command, data []byte) error {
	if cmd != cmdTCPData && cmd != cmdPing {
		s.tell() // it may end the channel, and give its number to another
	}
	switch cmd {
	case cmdPing:
		s.pong(string(data))
	case cmdPong:
		s.out.pong(data)
	case cmdTCPConnect:
		return s.connect(ctx, id, string(data))
	case cmdTCPData:
		if s.pushed == nil || s.pushed.id != id {
			s.tell()
			s.pushed = s.channel(id)
		}
		if s.pushed != nil {
			s.data(s.pushed, data)
		}
	case cmdTCPEOF:
		if c := s.channel(id); c != nil {
			c.heardEOF()
		}
	case cmdTCPStopSending:
		if c := s.channel(id); c != nil {
			c.heardStop()
		}
	case cmdDNSReq:
		s.question(ctx, id, data)
	case cmdUDPOpen:
		s.openUDP(ctx, id)
	case cmdUDPData:
		s.sendUDP(id, data)
	case cmdUDPClose:
		s.closeUDP(id)
	case cmdHostReq: // for the names of the host's neighbours: it is told none
	case cmdExit, cmdRoutes, cmdHostList, cmdDNSResponse:
		return fmt.Errorf("%w: a client does not say %#x", errFrame, uint16(cmd))
	default:
		return fmt.Errorf("%w: command %#x", errFrame, uint16(cmd))
	}
	return nil
}

func (s *session) channel(id uint16) *channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.channels[id]
}

// connect begins a connection: "family,address,port".
func (s *session) connect(ctx context.Context, id uint16, text string) error {
	w := strings.Split(text, ",")
	if len(w) != 3 {
		return fmt.Errorf("%w: a connection to %.60q", errFrame, text)
	}
	port, err := strconv.ParseUint(w[2], 10, 16)
	if err != nil {
		return fmt.Errorf("%w: a connection to %.60q", errFrame, text)
	}
	c := newChannel(s, id)
	s.mu.Lock()
	taken := s.channels[id] != nil
	if !taken {
		s.channels[id] = c
	}
	s.mu.Unlock()
	if taken {
		return fmt.Errorf("%w: channel %d is open already", errFrame, id)
	}
	if s.places.Add(1) > maxChannels {
		s.places.Add(-1)
		return c.Close()
	}
	d := tunnel.Destination{Host: w[1], Port: int(port), Way: tunnel.WaySshuttle}
	s.running.Go(func() {
		defer s.places.Add(-1)
		// The guest's program was told that it is connected when it was caught: what is refused ends.
		s.gate.Carry(ctx, d, c, func(err error) error { return err })
	})
	return nil
}

// tell has the channel that data came for last hear of it.
func (s *session) tell() {
	if s.pushed != nil {
		s.pushed.tell()
		s.pushed = nil
	}
}

// data hands a channel what came for it, and waits if too much waits already.
func (s *session) data(c *channel, data []byte) {
	n := c.push(data)
	if n > softWaiting {
		s.mu.Lock()
		s.over = c
		s.mu.Unlock()
	}
	if n <= hardWaiting && s.waiting.Load() <= totalWaiting {
		return
	}
	s.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ended {
		before := s.waiting.Load()
		stalled := false
		timer := time.AfterFunc(stallTime, func() {
			s.mu.Lock()
			stalled = true
			s.less.Broadcast()
			s.mu.Unlock()
		})
		for !s.ended && !stalled && s.waiting.Load() >= before {
			s.less.Wait()
		}
		timer.Stop()
		if stalled {
			s.mu.Unlock()
			_ = c.Close()
			s.mu.Lock()
			return
		}
		if c.waits() <= hardWaiting && s.waiting.Load() <= totalWaiting {
			return
		}
	}
}

// drained notes that a destination took bytes.
func (s *session) drained(n int) {
	if n == 0 {
		return
	}
	s.waiting.Add(-int64(n))
	s.mu.Lock()
	s.less.Broadcast()
	held := s.caughtUp()
	s.mu.Unlock()
	s.answer(held)
}

// pong answers a ping, later while a destination takes less than the client sends.
func (s *session) pong(data string) {
	s.mu.Lock()
	if held := s.caughtUp(); s.over == nil || len(s.held) == maxHeld {
		s.mu.Unlock()
		s.answer(held)
		s.out.answer(cmdPong, []byte(data))
		return
	}
	s.held = append(s.held, data)
	first := len(s.held) == 1
	s.mu.Unlock()
	if first {
		time.AfterFunc(pongDelay, func() {
			s.mu.Lock()
			held := s.release()
			s.mu.Unlock()
			s.answer(held)
		})
	}
}

// caughtUp looks whether the destination that was behind still is, and returns the pings to answer if not. Its caller holds mu.
func (s *session) caughtUp() []string {
	if s.over == nil || s.over.waits() > softWaiting {
		return nil
	}
	s.over = nil
	return s.release()
}

// release returns the pings that were held back. Its caller holds mu.
func (s *session) release() []string {
	held := s.held
	s.held = nil
	return held
}

func (s *session) answer(held []string) {
	for _, data := range held {
		s.out.send(0, cmdPong, []byte(data), true)
	}
}

func (s *session) forget(c *channel) {
	s.mu.Lock()
	if s.channels[c.id] == c {
		delete(s.channels, c.id)
	}
	var held []string
	if s.over == c {
		s.over = nil
		held = s.release()
	}
	s.mu.Unlock()
	s.answer(held)
}

func (s *session) endAll() {
	s.mu.Lock()
	all := make([]*channel, 0, len(s.channels))
	for _, c := range s.channels {
		all = append(all, c)
	}
	flows := make([]uint16, 0, len(s.udp))
	for id := range s.udp {
		flows = append(flows, id)
	}
	s.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
	for _, id := range flows {
		s.closeUDP(id)
	}
}

// question answers a question for a name.
func (s *session) question(ctx context.Context, id uint16, data []byte) {
	if s.questions.Add(1) > maxQuestions {
		s.questions.Add(-1)
		return // whoever asked asks again
	}
	message := append([]byte(nil), data...)
	s.running.Go(func() {
		defer s.questions.Add(-1)
		if a := s.gate.Answer(ctx, message); a != nil {
			s.out.send(id, cmdDNSResponse, a, false)
		}
	})
}
