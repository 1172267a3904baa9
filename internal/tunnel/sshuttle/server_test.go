package sshuttle

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/sshuttle/sshuttletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type fixedNames map[string]string

func (f fixedNames) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := f[host]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// gate allows what is listed, and leads what is dialled at 8.8.8.8 to the test's server.
func gate(t testing.TB, server string, allow ...string) *tunnel.Gate {
	t.Helper()
	var rules []tunnel.Rule
	for _, a := range allow {
		r, err := netpolicy.ParseRule(a)
		must(t, err)
		rules = append(rules, r)
	}
	return &tunnel.Gate{
		Policy:   func() tunnel.Policy { return tunnel.Policy{Rules: rules} },
		Resolver: fixedNames{"good.test": "8.8.8.8"},
		Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
		Own:      func() []netip.Prefix { return nil },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, _ := net.SplitHostPort(address); host == "8.8.8.8" {
				address = server
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}
}

// start serves one client until the test ends.
func start(t testing.TB, g *tunnel.Gate) (*sshuttletest.Client, <-chan error) {
	t.Helper()
	near, far := sockets(t)
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), far, g) }()
	c, err := sshuttletest.New(near, sshuttletest.Upload)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c, served
}

func sockets(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	near, err = net.Dial("tcp", l.Addr().String())
	must(t, err)
	far, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// echo sends back what it gets once that has ended.
func echo(conn *net.TCPConn) {
	data, _ := io.ReadAll(conn)
	_, _ = conn.Write(append([]byte("got "), data...))
}

func port(t testing.TB, address string) string {
	_, p, err := net.SplitHostPort(address)
	must(t, err)
	return p
}

func question(t testing.TB, name string) []byte {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: 7},
		Questions: []dnsmessage.Question{
			{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
		},
	}
	data, err := m.Pack()
	must(t, err)
	return data
}

func TestServeCarriesConnections(t *testing.T) {
	server := nettest.Serve(t, echo)
	c, served := start(t, gate(t, server, "good.test:"+port(t, server), server))
	if answer, err := c.Ask(question(t, "good.test")); err != nil || !bytes.HasSuffix(answer, []byte{8, 8, 8, 8}) {
		t.Fatalf("answer %x, %v", answer, err)
	}
	for _, tt := range []struct{ to, want string }{
		{server, "got hello"},
		{"8.8.8.8:" + port(t, server), "got hello"}, // good.test
		{"8.8.8.8:22", ""},                          // refused: it ends
		{"8.8.4.4:443", ""},
		{"127.0.0.1:1", ""},
		{"169.254.169.254:80", ""},
	} {
		conn, err := c.Dial(tt.to)
		must(t, err)
		_, _ = io.WriteString(conn, "hello")
		must(t, conn.CloseWrite())
		if got, err := io.ReadAll(conn); err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v", tt.to, got, err)
		}
	}
	must(t, c.Frame(0, sshuttletest.HostReq, nil)) // refused by silence
	must(t, c.Close())
	if err := <-served; err != nil {
		t.Errorf("served: %v", err)
	}
}

func TestServeCarriesManyConnectionsAtOnce(t *testing.T) {
	server := nettest.Serve(t, echo)
	c, _ := start(t, gate(t, server, server))
	all, atOnce := nettest.Count("CAL_TEST_CONNECTIONS", 600), nettest.Count("CAL_TEST_AT_ONCE", 200)
	var failed atomic.Int32
	var wg sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range all {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			conn, err := c.Dial(server)
			if err != nil {
				failed.Add(1)
				return
			}
			defer conn.Close()
			sent := strings.Repeat(fmt.Sprint(i), 1+i%50)
			_, _ = io.WriteString(conn, sent)
			_ = conn.CloseWrite()
			if got, err := io.ReadAll(conn); err != nil || string(got) != "got "+sent {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d connections failed", failed.Load(), all)
	}
}

func TestServeCarriesBulkBothWays(t *testing.T) {
	size := int64(nettest.Count("CAL_TEST_BULK_MIB", 16)) << 20
	server := nettest.Serve(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(conn, conn) // at once
		_ = conn.CloseWrite()
	})
	c, _ := start(t, gate(t, server, server))
	conn, err := c.Dial(server)
	must(t, err)
	up, down := sha256.New(), sha256.New()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.Copy(io.MultiWriter(up, conn), io.LimitReader(rand.Reader, size)); err != nil {
			t.Error(err)
		}
		_ = conn.CloseWrite()
	})
	n, err := io.Copy(down, conn)
	wg.Wait()
	if err != nil || n != size || !bytes.Equal(up.Sum(nil), down.Sum(nil)) {
		t.Errorf("%d of %d bytes came back, %v, as they were sent: %v", n, size, err, bytes.Equal(up.Sum(nil), down.Sum(nil)))
	}
}

func TestServeCarriesPackets(t *testing.T) {
	at := nettest.ServeUDP(t, func(said []byte) []byte { return append([]byte("got "), said...) })
	c, _ := start(t, gate(t, "", at))
	want := strings.Replace(at, ":", ",", 1) + ",got hello"
	if got, err := c.Packet(at, "hello"); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestADestinationThatDoesNotRead holds up the others for a while only, and costs no more memory than it may.
func TestADestinationThatDoesNotRead(t *testing.T) {
	release := make(chan struct{})
	stuck := nettest.Serve(t, func(conn *net.TCPConn) {
		_ = conn.SetReadBuffer(4 << 10)
		<-release
	})
	server := nettest.Serve(t, echo)
	near, far := sockets(t)
	s := make(chan error, 1)
	go func() { s <- Serve(t.Context(), far, gate(t, server, server, stuck)) }()
	c, err := sshuttletest.New(near, sshuttletest.Upload)
	must(t, err)
	defer c.Close()
	full, err := c.Dial(stuck)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		block := make([]byte, 32<<10)
		for range 3 * softWaiting / len(block) {
			if _, err := full.Write(block); err != nil {
				return
			}
		}
	}()
	for range 20 {
		conn, err := c.Dial(server)
		must(t, err)
		must(t, conn.CloseWrite())
		if got, err := io.ReadAll(conn); err != nil || string(got) != "got " {
			t.Fatalf("%q, %v", got, err)
		}
	}
	close(release)
	<-done
}

// TestPingsWaitForADestinationThatIsBehind until it has taken what came, or ends; and no more of them than there is room for.
func TestPingsWaitForADestinationThatIsBehind(t *testing.T) {
	begin := func() (s *session, c *channel, answered func(want int, when string)) {
		s = &session{out: newOutbox(io.Discard, func() {})}
		s.less.L = &s.mu
		c = newChannel(s, 1)
		s.channels = map[uint16]*channel{1: c}
		s.out.writing = true // what is answered stays in the queue
		s.data(c, make([]byte, softWaiting+1000))
		return s, c, func(want int, when string) {
			t.Helper()
			s.out.mu.Lock()
			defer s.out.mu.Unlock()
			if n := bytes.Count(s.out.queue, []byte("ask")); n != want {
				t.Errorf("%s: %d of the pings were answered, not %d", when, n, want)
			}
		}
	}
	s, c, answered := begin()
	s.pong("ask 1")
	s.pong("ask 2")
	answered(0, "behind")
	some := make([]byte, 999)
	if _, err := c.Read(some); err != nil {
		t.Fatal(err)
	}
	answered(0, "still behind")
	if _, err := c.Read(some); err != nil {
		t.Fatal(err)
	}
	answered(2, "caught up")
	s.pong("ask 3")
	answered(3, "no longer behind")

	s, c, answered = begin()
	s.pong("ask")
	must(t, c.Close())
	answered(1, "ended")

	s, _, answered = begin()
	for range maxHeld + 3 {
		s.pong("ask")
	}
	answered(3, "too many")
}

func TestServeEndsHostileClients(t *testing.T) {
	server := nettest.Serve(t, echo)
	for name, sent := range map[string]string{
		"no upload":          strings.Repeat("x", 300<<10),
		"endless assembler":  strings.Repeat("x = 1\n", 100<<10),
		"huge module":        "a\nsshuttle\n99999999999\n",
		"odd length":         "a\nsshuttle\nfive\n",
		"many modules":       "sshuttle\n" + strings.Repeat("0\nm\n", 200),
		"no frame":           sshuttletest.Upload + "GET / HTTP/1.1\r\n\r\n",
		"unknown command":    sshuttletest.Upload + "SS\x00\x01\x42\x99\x00\x00",
		"server's command":   sshuttletest.Upload + "SS\x00\x01\x42\x0b\x00\x00",
		"odd connection":     sshuttletest.Upload + "SS\x00\x01\x42\x03\x00\x05hello",
		"channel used twice": sshuttletest.Upload + strings.Repeat("SS\x00\x01\x42\x03\x00\x0d2,127.0.0.1,1", 2),
	} {
		near, far := sockets(t)
		go func() {
			_, _ = io.WriteString(near, sent)
			_, _ = io.Copy(io.Discard, near)
		}()
		if err := Serve(t.Context(), far, gate(t, server)); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s: ended with %v", name, err)
		}
		near.Close()
	}
}

// TestAClientThatNeverReads is ended once too much waits for it.
func TestAClientThatNeverReads(t *testing.T) {
	near, far := sockets(t)
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), far, gate(t, "")) }()
	_, err := io.WriteString(near, sshuttletest.Upload)
	must(t, err)
	ping := append(appendHeader(nil, 0, cmdPing, 60000), make([]byte, 60000)...)
	go func() {
		for {
			if _, err := near.Write(ping); err != nil {
				return
			}
		}
	}()
	select {
	case err := <-served:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(time.Minute):
		t.Fatal("a client that never reads is served for ever")
	}
}

func TestChannelsAreBounded(t *testing.T) {
	release := make(chan struct{})
	server := nettest.Serve(t, func(*net.TCPConn) { <-release })
	c, _ := start(t, gate(t, server, server))
	many := nettest.Count("CAL_TEST_CHANNELS", maxChannels+500)
	refused := make(chan struct{}, many)
	for range many {
		conn, err := c.Dial(server)
		must(t, err)
		go func() {
			_, _ = io.ReadAll(conn)
			conn.Close()
			refused <- struct{}{}
		}()
	}
	for range many - maxChannels {
		<-refused
	}
	close(release)
}

// memory is a stream of bytes that were recorded.
type memory struct{ io.Reader }

func (memory) Write(p []byte) (int, error) { return len(p), nil }
func (memory) Close() error                { return nil }

func FuzzServe(f *testing.F) {
	frames := []byte(sshuttletest.Upload)
	for _, fr := range []struct {
		c    command
		data string
	}{
		{cmdPing, "chicken"},
		{cmdTCPConnect, "2,8.8.8.8,443"},
		{cmdTCPData, "hello"},
		{cmdTCPEOF, ""},
		{cmdTCPStopSending, ""},
		{cmdUDPOpen, "2"},
		{cmdUDPData, "8.8.8.8,53,x"},
		{cmdUDPClose, ""},
		{cmdHostReq, ""},
	} {
		frames = append(appendHeader(frames, 1, fr.c, len(fr.data)), fr.data...)
	}
	f.Add(frames)
	f.Add(append(appendHeader([]byte(sshuttletest.Upload), 2, cmdDNSReq, 0), question(f, "good.test")...))
	f.Add([]byte(sshuttletest.Upload + "SS"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g := gate(t, "", "good.test:443")
		g.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
			if address != "8.8.8.8:443" {
				t.Errorf("dialled %s", address)
			}
			return nil, errors.New("no network")
		}
		_ = Serve(t.Context(), memory{bytes.NewReader(data)}, g)
	})
}
