package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/calmenu/calmenu/internal/netpolicy"
)

// realHello is the first flight of Go's own TLS client.
func realHello(t testing.TB, name string) []byte {
	t.Helper()
	near, far := net.Pipe()
	client := tls.Client(near, &tls.Config{ServerName: name, InsecureSkipVerify: name == ""}) //nolint:gosec // never finished
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = client.HandshakeContext(ctx)
	}()
	_ = far.SetReadDeadline(time.Now().Add(time.Minute))
	head := make([]byte, 5)
	if _, err := io.ReadFull(far, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(far, body); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = far.Close()
	<-done
	return append(head, body...)
}

type extension struct {
	kind uint16
	data []byte
}

// madeHello is a hello with given extensions, in records of at most so many bytes.
func madeHello(recordSize int, extensions ...extension) []byte {
	var b cryptobyte.Builder
	b.AddUint8(helloMessage)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(tls.VersionTLS12)
		b.AddBytes(make([]byte, 32))
		b.AddUint8LengthPrefixed(func(*cryptobyte.Builder) {})
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(tls.TLS_AES_128_GCM_SHA256) })
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint8(0) })
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, e := range extensions {
				b.AddUint16(e.kind)
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.data) })
			}
		})
	})
	var records []byte
	for part := range slices.Chunk(b.BytesOrPanic(), recordSize) {
		records = append(records, recordHandshake, 3, 1, byte(len(part)>>8), byte(len(part)))
		records = append(records, part...)
	}
	return records
}

func serverNames(names ...string) extension {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, n := range names {
			b.AddUint8(0)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(n)) })
		}
	})
	return extension{extServerName, b.BytesOrPanic()}
}

// passes sends a stream in pieces of the given size through an inspection for good.test and returns what passed.
func passes(stream []byte, size int, hidden bool) (passed []byte, err error) {
	i := newInspection(judgeInner{hidden: hidden, name: func(name string) error {
		if canonicalName, _, err := canonical(name); err != nil || canonicalName != "good.test" {
			return errors.New("is another name")
		}
		return nil
	}})
	defer i.end()
	for part := range slices.Chunk(stream, size) {
		if err := i.check(part); err != nil {
			return passed, err
		}
		passed = append(passed, part...)
	}
	return passed, nil
}

// TestInspection is the catalogue of ways to mean another name than the one a connection was allowed for, and of what is
// none of it.
func TestInspection(t *testing.T) {
	get := "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n"
	bad := strings.ReplaceAll(get, "good", "evil")
	post := "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: %\r\n\r\n"
	chunked := "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	upgrade := "GET / HTTP/1.1\r\nHost: good.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for _, tt := range []struct {
		name   string
		stream string
		hidden bool
		want   string // a part of the refusal; empty: passes as it is
	}{
		{"TLS for the name", string(realHello(t, "good.test")), false, ""},
		{"TLS for the name, upper case", string(madeHello(9999, serverNames("GOOD.test"))), false, ""},
		{"TLS for another name", string(realHello(t, "evil.test")), false, "evil.test, which is another name"},
		{"TLS for another name, though names may be hidden", string(realHello(t, "evil.test")), true, "evil.test"},
		{"TLS in tiny records", string(madeHello(3, serverNames("evil.test"))), false, "evil.test"},
		{"TLS in tiny records, for the name", string(madeHello(3, serverNames("good.test"))), false, ""},
		{"TLS without a name", string(realHello(t, "")), false, "does not show"},
		{"TLS without a name, which may be", string(realHello(t, "")), true, ""},
		{"TLS without extensions", string(madeHello(9999)), false, "does not show"},
		{"TLS for two names", string(madeHello(9999, serverNames("good.test", "evil.test"))), false, "does not show"},
		{"TLS naming twice", string(madeHello(9999, serverNames("good.test"), serverNames("evil.test"))), false, "does not show"},
		{"TLS with an empty name", string(madeHello(9999, serverNames(""))), false, "does not show"},
		{"TLS for an address", string(madeHello(9999, serverNames("127.0.0.1"))), false, "another name"},
		{"TLS with an odd spelling", string(madeHello(9999, serverNames("good.test\x00.evil.test"))), false, "another name"},
		{"encrypted hello", string(madeHello(9999, serverNames("good.test"), extension{extEncrypted, []byte{0, 1, 2}})), false, "ECH"},
		{"encrypted hello, which may be", string(madeHello(9999, serverNames("good.test"), extension{extEncrypted, []byte{0}})), true, ""},
		{"encrypted hello with a cover name", string(madeHello(9999, serverNames("cover.test"), extension{extEncrypted, []byte{0}})), true, "cover.test"},
		{"encrypted name of old", string(madeHello(9999, serverNames("good.test"), extension{extEncryptedName, []byte{0}})), false, "ECH"},
		{"a record that is no hello", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", false, "does not show"},
		{"an endless hello", string(slices.Concat([]byte{22, 3, 1, 64, 0, 1, 255, 255, 255}, make([]byte, 16380), bytes.Repeat(slices.Concat([]byte{22, 3, 1, 64, 0}, make([]byte, 16384)), 5))), false, "does not show"},
		{"half a hello", string(realHello(t, "evil.test")[:40]), false, ""},

		{"HTTP for the name", get, false, ""},
		{"HTTP for the name, with port and dot", "GET / HTTP/1.1\r\nHost: Good.Test.:80\r\n\r\n", false, ""},
		{"HTTP for another name", bad, false, "evil.test, which is another name"},
		{"HTTP for another name, second request", get + bad, false, "evil.test"},
		{"HTTP for another name, behind empty lines", "\r\n\r\n" + bad, false, "evil.test"},
		{"HTTP for another name, odd method", strings.Replace(bad, "GET", "M-SEARCH", 1), false, "evil.test"},
		{"HTTP for another name, lower-case method", strings.Replace(bad, "GET", "get", 1), false, "cannot be read|evil.test"},
		{"HTTP for another name, by its target", "GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n", false, "evil.test"},
		{"HTTP for another name, behind a body", strings.Replace(post, "%", "5", 1) + "hello" + bad, false, "evil.test"},
		{"HTTP for another name, in a body", strings.Replace(post, "%", "35", 1) + bad, false, ""},
		{"HTTP for another name, behind chunks", chunked + "5\r\nhello\r\n0\r\n\r\n" + bad, false, "evil.test"},
		{"HTTP for another name, in chunks", chunked + "23\r\n" + bad + "\r\n0\r\n\r\n", false, ""},
		{"HTTP for another name, behind an upgrade", upgrade + bad, false, "evil.test"},
		{"web socket", upgrade + "\x81\x85\x01\x02\x03\x04abcde" + bad, false, ""},
		{"HTTP with two hosts", "GET / HTTP/1.1\r\nHost: good.test\r\nHost: evil.test\r\n\r\n", false, "cannot be read"},
		{"HTTP with a folded host", "GET / HTTP/1.1\r\nHost:\r\n evil.test\r\n\r\n", false, "cannot be read|evil.test"},
		{"HTTP with two lengths", "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n", false, "cannot be read"},
		{"HTTP with a broken chunk", chunked + "zz\r\n", false, "cannot be read"},
		{"HTTP without a host", "GET / HTTP/1.0\r\n\r\n", false, "does not show"},
		{"HTTP without a host, which may be", "GET / HTTP/1.0\r\n\r\n", true, ""},
		{"HTTP with a user", "GET / HTTP/1.1\r\nHost: good.test@evil.test\r\n\r\n", false, "cannot be read|another name"},
		{"HTTP with an encoded host", "GET / HTTP/1.1\r\nHost: good%2etest\r\n\r\n", false, "another name"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, "does not show"},
		{"HTTP/2 without TLS, which may be", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true, ""},
		{"HTTP with a long line", "GET /" + strings.Repeat("a", 20000) + " HTTP/1.1\r\nHost: evil.test\r\n\r\n", false, "too long"},
		{"HTTP with a long header", "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 100000) + "\r\nHost: evil.test\r\n\r\n", false, "cannot be read"},
		{"half a request", bad[:len(bad)-1], false, ""},

		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n\x00\x00\x01\x02 GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", false, ""},
		{"SMTP", "EHLO me.test\r\nMAIL FROM:<a@b>\r\n", false, ""},
		{"Redis", "PING\r\nGET key\r\n", false, ""},
		{"git", "0032git-upload-pack /project.git\x00host=evil.test\x00", false, ""},
		{"PostgreSQL", "\x00\x00\x00\x08\x04\xd2\x16\x2f" + string(realHello(t, "evil.test")), false, ""},
		{"a letter and no more", "G", false, ""},
		{"nothing", "", false, ""},
		{"binary", strings.Repeat("\xff\x00", 40000), false, ""},
	} {
		for _, size := range []int{1 << 20, 7, 1} {
			passed, err := passes([]byte(tt.stream), size, tt.hidden)
			if tt.want == "" {
				if err != nil || string(passed) != tt.stream {
					t.Errorf("%s, %d at a time: %d of %d bytes passed, %v", tt.name, size, len(passed), len(tt.stream), err)
				}
				continue
			}
			if err == nil || !slices.ContainsFunc(strings.Split(tt.want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
				t.Errorf("%s, %d at a time: %v, want %s", tt.name, size, err, tt.want)
			}
		}
	}
}

func FuzzInspection(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: good.test\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"), uint8(3))
	f.Add(realHello(f, "good.test"), uint8(200))
	f.Add(madeHello(5, serverNames("good.test", "evil.test")), uint8(1))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), uint8(9))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		whole, err := passes(stream, len(stream)+1, false)
		pieces, perr := passes(stream, int(size)+1, false)
		if (err == nil) != (perr == nil) {
			t.Errorf("whole: %v, in pieces of %d: %v", err, int(size)+1, perr)
		}
		if err == nil && !bytes.Equal(whole, stream) || !bytes.HasPrefix(stream, pieces) {
			t.Error("what passes is not what came")
		}
	})
}

func direct(*url.URL) (*url.URL, error) { return nil, nil }

// gateTo is a gate whose names all lead to one server on the loopback.
func gateTo(t *testing.T, server net.Listener, policy *Policy, names ...string) (*Gate, *records) {
	t.Helper()
	file := hostFile{}
	for _, n := range names {
		file[n] = addrs("127.0.0.1")
	}
	log := &records{}
	return &Gate{
		Policy: func() Policy { return *policy }, Resolver: file, Log: log.add,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Addr().String())
		},
		Upstream: direct,
	}, log
}

// TestInnerNameAtTheGate has a gate refuse what is for another name inside, and record it.
func TestInnerNameAtTheGate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []byte, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				data, _ := io.ReadAll(c)
				got <- data
				_ = c.Close()
			}()
		}
	}()
	policy := rules(t, "127.0.0.1", "a.test:443", "b.test:443")
	g, log := gateTo(t, l, &policy, "a.test", "b.test")
	seen := 0
	for _, tt := range []struct {
		host, inner string
		allowed     bool
	}{
		{"a.test", "a.test", true},
		{"a.test", "b.test", true}, // allowed there too: as a shared connection is
		{"a.test", "c.test", false},
		{"127.0.0.1", "c.test", true}, // allowed as an address
	} {
		near, guest := net.Pipe()
		go g.Carry(t.Context(), Destination{Host: tt.host, Port: 443, Way: WayConnect}, pipeStream{near}, func(err error) error { return err })
		hello := realHello(t, tt.inner)
		_, _ = guest.Write(hello)
		if !tt.allowed {
			if alert, err := io.ReadAll(guest); err != nil || !bytes.Equal(alert, deniedAlert) {
				t.Errorf("%s for %s: the guest was told %q, %v", tt.host, tt.inner, alert, err)
			}
		}
		_ = guest.Close()
		data := <-got
		seen++
		record := log.nth(t, seen)
		if record.Allowed != tt.allowed || bytes.Equal(data, hello) != tt.allowed {
			t.Errorf("%s for %s: %+v", tt.host, tt.inner, record)
		}
		if !tt.allowed && !strings.Contains(record.Reason, "c.test") {
			t.Errorf("%s for %s: refused because it %s", tt.host, tt.inner, record.Reason)
		}
	}
}

type pipeStream struct{ net.Conn }

func (p pipeStream) CloseWrite() error { return errors.ErrUnsupported }

// TestSniffedName has a guest dial an address nobody gave it, and say what it means.
func TestSniffedName(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	policy := rules(t, "127.0.0.1", "a.test:443")
	g, _ := gateTo(t, l, &policy, "a.test")
	for _, tt := range []struct{ addr, inner, want string }{
		{"8.8.8.8", "a.test", ""},
		{"8.8.8.8", "c.test", "c.test:443 is not on the allow list"},
	} {
		near, guest := net.Pipe()
		answer := make(chan error, 1)
		go g.Carry(t.Context(), Destination{Host: tt.addr, Port: 443, Way: WaySshuttle}, pipeStream{near}, func(err error) error {
			answer <- err
			return err
		})
		_, _ = guest.Write(realHello(t, tt.inner))
		err := <-answer
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s for %s: %v, want %q", tt.addr, tt.inner, err, tt.want)
		}
		_ = guest.Close()
	}
}

// TestAsking waits for a person's answer, which is a change of the policy.
func TestAsking(t *testing.T) {
	policy := Policy{Mode: netpolicy.Ask}
	answered := make(chan string, 4)
	g := &Gate{
		Policy: func() Policy { return policy }, Resolver: hostFile{"a.test": addrs("8.8.8.8"), "b.test": addrs("8.8.8.8")},
		Upstream: direct,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, _ := net.Pipe()
			return near, nil
		},
		Ask: func(_ context.Context, host string, port int) {
			answered <- netpolicy.HostPort(host, port)
			if host == "a.test" {
				policy = rules(t, "a.test:443")
				policy.Mode = netpolicy.Ask
			}
		},
	}
	for _, tt := range []struct{ host, want string }{{"a.test", ""}, {"b.test", "nobody has allowed it"}} {
		_, err := g.open(t.Context(), Destination{Host: tt.host, Port: 443, Way: WayConnect}, newRecord(Destination{}))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.host, err)
		}
		if got := <-answered; got != tt.host+":443" {
			t.Errorf("asked about %s", got)
		}
	}
}

// TestAskedNameIsNotResolved gives a guest that asks for a name nobody has allowed an address that stands for it.
func TestAskedNameIsNotResolved(t *testing.T) {
	policy := Policy{Mode: netpolicy.Ask}
	resolved := 0
	g := &Gate{
		Policy: func() Policy { return policy }, Upstream: direct,
		Resolver: resolverFunc(func(string) ([]netip.Addr, error) {
			resolved++
			return addrs("8.8.8.8"), nil
		}),
	}
	standIn := g.answered.stand("a.test", time.Now())
	d := Destination{Host: standIn.String(), Port: 443, Way: WayHelper}
	if r, err := g.judge(t.Context(), d); err != nil || r.decision.Allowed || resolved != 0 {
		t.Errorf("%+v, %v, resolved %d times", r.decision, err, resolved)
	}
	policy = rules(t, "a.test:443")
	if r, err := g.judge(t.Context(), d); err != nil || !r.decision.Allowed || r.decision.Addr.String() != "8.8.8.8" {
		t.Errorf("%+v, %v", r.decision, err)
	}
}
