package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"time"
)

// answerTime is how long a server may take to begin its answer to a plain request.
const answerTime = 5 * time.Minute

// forwarder holds the connections to servers that one connection of the guest has caused.
type forwarder struct {
	gate   *Gate
	direct *http.Transport
	last   map[string]netip.Addr // judged address of each host:port at its last request

	proxied  *http.Transport
	upstream string // that proxied uses
}

// routeKey finds a request's route in its context.
type routeKey struct{}

func newForwarder(g *Gate) *forwarder {
	f := &forwarder{gate: g, last: map[string]netip.Addr{}}
	f.direct = f.transport()
	f.direct.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		r, ok := ctx.Value(routeKey{}).(*route)
		if !ok {
			return nil, errors.New("no judged address to dial")
		}
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		return g.dial(ctx, r)
	}
	return f
}

func (f *forwarder) transport() *http.Transport {
	return &http.Transport{
		DisableCompression:     true, // bytes pass as they are
		MaxIdleConns:           4,
		IdleConnTimeout:        idleTime,
		ResponseHeaderTimeout:  answerTime,
		MaxResponseHeaderBytes: maxHeader,
		DialContext:            f.gate.dialer(),
	}
}

func (f *forwarder) close() {
	f.direct.CloseIdleConnections()
	if f.proxied != nil {
		f.proxied.CloseIdleConnections()
	}
}

// via returns the transport for a route. A kept connection is used again only while the name is judged to the address
// it leads to.
func (f *forwarder) via(r *route) *http.Transport {
	if r.upstream == nil {
		key := hostPort(r.name, r.port)
		if last, ok := f.last[key]; ok && last != r.decision.Addr {
			f.direct.CloseIdleConnections()
		}
		if len(f.last) > 64 {
			f.direct.CloseIdleConnections()
			clear(f.last)
		}
		f.last[key] = r.decision.Addr
		return f.direct
	}
	if proxy := r.upstream.String(); f.proxied == nil || f.upstream != proxy {
		if f.proxied != nil {
			f.proxied.CloseIdleConnections()
		}
		f.proxied, f.upstream = f.transport(), proxy
		f.proxied.Proxy = http.ProxyURL(r.upstream)
	}
	return f.proxied
}

// forward serves a request in absolute form and tells whether another may follow.
func (s *session) forward(req *http.Request) bool {
	record := newRecord(Destination{Host: req.URL.Host, Way: WayHTTP})
	host, port, err := target(req.URL)
	if err != nil {
		record.Reason = "is refused: " + err.Error()
		s.gate.finish(record)
		return s.refuse(http.StatusBadRequest, err.Error())
	}
	record.Host, record.Port = oneLine(host), port
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	s.gate.consult(ctx, Destination{Host: host, Port: port, Way: WayHTTP})
	judging, judged := context.WithTimeout(ctx, dialTime)
	r, err := s.gate.admit(judging, Destination{Host: host, Port: port, Way: WayHTTP}, record)
	judged()
	if err != nil {
		s.gate.finish(record)
		return s.refuseFor(err)
	}
	if s.plain == nil {
		s.plain = newForwarder(s.gate)
	}
	// Closing the guest's body would read all of it, wanted or not; what is left of it ends with the connection.
	up := &counter{body: io.NopCloser(req.Body)}
	out := outgoing(req, &r)
	if req.ContentLength != 0 {
		out.Body = up
	} else {
		up.ended.Store(true)
	}
	if strings.EqualFold(req.Header.Get("Expect"), "100-continue") {
		if _, err := s.conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return false
		}
	}
	res, err := s.plain.via(&r).RoundTrip(out.WithContext(context.WithValue(ctx, routeKey{}, &r)))
	record.Addr, record.Rule = r.decision.Addr, r.decision.Rule
	if err != nil {
		record.BytesUp, record.Err = up.n.Load(), oneLine(err.Error())
		s.gate.finish(record)
		return s.refuse(http.StatusBadGateway, fmt.Sprintf("fetch from %s: %v", hostPort(host, port), err))
	}
	defer res.Body.Close()
	if r.upstream != nil && res.StatusCode == http.StatusProxyAuthRequired {
		// It is the host that is to show a login, and its person who is to hear of it.
		record.BytesUp, record.Err = up.n.Load(), "ask the host's proxy: it answered "+oneLine(res.Status)
		s.gate.finish(record)
		return s.refuse(http.StatusBadGateway, "the host's proxy answered "+res.Status+"; on the host: CALMenu net login")
	}
	down := &counter{body: res.Body}
	res.Body = down
	again := s.prepareAnswer(req, res)
	err = res.Write(s.conn)
	again = again && err == nil && up.ended.Load()
	record.BytesUp, record.BytesDown = up.n.Load(), down.n.Load()
	if err != nil {
		record.Err = oneLine(err.Error())
	}
	s.gate.finish(record)
	return again
}

// prepareAnswer makes an answer fit for the guest's connection and tells whether that can stay open after it.
func (s *session) prepareAnswer(req *http.Request, res *http.Response) bool {
	removeHopByHop(res.Header)
	again := !req.Close && req.ProtoAtLeast(1, 1)
	if req.Header.Get("Proxy-Connection") != "" && strings.EqualFold(req.Header.Get("Proxy-Connection"), "close") {
		again = false
	}
	res.ProtoMajor, res.ProtoMinor, res.Proto = 1, 1, "HTTP/1.1"
	res.Request = req // for HEAD, and for the guest's HTTP version
	res.Close = !again
	res.TransferEncoding = nil
	if res.ContentLength < 0 && again {
		res.TransferEncoding = []string{"chunked"}
	}
	return again
}

// target reads the destination of a request in absolute form.
func target(u *url.URL) (host string, port int, err error) {
	switch {
	case u.Host == "":
		return "", 0, errors.New("this is a proxy: it needs a whole URL or CONNECT")
	case u.Scheme != "http":
		return "", 0, errors.New("this proxy forwards plain http; for anything else use CONNECT")
	case u.Hostname() == "":
		return "", 0, errors.New("no host given")
	}
	port = 80
	if text := u.Port(); text != "" {
		if port, err = parsePort(text); err != nil {
			return "", 0, err
		}
	}
	return u.Hostname(), port, nil
}

// outgoing is the request as the server gets it. Its Host header and its destination are the judged name, whatever the
// guest's Host header said.
func outgoing(req *http.Request, r *route) *http.Request {
	out := req.Clone(req.Context())
	host := hostPort(r.name, r.port)
	if r.port == 80 {
		host = strings.TrimSuffix(host, ":80")
	}
	out.URL.Scheme, out.URL.Host, out.URL.User = "http", host, nil
	out.Host = host
	out.RequestURI = ""
	out.Close = false
	out.Body = nil
	out.TransferEncoding = nil
	if req.ContentLength < 0 {
		out.TransferEncoding = []string{"chunked"}
	}
	removeHopByHop(out.Header)
	out.Header.Del("Expect")
	keepAgent(out.Header)
	return out
}

// keepAgent has the library name no program where the guest named none.
func keepAgent(h http.Header) {
	if _, ok := h["User-Agent"]; !ok {
		h.Set("User-Agent", "")
	}
}

var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// removeHopByHop removes what is for the next hop only (RFC 9110, 7.6.1), with what Connection names.
func removeHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}
