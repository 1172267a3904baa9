package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/tunnel"
)

// TestTunnelOverTheConnection is what the listener is for: the proxy of internal/tunnel, over OpenSSH's channels.
func TestTunnelOverTheConnection(t *testing.T) {
	c := startSSHD(t).connect()
	l, err := c.Listen("127.0.0.1:0")
	must(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d", r.Method, len(data))
	}))
	defer server.Close()
	rule, err := netpolicy.ParseRule(server.Listener.Addr().String())
	must(t, err)
	p := &tunnel.Proxy{Gate: &tunnel.Gate{
		Policy:   func() netpolicy.Policy { return netpolicy.Policy{Rules: []netpolicy.Rule{rule}} },
		Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
	}}
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { served <- p.Serve(ctx, l) }()

	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})}
	client := &http.Client{Transport: transport}
	for range 3 {
		res, err := client.Get(server.URL)
		must(t, err)
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != "GET 0" {
			t.Errorf("got %q, %v", got, err)
		}
		res.Body.Close()
	}
	res, err := client.Get("http://127.0.0.1:1/")
	must(t, err)
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("got %d", res.StatusCode)
	}
	transport.CloseIdleConnections()

	conn, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\n\r\nPOST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
		server.Listener.Addr())
	must(t, conn.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(conn)
	if err != nil || len(got) < 6 || string(got[len(got)-6:]) != "POST 5" {
		t.Errorf("got %q, %v", got, err)
	}

	// The end of the connection ends the proxy.
	must(t, c.Close())
	if err := wait(t, "proxy to end", served); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("proxy ended with %v", err)
	}
}
