package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func TestProxyPlainHTTP(t *testing.T) {
	var connections atomic.Int32
	seen := make(chan *http.Request, 8)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		seen <- r
		w.Header().Set("Connection", "X-Private")
		w.Header().Set("X-Private", "yes")
		w.Header().Set("X-Answer", "yes")
		if r.URL.Path == "/chunks" {
			w.(http.Flusher).Flush()
		}
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, data)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	port := portOf(t, server.URL)
	proxy, log := serve(t, &Proxy{Gate: &Gate{
		Policy:   fixed(rules(t, "mirror.test:"+strconv.Itoa(port), "127.0.0.1:"+strconv.Itoa(port))),
		Resolver: hostFile{"mirror.test": addrs("127.0.0.1")},
	}})
	// One connection, several requests, as apt does it.
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	base := fmt.Sprintf("http://MIRROR.test.:%d", port)
	for i, tt := range []struct{ request, want string }{
		{"GET " + base + "/a HTTP/1.1\r\nHost: evil.test\r\nProxy-Connection: keep-alive\r\nConnection: X-Drop\r\n" +
			"X-Drop: 1\r\nProxy-Authorization: Basic eA==\r\nX-Keep: 1\r\n\r\n", "GET /a "},
		{"POST " + base + "/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST /b hello"},
		{"POST " + base + "/c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"5\r\nhello\r\n0\r\n\r\n", "POST /c hello"},
		{"GET " + base + "/chunks HTTP/1.1\r\nHost: x\r\n\r\n", "GET /chunks "},
		{"HEAD " + base + "/head HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		{"GET " + base + "/last HTTP/1.0\r\n\r\n", "GET /last "},
	} {
		if _, err := io.WriteString(conn, tt.request); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, &http.Request{Method: strings.Fields(tt.request)[0]})
		if got := body(t, res, err); got != tt.want || res.StatusCode != http.StatusOK {
			t.Errorf("request %d: %d %q, want %q", i, res.StatusCode, got, tt.want)
		}
		if res.Header.Get("X-Private") != "" || res.Header.Get("X-Answer") != "yes" {
			t.Errorf("request %d: answer's headers %v", i, res.Header)
		}
		r := <-seen
		if want := fmt.Sprintf("mirror.test:%d", port); r.Host != want {
			t.Errorf("request %d: server saw host %q, want the judged name %q", i, r.Host, want)
		}
		if i == 0 {
			for _, name := range []string{"X-Drop", "Proxy-Authorization", "Proxy-Connection", "User-Agent"} {
				if r.Header.Get(name) != "" {
					t.Errorf("server saw %s: %s", name, r.Header.Get(name))
				}
			}
			if r.Header.Get("X-Keep") != "1" {
				t.Error("server did not see X-Keep")
			}
		}
		if rec := log.nth(t, i+1); !rec.Allowed || rec.Port != port || rec.Addr.String() != "127.0.0.1" || rec.Err != "" ||
			rec.BytesDown != int64(len(tt.want)) {
			t.Errorf("request %d: record %+v", i, rec)
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("connection stays open after HTTP/1.0: %v", err)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections to the server, want 1 kept one", n)
	}
}

func TestProxyConnect(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %s", len(data), big)
	}))
	defer server.Close()
	port := portOf(t, server.URL)
	proxy, log := serve(t, &Proxy{Gate: &Gate{
		Policy:   fixed(rules(t, "registry.test", "127.0.0.1")),
		Resolver: hostFile{"registry.test": addrs("127.0.0.2", "127.0.0.1")},
	}})
	client := via(t, proxy)
	res, err := client.Post(fmt.Sprintf("https://registry.test:%d/", port), "text/plain", strings.NewReader(big))
	if got := body(t, res, err); got != fmt.Sprintf("%d %s", len(big), big) {
		t.Errorf("got %d bytes", len(got))
	}
	client.CloseIdleConnections()
	rec := log.nth(t, 1)
	if !rec.Allowed || rec.Host != "registry.test" || rec.Addr.String() != "127.0.0.1" ||
		rec.BytesUp < int64(len(big)) || rec.BytesDown < int64(len(big)) || rec.Duration <= 0 {
		t.Errorf("record %+v", rec)
	}
}

func TestProxyDialsTheNextJudgedAddress(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	var dialled []string
	proxy, log := serve(t, &Proxy{Gate: &Gate{
		Policy:   fixed(rules(t, "many.test")),
		Resolver: hostFile{"many.test": addrs("8.8.8.8", "127.0.0.1", "8.8.4.4")},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			if address == "8.8.4.4:443" {
				return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
			}
			return nil, errors.New("unreachable")
		},
	}})
	conn, answer := ask(t, proxy, "CONNECT many.test:443 HTTP/1.1\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("answer %q", answer)
	}
	conn.Close()
	if rec := log.nth(t, 1); rec.Addr.String() != "8.8.4.4" {
		t.Errorf("record %+v", rec)
	}
	if got := strings.Join(dialled, " "); got != "8.8.8.8:443 8.8.4.4:443" {
		t.Errorf("dialled %s", got)
	}
}

func TestProxyPassesOnHalfClose(t *testing.T) {
	server := echo(t)
	proxy, log := serve(t, &Proxy{Gate: &Gate{Policy: fixed(rules(t, server))}})
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// What follows the request at once belongs to the tunnel.
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\n\r\nhello", server)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if want := "HTTP/1.1 200 Connection established\r\n\r\ngot hello"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	if rec := log.nth(t, 1); rec.BytesUp != 5 || rec.BytesDown != 9 || rec.Err != "" {
		t.Errorf("record %+v", rec)
	}
}
