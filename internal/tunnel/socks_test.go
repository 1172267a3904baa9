package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

// socksRequest is a greeting and a request for a name, or an address.
func socksRequest(command byte, host string, port int) []byte {
	b := []byte{5, 1, 0, 5, command, 0}
	switch addr, err := netip.ParseAddr(host); {
	case err != nil:
		b = append(append(b, 3, byte(len(host))), host...)
	case addr.Is4():
		b = append(append(b, 1), addr.AsSlice()...)
	default:
		b = append(append(b, 4), addr.AsSlice()...)
	}
	return append(b, byte(port>>8), byte(port))
}

func TestSOCKS(t *testing.T) {
	server := echo(t)
	addr := netip.MustParseAddrPort(server)
	proxy, log := serve(t, &Proxy{Gate: &Gate{
		Policy:   fixed(rules(t, "good.test", server, "away.test", "[2001:4860::1]:9")),
		Resolver: hostFile{"good.test": addrs("8.8.8.8"), "away.test": addrs("8.8.4.4")},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "8.8.4.4") {
				return nil, &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}
			}
			if strings.HasPrefix(address, "[") {
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}
			return (&net.Dialer{}).DialContext(ctx, network, server)
		},
	}})
	ok := "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	no := func(code byte) string { return "\x05\x00\x05" + string(code) + "\x00\x01\x00\x00\x00\x00\x00\x00" }
	for i, tt := range []struct {
		sent []byte
		want string
	}{
		{append(socksRequest(1, "GOOD.test.", int(addr.Port())), "hello"...), ok + "got hello"},
		{append(socksRequest(1, "127.0.0.1", int(addr.Port())), "hello"...), ok + "got hello"},
		{socksRequest(1, "evil.test", 443), no(2)},
		{socksRequest(1, "away.test", 443), no(4)},
		{socksRequest(1, "2001:4860::1", 9), no(5)},
		{socksRequest(1, "2001:4860::2", 9), no(2)},
		{socksRequest(1, "missing\x00.test", 443), no(2)},
		{socksRequest(2, "bind.test", 443), no(7)},
		{socksRequest(3, "0.0.0.0", 0), no(7)},
		{[]byte{5, 1, 0, 5, 1, 0, 9, 1, 2, 3}, no(8)},
		{[]byte{5, 2, 1, 2}, "\x05\xff"},
		{[]byte{5, 0}, "\x05\xff"},
		{[]byte{5, 1, 0, 4, 1, 0, 1}, "\x05\x00"},
		{[]byte{5, 9, 0}, ""},
	} {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(tt.sent)
		_ = conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		if string(got) != tt.want || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d: %x gave %q, %v, want %q", i, tt.sent, got, err, tt.want)
		}
		conn.Close()
	}
	log.nth(t, 10) // the last of them: nothing is written any more
	byHost := map[string]Connection{}
	for _, rec := range log.all {
		byHost[rec.Host] = rec
	}
	if rec := byHost["GOOD.test."]; !rec.Allowed || rec.Way != WaySOCKS || rec.BytesUp != 5 || rec.BytesDown != 9 {
		t.Errorf("record %+v", rec)
	}
	if rec := byHost["evil.test"]; rec.Allowed || rec.Port != 443 || rec.Reason == "" {
		t.Errorf("record %+v", rec)
	}
}

func TestSOCKSClosesSlowRequests(t *testing.T) {
	proxy, _ := serve(t, &Proxy{Gate: &Gate{Policy: fixed(Policy{})}, headerTime: 50 * time.Millisecond})
	for _, sent := range []string{"\x05", "\x05\x01\x00\x05\x01\x00\x03\x10half"} {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, sent)
		_, _ = io.ReadAll(conn) // ends
		conn.Close()
	}
}

// bytesConn reads what it was made with and keeps what is written.
type bytesConn struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *bytesConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *bytesConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (*bytesConn) Close() error                  { return nil }
func (*bytesConn) CloseWrite() error             { return nil }

func FuzzServe(f *testing.F) {
	f.Add(socksRequest(1, "good.test", 443))
	f.Add(socksRequest(3, "::1", 0))
	f.Add([]byte("CONNECT good.test:443 HTTP/1.1\r\n\r\nhello"))
	f.Add([]byte("GET http://good.test/ HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &Proxy{Gate: &Gate{
			Policy:   fixed(rules(t, "good.test")),
			Resolver: hostFile{"good.test": addrs("8.8.8.8")},
			Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
			Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				if !strings.HasPrefix(address, "8.8.8.8:") {
					t.Errorf("dialled %s", address)
				}
				return nil, fmt.Errorf("no network")
			},
		}}
		p.serveConn(t.Context(), &bytesConn{in: bytes.NewReader(data)})
	})
}
