package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostFile resolves names as a test says.
type hostFile map[string][]netip.Addr

func (h hostFile) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := h[host]; ok {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// channel behaves as a connection from the guest: deadlines are not known.
type channel struct{ *net.TCPConn }

func (channel) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (channel) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (channel) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

type channels struct{ net.Listener }

func (c channels) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return channel{conn.(*net.TCPConn)}, nil
}

// open judges and dials.
func (g *Gate) open(ctx context.Context, d Destination, record *Connection) (*inspected, error) {
	r, err := g.enter(ctx, d, record)
	if err != nil {
		return nil, err
	}
	return g.reach(ctx, &r, record)
}

type records struct {
	mu  sync.Mutex
	all []Connection
}

func (r *records) add(c Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, c)
}

func (r *records) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// last waits for the n-th record.
func (r *records) nth(t *testing.T, n int) Connection {
	t.Helper()
	eventually(t, fmt.Sprintf("record %d", n), func() bool { return r.count() >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[n-1]
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// serve runs a proxy until the test ends and returns its address and its log.
func serve(t *testing.T, p *Proxy) (string, *records) {
	t.Helper()
	log := &records{}
	p.Gate.Log = log.add
	if p.Gate.Upstream == nil {
		p.Gate.Upstream = func(*url.URL) (*url.URL, error) { return nil, nil }
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, channels{l}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String(), log
}

func fixed(p Policy) func() Policy { return func() Policy { return p } }

// via is a client that knows no way but the proxy.
func via(t *testing.T, proxy string) *http.Client {
	tr := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: proxy}),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func portOf(t *testing.T, u string) int {
	t.Helper()
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(parsed.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func body(t *testing.T, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// ask sends bytes and returns the first line of the answer, or what an error says.
func ask(t *testing.T, proxy, request string) (net.Conn, string) {
	t.Helper()
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil && line == "" {
		line = err.Error()
	}
	return conn, line
}

// echo serves connections that send back what they got once it has ended.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				data, _ := io.ReadAll(conn)
				_, _ = conn.Write(append([]byte("got "), data...))
			}()
		}
	}()
	return l.Addr().String()
}
