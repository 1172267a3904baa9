package tunnel

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/calmenu/calmenu/internal/netpolicy"
)

// socksServer is a SOCKS5 server (RFC 1928, 1929) that wants a login and tells which destination it was asked for. What it
// is sent it sends back.
func socksServer(t *testing.T, login string) (address string, asked <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	destinations := make(chan string, 4)
	serve := func(c net.Conn) {
		defer c.Close()
		read := func(n int) []byte {
			b := make([]byte, n)
			if _, err := io.ReadFull(c, b); err != nil {
				return nil
			}
			return b
		}
		text := func() string {
			if n := read(1); n != nil {
				return string(read(int(n[0])))
			}
			return ""
		}
		read(1) // version
		if !strings.Contains(text(), "\x02") {
			_, _ = c.Write([]byte{5, 0xff})
			return
		}
		_, _ = c.Write([]byte{5, 2})
		read(1)
		if got := text() + ":" + text(); got != login {
			_, _ = c.Write([]byte{1, 1})
			return
		}
		_, _ = c.Write([]byte{1, 0})
		if head := read(4); head == nil || head[3] != 3 {
			destinations <- "not a name"
			return
		}
		name, port := text(), read(2)
		destinations <- hostPort(name, int(port[0])<<8|int(port[1]))
		_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		_, _ = io.Copy(c, c)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String(), destinations
}

// TestSOCKSUpstream goes out by the host's SOCKS5 proxy, which resolves what the host cannot.
func TestSOCKSUpstream(t *testing.T) {
	address, asked := socksServer(t, "me:secret")
	policy := rules(t, "outside.test:443")
	log := &records{}
	g := &Gate{
		Policy: func() Policy { return policy }, Resolver: hostFile{}, Log: log.add,
		Upstream: func(*url.URL) (*url.URL, error) {
			return &url.URL{Scheme: "socks5", Host: address, User: url.UserPassword("me", "secret")}, nil
		},
	}
	near, guest := net.Pipe()
	answer := make(chan error, 1)
	go g.Carry(t.Context(), Destination{Host: "outside.test", Port: 443, Way: WayConnect}, pipeStream{near}, func(err error) error {
		answer <- err
		return err
	})
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "outside.test:443" {
		t.Errorf("the proxy was asked for %s", got)
	}
	hello := realHello(t, "outside.test")
	go func() { _, _ = guest.Write(hello) }()
	back := make([]byte, len(hello))
	if _, err := io.ReadFull(guest, back); err != nil || !bytes.Equal(back, hello) {
		t.Errorf("%d bytes came back, %v", len(back), err)
	}
	_ = guest.Close()
	if r := log.nth(t, 1); !r.Allowed || r.Rule != "outside.test:443" {
		t.Errorf("%+v", r)
	}

	// A wrong login is an error that does not tell the password.
	g.Upstream = func(*url.URL) (*url.URL, error) {
		return &url.URL{Scheme: "socks5h", Host: address, User: url.UserPassword("me", "wr0ng")}, nil
	}
	_, err := g.open(t.Context(), Destination{Host: "outside.test", Port: 443, Way: WayConnect}, newRecord(Destination{}))
	if err == nil || strings.Contains(err.Error(), "wr0ng") || !strings.Contains(err.Error(), "the host's proxy") {
		t.Errorf("a wrong login: %v", err)
	}
}

// TestQuestionsThatAPersonIsToAnswer has the guest ask for a name nobody has allowed: it is not resolved, and dialling what
// stands for it asks.
func TestQuestionsThatAPersonIsToAnswer(t *testing.T) {
	policy := Policy{Mode: netpolicy.Ask}
	resolved := 0
	var asked []string
	g := &Gate{
		Policy: func() Policy { return policy }, Upstream: direct,
		Resolver: resolverFunc(func(string) ([]netip.Addr, error) {
			resolved++
			return addrs("8.8.8.8"), nil
		}),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, _ := net.Pipe()
			return near, nil
		},
		Ask: func(_ context.Context, host string, port int) {
			asked = append(asked, hostPort(host, port))
			policy = rules(t, "a.test:443")
		},
	}
	code, list := answers(t, g.Answer(t.Context(), question(t, "a.test", dnsmessage.TypeA)))
	if code != dnsmessage.RCodeSuccess || len(list) != 1 || !standIns.Contains(list[0]) || resolved != 0 {
		t.Fatalf("%v, %v, resolved %d times", code, list, resolved)
	}
	record := newRecord(Destination{})
	far, err := g.open(t.Context(), Destination{Host: list[0].String(), Port: 443, Way: WayHelper}, record)
	if err != nil || len(asked) != 1 || asked[0] != "a.test:443" || resolved != 1 || record.Host != "a.test" {
		t.Fatalf("%v, asked %v, resolved %d times, %+v", err, asked, resolved, record)
	}
	_ = far.Close()
}
