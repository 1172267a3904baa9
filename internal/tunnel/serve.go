package tunnel

import (
	"bufio"
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
)

// session is one connection of the guest.
type session struct {
	proxy *Proxy
	conn  net.Conn
	limit *headerLimit
	in    *bufio.Reader
	plain *forwarder // for plain HTTP; nil until used
}

func (p *Proxy) serveConn(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	limit := &headerLimit{r: conn}
	s := &session{proxy: p, conn: conn, limit: limit, in: bufio.NewReader(limit)}
	defer func() {
		if s.plain != nil {
			s.plain.close()
		}
	}()
	for s.serveRequest(ctx) {
	}
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
	// The guest's connections know no deadlines.
	idle := time.AfterFunc(idleTime, func() { _ = s.conn.Close() })
	_, err := s.in.Peek(1)
	if !idle.Stop() || err != nil {
		return false
	}
	limit := s.proxy.headerTime
	if limit == 0 {
		limit = headerTime
	}
	slow := time.AfterFunc(limit, func() { _ = s.conn.Close() })
	s.limit.armed, s.limit.left = true, maxHeader
	req, err := http.ReadRequest(s.in)
	s.limit.armed = false
	if !slow.Stop() {
		return false
	}
	switch {
	case errors.Is(err, errHeaderTooLarge):
		return s.refuse(http.StatusRequestHeaderFieldsTooLarge, "the request's header is too large")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return false
	case err != nil:
		return s.refuse(http.StatusBadRequest, "not an HTTP request")
	}
	req = req.WithContext(ctx)
	if req.Method == http.MethodConnect {
		s.connect(req)
		return false
	}
	return s.forward(req)
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

// judged is what is common to both kinds of request: it judges the destination, refuses or fails it with a record and
// an answer, or returns how to reach it.
func (s *session) judged(ctx context.Context, scheme, host string, port int, record *Connection) (route, bool) {
	p := s.proxy
	r, err := p.judge(ctx, scheme, host, port)
	record.Allowed, record.Rule = r.decision.Allowed, r.decision.Rule
	record.Addr, record.Reason = r.decision.Addr, oneLine(r.decision.Reason)
	if err != nil {
		record.Err = oneLine(err.Error())
		s.finish(record)
		s.refuse(http.StatusBadGateway, err.Error())
		return r, false
	}
	if !r.decision.Allowed {
		s.finish(record)
		line := hostPort(oneLine(host), port) + " " + r.decision.Reason
		if p.Advice != "" {
			line += "; " + p.Advice
		}
		s.refuse(http.StatusForbidden, line)
		return r, false
	}
	return r, true
}

func (s *session) finish(record *Connection) {
	record.Duration = time.Since(record.Time)
	s.proxy.log(*record)
}

// connect serves CONNECT: a tunnel of bytes to the destination.
func (s *session) connect(req *http.Request) {
	// Not req.Host, which a Host header may have filled in.
	record := &Connection{Time: time.Now(), Host: oneLine(req.URL.Host)}
	host, portText, err := net.SplitHostPort(req.URL.Host)
	port, portErr := parsePort(portText)
	if err != nil || portErr != nil {
		record.Reason = "is refused: CONNECT needs host:port"
		s.finish(record)
		s.refuse(http.StatusBadRequest, "CONNECT needs host:port")
		return
	}
	record.Host, record.Port = oneLine(host), port
	ctx, cancel := context.WithTimeout(req.Context(), dialTime)
	defer cancel()
	r, ok := s.judged(ctx, "https", host, port, record)
	if !ok {
		return
	}
	var far net.Conn
	if r.upstream != nil {
		far, err = s.proxy.connectUpstream(ctx, r.upstream, hostPort(r.name, port))
	} else {
		far, err = s.proxy.dial(ctx, &r)
		record.Addr, record.Rule = r.decision.Addr, r.decision.Rule
	}
	if err != nil {
		record.Err = oneLine(err.Error())
		s.finish(record)
		s.refuse(http.StatusBadGateway, fmt.Sprintf("connect to %s: %v", hostPort(host, port), err))
		return
	}
	defer far.Close()
	stop := context.AfterFunc(req.Context(), func() { _ = far.Close() })
	defer stop()
	if _, err = io.WriteString(s.conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err == nil {
		record.BytesUp, record.BytesDown, err = splice(s.conn, s.in, far)
	}
	if err != nil {
		record.Err = oneLine(err.Error())
	}
	s.finish(record)
}

// splice copies both ways until both have ended, passing on the end of each by itself. An error ends both.
func splice(near net.Conn, nearIn io.Reader, far net.Conn) (up, down int64, err error) {
	type end struct {
		up  bool
		n   int64
		err error
	}
	ends := make(chan end, 2)
	pass := func(up bool, to net.Conn, from io.Reader) {
		n, err := io.Copy(to, from)
		if err == nil && !closeWrite(to) {
			_ = to.Close()
		}
		ends <- end{up, n, err}
	}
	go pass(true, far, nearIn)
	go pass(false, near, far)
	for range 2 {
		e := <-ends
		if e.up {
			up = e.n
		} else {
			down = e.n
		}
		if e.err != nil {
			if err == nil {
				err = e.err
			}
			_ = near.Close()
			_ = far.Close()
		}
	}
	return up, down, err
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
