package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestProxyRefuses(t *testing.T) {
	resolved := make(chan string, 100)
	p := &Proxy{Gate: &Gate{
		Policy: fixed(rules(t, "good.test:443", "bad.test", "missing.test")),
		Resolver: resolverFunc(func(host string) ([]netip.Addr, error) {
			resolved <- host
			return hostFile{"bad.test": addrs("127.0.0.1", "169.254.169.254")}.LookupNetIP(t.Context(), "ip", host)
		}),
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			t.Errorf("dialled %s", address)
			return nil, errors.New("no")
		},
		Advice: "allow it in the menu",
	}}
	proxy, log := serve(t, p)
	for i, tt := range []struct{ request, status, body string }{
		{
			"CONNECT evil.test:443 HTTP/1.1\r\nHost: good.test:443\r\n\r\n", "403",
			"CALMenu: evil.test:443 is not on the allow list of this workspace; allow it in the menu\n",
		},
		{"CONNECT good.test:22 HTTP/1.1\r\n\r\n", "403", "good.test:22 is not on the allow list"},
		{
			"CONNECT bad.test:443 HTTP/1.1\r\n\r\n", "403",
			"bad.test:443 is refused: it resolves to 127.0.0.1, a loopback address",
		},
		{"CONNECT 127.0.0.1:22 HTTP/1.1\r\n\r\n", "403", "is not on the allow list"},
		{"CONNECT [::1]:22 HTTP/1.1\r\n\r\n", "403", "[::1]:22 is not on the allow list"},
		{"CONNECT missing.test:443 HTTP/1.1\r\n\r\n", "502", "no such host"},
		{"CONNECT good.test HTTP/1.1\r\n\r\n", "400", "host:port"},
		{"CONNECT good.test:99999 HTTP/1.1\r\n\r\n", "400", "host:port"},
		{"CONNECT / HTTP/1.1\r\nHost: good.test:443\r\n\r\n", "400", "host:port"},
		{"GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n", "403", "evil.test:80 is not on the allow list"},
		{"GET http://bad.test/ HTTP/1.1\r\nHost: x\r\n\r\n", "403", "is refused: it resolves to 127.0.0.1"},
		{"GET http://x@evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n", "403", "evil.test:80 is not on the allow list"},
		{"GET https://good.test/ HTTP/1.1\r\nHost: x\r\n\r\n", "400", "use CONNECT"},
		{"GET / HTTP/1.1\r\nHost: good.test:443\r\n\r\n", "400", "this is a proxy"},
		{"GET http:///x HTTP/1.1\r\nHost: good.test\r\n\r\n", "400", "this is a proxy"},
		{"GET http://good.test:0/ HTTP/1.1\r\nHost: x\r\n\r\n", "400", "not a port"},
		{"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "400", "not an HTTP request"},
		{
			"GET http://evil.test/ HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", maxHeader+8192) + "\r\n\r\n",
			"431", "too large",
		},
		{"POST http://bad.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400", "not an HTTP"},
	} {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, tt.request); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		text := body(t, res, err)
		if strconv.Itoa(res.StatusCode) != tt.status || !strings.Contains(text, tt.body) || strings.Count(text, "\n") != 1 {
			t.Errorf("%d: %.40q gave %d %q, want %s %q", i, tt.request, res.StatusCode, text, tt.status, tt.body)
		}
		conn.Close()
	}
	close(resolved)
	for host := range resolved {
		if host != "bad.test" && host != "missing.test" {
			t.Errorf("asked the DNS for %q, which is not allowed", host)
		}
	}
	if rec := log.nth(t, 1); rec.Allowed || rec.Host != "evil.test" || rec.Port != 443 || rec.Reason == "" {
		t.Errorf("record %+v", rec)
	}
}

type resolverFunc func(host string) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return f(host)
}

func TestProxyClosesSlowRequests(t *testing.T) {
	p := &Proxy{Gate: &Gate{Policy: fixed(Policy{})}, headerTime: 50 * time.Millisecond}
	proxy, _ := serve(t, p)
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.ReadAll(conn)
	}()
	// One byte at a time, for ever.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for i := 0; ; i++ {
		select {
		case <-ended:
			return
		case <-tick.C:
			_, _ = conn.Write([]byte{"GET http://a.test/ HTTP/1.1\r\nX-Slow: "[min(i, 36)]})
		case <-deadline:
			t.Fatal("a slow request was not ended")
		}
	}
}

func TestProxyBoundsConnections(t *testing.T) {
	const limit, many = 8, 1000
	var now, most atomic.Int64
	p := &Proxy{Gate: &Gate{Policy: func() Policy {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				return Policy{}
			}
		}
	}}, MaxConns: limit}
	proxy, log := serve(t, p)
	// Connections that are held open take all places ...
	var held []net.Conn
	for range limit {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	var wg sync.WaitGroup
	var closed atomic.Int64
	gate := make(chan struct{}, 50)
	for range many {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			conn, err := net.Dial("tcp", proxy)
			if err != nil {
				return
			}
			defer conn.Close()
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				closed.Add(1)
			}
		})
	}
	wg.Wait()
	if closed.Load() != many {
		t.Errorf("%d of %d connections beyond the limit were closed", closed.Load(), many)
	}
	if rec := log.nth(t, 1); rec.Allowed || !strings.Contains(rec.Reason, "8 connections") {
		t.Errorf("record %+v", rec)
	}
	if n := log.count(); n > 30 {
		t.Errorf("%d records of connections beyond the limit", n)
	}
	other := &wire{in: bytes.NewReader([]byte("GET http://a.test/ HTTP/1.1\r\nHost: x\r\n\r\n"))}
	if p.ServeConn(t.Context(), other); other.out.Len() > 0 {
		t.Errorf("one that came another way got %q", other.out.String())
	}
	// ... and give them back.
	for _, conn := range held {
		conn.Close()
	}
	eventually(t, "a place to be free", func() bool {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			return false
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET http://a.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, _ := io.ReadAll(conn)
		return strings.Contains(string(answer), "not on the allow list")
	})
	if most.Load() > limit {
		t.Errorf("%d at once", most.Load())
	}
}

func TestServeEndsItsConnections(t *testing.T) {
	server := echo(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Gate: &Gate{Policy: fixed(rules(t, server)), Upstream: func(*url.URL) (*url.URL, error) { return nil, nil }}}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, l) }()
	conn, answer := ask(t, l.Addr().String(), "CONNECT "+server+" HTTP/1.1\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Fatalf("answer %q", answer)
	}
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("connection: %v", err)
	}
	if err := p.Serve(t.Context(), l); err == nil {
		t.Error("served a closed listener")
	}
	if err := (&Proxy{}).Serve(t.Context(), l); err == nil {
		t.Error("served without a policy")
	}
}

// corporate is a proxy such as a company has: CONNECT and plain requests, with a password.
func corporate(t *testing.T, server string) (*url.URL, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.Host)
		mu.Unlock()
		if user := r.Header.Get("Proxy-Authorization"); user != "Basic dTpw" {
			http.Error(w, "who are you?", http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			fmt.Fprintf(w, "for %s", r.URL)
			return
		}
		far, err := net.Dial("tcp", server)
		if err != nil {
			t.Error(err)
			return
		}
		defer far.Close()
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer near.Close()
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		_, _, _ = relay(near, far)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("u", "p")
	return u, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

func TestProxyBehindTheHostsProxy(t *testing.T) {
	server := echo(t)
	upstream, asked := corporate(t, server)
	proxy, log := serve(t, &Proxy{Gate: &Gate{
		Policy:   fixed(rules(t, "outside.test", "inside.test")),
		Resolver: hostFile{"inside.test": addrs("127.0.0.1")}, // outside names do not resolve here
		Upstream: func(u *url.URL) (*url.URL, error) { return upstream, nil },
	}})
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "CONNECT Outside.test:443 HTTP/1.1\r\n\r\nhello")
	_ = conn.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), "\r\n\r\ngot hello") {
		t.Errorf("got %q, %v", got, err)
	}
	res, err := via(t, proxy).Get("http://outside.test/x")
	if got := body(t, res, err); got != "for http://outside.test/x" {
		t.Errorf("got %q", got)
	}
	res, err = via(t, proxy).Get("http://inside.test/x")
	if got := body(t, res, err); res.StatusCode != http.StatusForbidden || !strings.Contains(got, "loopback") {
		t.Errorf("got %d %q", res.StatusCode, got)
	}
	res, err = via(t, proxy).Get("http://other.test/x")
	if got := body(t, res, err); res.StatusCode != http.StatusForbidden {
		t.Errorf("got %d %q", res.StatusCode, got)
	}
	if got := strings.Join(asked(), ", "); got != "CONNECT outside.test:443, GET outside.test" {
		t.Errorf("the host's proxy was asked %s", got)
	}
	upstream.User = nil
	_, answer := ask(t, proxy, "CONNECT outside.test:443 HTTP/1.1\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 502") {
		t.Errorf("answer %q", answer)
	}
	eventually(t, "a record of the refusal", func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return strings.Contains(log.all[len(log.all)-1].Err, "407")
	})
}

func TestPolicyChangeIsInForceAtOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	defer server.Close()
	var policy atomic.Pointer[Policy]
	allowed := rules(t, server.Listener.Addr().String())
	policy.Store(&allowed)
	proxy, _ := serve(t, &Proxy{Gate: &Gate{Policy: func() Policy { return *policy.Load() }}})
	client := via(t, proxy)
	res, err := client.Get(server.URL)
	if got := body(t, res, err); got != "ok" {
		t.Errorf("got %q", got)
	}
	policy.Store(&Policy{})
	res, err = client.Get(server.URL)
	if body(t, res, err); res.StatusCode != http.StatusForbidden {
		t.Errorf("got %d on the kept connection", res.StatusCode)
	}
}

// wire is a guest's connection with all its input there and nobody reading.
type wire struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (w *wire) Read(b []byte) (int, error)  { return w.in.Read(b) }
func (w *wire) Write(b []byte) (int, error) { return w.out.Write(b) }
func (w *wire) Close() error                { return nil }
func (w *wire) CloseWrite() error           { return nil }

func FuzzRequest(f *testing.F) {
	f.Add([]byte("CONNECT a.test:443 HTTP/1.1\r\n\r\n"))
	f.Add([]byte("GET http://a.test/ HTTP/1.1\r\nHost: x\r\n\r\nGET http://b.test/ HTTP/1.1\r\n\r\n"))
	f.Add([]byte("POST http://allowed.test:1/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Add([]byte("CONNECT allowed.test:1 HTTP/1.1\r\n\r\nhello"))
	f.Add([]byte("GET http://allowed.test:1/ HTTP/1.1\r\nExpect: 100-continue\r\nConnection: x, y\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01"))
	policy := rules(f, "allowed.test:1")
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &Proxy{Gate: &Gate{
			Policy: fixed(policy), Resolver: hostFile{"allowed.test": addrs("8.8.8.8")},
			Own: func() []netip.Prefix { return nil }, Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
			Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				if address != "8.8.8.8:1" {
					t.Errorf("dialled %s", address)
				}
				return nil, errors.New("unreachable")
			},
			Log: func(c Connection) {
				if c.Allowed && !strings.EqualFold(strings.TrimSuffix(c.Host, "."), "allowed.test") {
					t.Errorf("allowed %+v", c)
				}
			},
		}}
		w := &wire{in: bytes.NewReader(data)}
		p.serveConn(t.Context(), w)
		for answer := w.out.Bytes(); len(answer) > 0; {
			res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
			if err != nil {
				t.Fatalf("answer %q: %v", answer, err)
			}
			if res.StatusCode == http.StatusContinue {
				_, answer, _ = bytes.Cut(answer, []byte("\r\n\r\n"))
				continue
			}
			if res.StatusCode < 400 {
				t.Errorf("answer %q", answer)
			}
			break
		}
	})
}
