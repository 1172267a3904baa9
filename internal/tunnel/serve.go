package tunnel

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel/pieces"
)

// session is one connection of the guest.
type session struct {
	gate  *Gate
	slow  time.Duration // how long a request's header may take
	conn  Stream
	limit *headerLimit
	in    *bufio.Reader
	plain *forwarder // for plain HTTP; nil until used
}

// newSession reads a connection through a buffer of so many bytes.
func newSession(g *Gate, conn Stream, slow time.Duration, size int) *session {
	limit := &headerLimit{r: conn}
	return &session{gate: g, slow: cmp.Or(slow, headerTime), conn: conn, limit: limit, in: bufio.NewReaderSize(limit, size)}
}

// end lets go of what the session holds for servers.
func (s *session) end() {
	if s.plain != nil {
		s.plain.close()
	}
}

func (p *Proxy) serveConn(ctx context.Context, conn Stream) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	s := newSession(p.Gate, conn, p.headerTime, pieces.Little)
	defer s.end()
	if first, err := s.first(); err != nil {
		return
	} else if first == socksVersion {
		s.serveSOCKS(ctx)
		return
	}
	for s.serveRequest(ctx) {
	}
}

// first waits for the connection's first byte, but not for ever.
func (s *session) first() (byte, error) {
	// The guest's connections know no deadlines.
	idle := time.AfterFunc(idleTime, func() { _ = s.conn.Close() })
	defer idle.Stop()
	b, err := s.in.Peek(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

var errHeaderTooLarge = errors.New("header is too large")

// headerLimit bounds what is read while it is armed.
type headerLimit struct {
	r     io.Reader
	armed bool
	left  int64
}

func (h *headerLimit) Read(b []byte) (int, error) {
	if !h.armed {
		return h.r.Read(b)
	}
	if h.left <= 0 {
		return 0, errHeaderTooLarge
	}
	n, err := h.r.Read(b[:min(int64(len(b)), h.left)])
	h.left -= int64(n)
	return n, err
}

// serveRequest answers one request and tells whether another may follow.
func (s *session) serveRequest(ctx context.Context) bool {
	req, ok := s.request(ctx)
	switch {
	case !ok:
		return false
	case req.Method == http.MethodConnect:
		s.connect(req)
		return false
	}
	return s.forward(req)
}

// request reads the header of the next one. What is none is answered, and false returned.
func (s *session) request(ctx context.Context) (*http.Request, bool) {
	if _, err := s.first(); err != nil {
		return nil, false
	}
	slow := time.AfterFunc(s.slow, func() { _ = s.conn.Close() })
	s.limit.armed, s.limit.left = true, maxHeader
	req, err := http.ReadRequest(s.in)
	s.limit.armed = false
	if !slow.Stop() {
		return nil, false
	}
	switch {
	case errors.Is(err, errHeaderTooLarge):
		return nil, s.refuse(http.StatusRequestHeaderFieldsTooLarge, "the request's header is too large")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return nil, false
	case err != nil:
		return nil, s.refuse(http.StatusBadRequest, "not an HTTP request")
	}
	return req.WithContext(ctx), true
}

// rest is the connection, with what was read of it and not used. Nothing is read by the session any more.
func (s *session) rest() Stream {
	seen, _ := s.in.Peek(s.in.Buffered())
	return &replayed{s.conn, seen}
}

// refuse answers in one line and ends the connection.
func (s *session) refuse(status int, reason string) bool {
	reason = oneLine(reason)
	body := "CALMenu: " + reason + "\n"
	// A guest that does not read must not hold this up for ever.
	slow := time.AfterFunc(headerTime, func() { _ = s.conn.Close() })
	defer slow.Stop()
	_, _ = fmt.Fprintf(s.conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"+
		"Connection: close\r\n\r\n%s", status, http.StatusText(status), len(body), body)
	// Closing at once with unread input would reset the connection, and the answer would be lost.
	if closeWrite(s.conn) {
		_, _ = io.CopyN(io.Discard, s.in, maxHeader)
	}
	return false
}

// oneLine cuts what is partly the guest's own words down to a line.
func oneLine(s string) string {
	clean := strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if runes := []rune(clean); len(runes) > 400 {
		return string(runes[:400]) + "..."
	}
	return clean
}

// refuseFor answers why a destination is not reached.
func (s *session) refuseFor(err error) bool {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return s.refuse(http.StatusForbidden, refused.Sentence)
	}
	return s.refuse(http.StatusBadGateway, err.Error())
}

// connect serves CONNECT: a tunnel of bytes to the destination.
func (s *session) connect(req *http.Request) {
	// Not req.Host, which a Host header may have filled in.
	host, portText, err := net.SplitHostPort(req.URL.Host)
	port, portErr := parsePort(portText)
	if err != nil || portErr != nil {
		record := newRecord(Destination{Host: req.URL.Host, Way: WayConnect})
		record.Reason = "is refused: CONNECT needs host:port"
		s.gate.finish(record)
		s.refuse(http.StatusBadRequest, "CONNECT needs host:port")
		return
	}
	s.gate.Carry(req.Context(), Destination{Host: host, Port: port, Way: WayConnect}, s.rest(), func(err error) error {
		if err != nil {
			s.refuseFor(err)
			return nil
		}
		_, err = io.WriteString(s.conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		return err
	})
}

// counter counts the bytes read of a body, and remembers its end.
type counter struct {
	body  io.ReadCloser
	n     atomic.Int64
	ended atomic.Bool
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.body.Read(b)
	c.n.Add(int64(n))
	if errors.Is(err, io.EOF) {
		c.ended.Store(true)
	}
	return n, err
}

func (c *counter) Close() error { return c.body.Close() }
