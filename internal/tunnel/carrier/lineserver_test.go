package carrier

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/mux"
)

// overMux serves a guest's streams until the test ends. most bounds the proxy's connections.
func overMux(t testing.TB, g *tunnel.Gate, most int) *mux.Session {
	t.Helper()
	a, b := net.Pipe()
	host, guest := mux.Server(b, bufio.NewReader(b), mux.Serial, catch.MaxStreams), mux.Client(a, bufio.NewReader(a), mux.Serial, catch.MaxStreams)
	s := &lineServer{newCaught(g), make(chan struct{}, maxCaught), &tunnel.Proxy{Gate: g, MaxConns: most}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.serve(context.Background(), host)
	}()
	t.Cleanup(func() {
		_ = guest.Close()
		_ = host.Close()
		<-done
	})
	return guest
}

// answered says something over a new stream and returns all that comes back.
func answered(t testing.TB, guest *mux.Session, target, said string) string {
	t.Helper()
	st, err := guest.Open(target)
	must(t, err)
	defer st.Close()
	late := time.AfterFunc(endTime, func() { _ = st.Close() })
	defer late.Stop()
	// What is refused may be closed before it was said.
	_, _ = io.WriteString(st, said)
	_ = st.CloseWrite()
	got, _ := io.ReadAll(st)
	if !late.Stop() {
		t.Errorf("%s: no end within %v", target, endTime)
	}
	return string(got)
}

const (
	socksHello = "\x05\x01\x00\x05\x01\x00\x03\x09good.test\x00\x50"
	request    = "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n"
)

// TestProxyOverThePort: what a guest says to the proxy's ports is served as it is over SSH, and recorded so.
func TestProxyOverThePort(t *testing.T) {
	g := gate(t, nettest.Serve(t, hello), "good.test:80")
	log := make(chan tunnel.Connection, 8)
	g.Log = func(c tunnel.Connection) { log <- c }
	guest := overMux(t, g, 0)
	for _, tt := range []struct {
		target, said, begin string
		way                 tunnel.Way
	}{
		{"127.0.0.1:1080", socksHello + request, "\x05\x00\x05\x00\x00\x01", tunnel.WaySOCKS},
		{"127.0.0.1:3128", socksHello + request, "\x05\x00\x05\x00\x00\x01", tunnel.WaySOCKS},
		{"127.0.0.1:3128", "CONNECT good.test:80 HTTP/1.1\r\n\r\n" + request, "HTTP/1.1 200 Connection", tunnel.WayConnect},
		{"127.0.0.1:3128", "GET http://good.test/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n", tunnel.WayHTTP},
		{"8.8.8.8:80", request, "HTTP/1.1 200 OK\r\n", tunnel.WayHelper},
	} {
		got := answered(t, guest, tt.target, tt.said)
		if !strings.HasPrefix(got, tt.begin) || !strings.HasSuffix(got, "hello\n") {
			t.Errorf("%s, %s: %q", tt.target, tt.way, got)
		}
		if c := <-log; c.Way != tt.way || c.Host != "good.test" || c.Port != 80 || !c.Allowed {
			t.Errorf("%s, %s: record %+v", tt.target, tt.way, c)
		}
	}
}

// TestLoopbackOverThePort: a guest that says its connection leads to another port of the loopback, or to the proxy's in
// another spelling, gets nothing.
func TestLoopbackOverThePort(t *testing.T) {
	g := gate(t, "", "good.test:80") // whose Dial knows no server
	g.Log = func(c tunnel.Connection) {
		if c.Allowed {
			t.Errorf("allowed: %+v", c)
		}
	}
	guest := overMux(t, g, 0)
	for _, target := range []string{
		"127.0.0.1:22", "127.0.0.1:3129", "127.0.0.1:0", "127.0.0.2:3128", "0.0.0.0:3128", "[::1]:3128", "[::ffff:127.0.0.1]:3128",
		"[::ffff:127.0.0.1%lo]:3128", "127.1:3128", "localhost:3128", "3128", "",
	} {
		if got := answered(t, guest, target, socksHello+request); got != "" {
			t.Errorf("%q: %q", target, got)
		}
	}
}

// TestProxyOverThePortIsBounded: what is beyond the proxy's bound ends unread, and the places are given back.
func TestProxyOverThePortIsBounded(t *testing.T) {
	const most = 3
	g := gate(t, nettest.Serve(t, hello), "good.test:80")
	guest := overMux(t, g, most)
	var held []*mux.Stream
	for range most {
		st, err := guest.Open("127.0.0.1:1080")
		must(t, err)
		_, err = io.WriteString(st, socksHello[:3])
		must(t, err)
		_, err = io.ReadFull(st, make([]byte, 2)) // it is served
		must(t, err)
		held = append(held, st)
	}
	if got := answered(t, guest, "127.0.0.1:3128", socksHello+request); got != "" {
		t.Errorf("one more than %d: %q", most, got)
	}
	for _, st := range held {
		must(t, st.Close())
	}
	for limit := time.Now().Add(endTime); ; time.Sleep(time.Millisecond) {
		got := answered(t, guest, "127.0.0.1:3128", socksHello+request)
		if strings.HasSuffix(got, "hello\n") {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("no place is given back: %q", got)
		}
	}
}
