package tunnel

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/nettest"
)

// webProxy is a proxy that forwards requests (it answers them itself, with what it was asked for) and gives tunnels as its
// administrator likes. What comes through one it sends back.
func webProxy(t *testing.T, tunnels bool) *url.URL {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Proxy-Authorization") == "":
			w.WriteHeader(http.StatusProxyAuthRequired)
		case r.Method != http.MethodConnect:
			data, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, data)
		case !tunnels:
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			conn, in, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.Copy(conn, in)
		}
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("me", "secret")
	return u
}

// TestRequestsByAnUpstreamProxy: what a guest says to a web server's port, knowing of no proxy, is asked of the host's proxy
// request by request, each judged by the name it is for; that proxy gives no tunnel to this port.
func TestRequestsByAnUpstreamProxy(t *testing.T) {
	at := netip.MustParseAddr("8.8.8.8")
	policy := rules(t, "mirror.test:80", "other.test:80")
	for what, tt := range map[string]struct {
		tunnels bool
		says    string
		answers []string // status and body of each; the connection ends after them if the last one says so
		echo    string   // through a tunnel
		hosts   []string // in the log
		refused bool     // the last of them
	}{
		"several, as apt does it": {
			says: "GET /a HTTP/1.1\r\nHost: mirror.test\r\n\r\n" +
				"POST /b?c=d HTTP/1.1\r\nHost: other.test:80\r\nContent-Length: 5\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nhello",
			answers: []string{"200 GET http://mirror.test/a ", "200 POST http://other.test/b?c=d hello"},
			hosts:   []string{"mirror.test", "other.test"},
		},
		"without a name": {
			says: "GET / HTTP/1.0\r\n\r\n", answers: []string{"200 GET http://mirror.test/ "}, hosts: []string{"mirror.test"},
		},
		"for another port": {
			says:    "GET / HTTP/1.1\r\nHost: mirror.test:22\r\n\r\n",
			answers: []string{"200 GET http://mirror.test/ "}, hosts: []string{"mirror.test"},
		},
		"for a name nobody allowed": {
			says:    "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
			answers: []string{"403 CALMenu: evil.test:80 is not on the allow list of this workspace\n"},
			hosts:   []string{"evil.test"}, refused: true,
		},
		"to be a proxy": {
			says: "CONNECT mirror.test:80 HTTP/1.1\r\n\r\n", answers: []string{"405 CALMenu: this is no proxy\n"},
		},
		"not HTTP": {
			tunnels: true, says: "\x05\x01\x00hello", echo: "\x05\x01\x00hello", hosts: []string{"mirror.test"},
		},
		"WebSocket": {
			tunnels: true, says: "GET /ws HTTP/1.1\r\nHost: mirror.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nand more",
			echo:  "GET /ws HTTP/1.1\r\nHost: mirror.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nand more",
			hosts: []string{"mirror.test"},
		},
		"WebSocket with a body, which is none": {
			tunnels: true, says: "POST /ws HTTP/1.1\r\nHost: mirror.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
			answers: []string{"200 POST http://mirror.test/ws hello"}, hosts: []string{"mirror.test"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			upstream, log := webProxy(t, tt.tunnels), &records{}
			g := &Gate{
				Policy: func() Policy { return policy }, Resolver: hostFile{}, Log: log.add,
				Own: func() []netip.Prefix { return nil },
				Upstream: func(u *url.URL) (*url.URL, error) {
					if u.Scheme != "http" {
						return nil, fmt.Errorf("asked for the proxy for %v", u)
					}
					return upstream, nil
				},
			}
			g.answered.note("mirror.test", []netip.Addr{at}, time.Now())
			guest, near := nettest.Ends(t)
			go g.Carry(t.Context(), Destination{Host: at.String(), Port: 80, Way: WayHelper}, near, func(err error) error { return err })
			if _, err := io.WriteString(guest, tt.says); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(guest)
			for i, want := range tt.answers {
				res, err := http.ReadResponse(in, nil)
				if got := body(t, res, err); fmt.Sprintf("%d %s", res.StatusCode, got) != want {
					t.Errorf("answer %d: %d %q, want %q", i, res.StatusCode, got, want)
				}
			}
			if err := guest.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(in); err != nil || string(rest) != tt.echo {
				t.Errorf("then %q, %v, want %q", rest, err, tt.echo)
			}
			for i, host := range tt.hosts {
				last := i == len(tt.hosts)-1
				if r := log.nth(t, i+1); r.Host != host || r.Allowed == (last && tt.refused) || r.Err != "" {
					t.Errorf("record %d: %+v", i, r)
				}
			}
			if log.count() > len(tt.hosts) {
				t.Errorf("%d records", log.count())
			}
		})
	}
}

// TestAnUpstreamProxyThatWantsALogin: that is for the host to give; the log says so, and the guest hears no question.
func TestAnUpstreamProxyThatWantsALogin(t *testing.T) {
	policy := rules(t, "mirror.test:80")
	upstream := webProxy(t, false)
	upstream.User = nil
	proxy, log := serve(t, &Proxy{Gate: &Gate{
		Policy: fixed(policy), Resolver: hostFile{}, Upstream: func(*url.URL) (*url.URL, error) { return upstream, nil },
	}})
	res, err := via(t, proxy).Get("http://mirror.test/")
	const want = "CALMenu: the host's proxy answered 407 Proxy Authentication Required; on the host: CALMenu net login\n"
	if got := body(t, res, err); res.StatusCode != http.StatusBadGateway || got != want {
		t.Errorf("%d %q", res.StatusCode, got)
	}
	if r := log.nth(t, 1); r.Err != "ask the host's proxy: it answered 407 Proxy Authentication Required" {
		t.Errorf("%+v", r)
	}
}

// TestATunnelNobodyGets: a proxy that gives no tunnel to that port is told of.
func TestATunnelNobodyGets(t *testing.T) {
	policy := rules(t, "mirror.test:80")
	log := &records{}
	upstream := webProxy(t, false)
	g := &Gate{
		Policy: func() Policy { return policy }, Resolver: hostFile{}, Log: log.add,
		Upstream: func(*url.URL) (*url.URL, error) { return upstream, nil },
	}
	guest, near := nettest.Ends(t)
	go g.Carry(t.Context(), Destination{Host: "mirror.test", Port: 80, Way: WayConnect}, near, func(err error) error { return err })
	if _, err := io.WriteString(guest, "\x00"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(guest); len(rest) > 0 {
		t.Errorf("got %q, %v", rest, err)
	}
	if r := log.nth(t, 1); !strings.Contains(r.Err, "the host's proxy: it answered 403") {
		t.Errorf("%+v", r)
	}
}
