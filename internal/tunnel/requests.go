package tunnel

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"
)

// webPort is where plain HTTP is spoken.
const webPort = 80

// takesRequests tells whether a route leads to a web server by a proxy of the host's that speaks HTTP. It is asked for each
// request then, as it would be if the guest's program knew of it: for that port, many such proxies give nobody a tunnel.
func (r *route) takesRequests() bool {
	if r.upstream == nil || r.port != webPort || !strings.HasPrefix(r.upstream.Scheme, "http") {
		return false
	}
	_, addr, err := canonical(r.name)
	return err == nil && !addr.IsValid() // by an address, a server may have any name
}

// carryRequests has the host's proxy asked for a guest's requests to a web server. Each is judged by the name it is for. What
// needs a tunnel all the same is returned, with what was read of it; nil if there is nothing left.
func (g *Gate) carryRequests(ctx context.Context, r *route, near Stream) Stream {
	stop := context.AfterFunc(ctx, func() { _ = near.Close() })
	defer stop()
	s := newSession(g, near, 0, maxInspected)
	defer s.end()
	for {
		if _, err := s.first(); err != nil {
			return nil
		}
		slow := time.AfterFunc(s.slow, func() { _ = near.Close() })
		speech := speaks(s.in)
		slow.Stop()
		switch speech {
		case speaksHTTP:
		case speaksTooLong:
			s.refuse(http.StatusRequestURITooLong, "the request's first line is too long")
			return nil
		case speaksHTTP2, speaksOther, speaksUnknown:
			return s.rest()
		}
		req, ok := s.request(ctx)
		if !ok {
			return nil
		}
		if req.Method == http.MethodConnect {
			s.refuse(http.StatusMethodNotAllowed, "this is no proxy")
			return nil
		}
		// With a body it is none (RFC 6455, 4.1), and could be of any size.
		if strings.EqualFold(req.Header.Get("Upgrade"), "websocket") && req.ContentLength == 0 {
			keepAgent(req.Header)
			var header bytes.Buffer
			if req.Write(&header) != nil {
				return nil
			}
			return &replayed{s.rest(), header.Bytes()}
		}
		host := hostOf(req.Host)
		if host == "" {
			host = r.name // HTTP/1.0
		}
		req.URL.Scheme, req.URL.Host = "http", hostPort(host, r.port)
		if !s.forward(req) {
			return nil
		}
	}
}
