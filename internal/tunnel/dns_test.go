package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// question is one question to the DNS in wire form.
func question(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		t.Fatal(err)
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}},
	}
	data, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// answers are the addresses in an answer, with its code.
func answers(t testing.TB, message []byte) (dnsmessage.RCode, []netip.Addr) {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(message); err != nil {
		t.Fatalf("answer %x: %v", message, err)
	}
	if !m.Response || m.ID != 77 {
		t.Errorf("answer's header %+v", m.Header)
	}
	var list []netip.Addr
	for _, a := range m.Answers {
		list = append(list, netip.AddrFrom4(a.Body.(*dnsmessage.AResource).A))
	}
	return m.RCode, list
}

func TestAnswer(t *testing.T) {
	log := &records{}
	g := &Gate{
		Policy: fixed(rules(t, "good.test:443", "missing.test", "broken.test", "*.wide.test")),
		Resolver: resolverFunc(func(host string) ([]netip.Addr, error) {
			if host == "broken.test" {
				return nil, errors.New("the resolver is away")
			}
			return hostFile{
				"good.test": addrs("8.8.8.8", "2001:4860::1", "8.8.4.4"), "a.wide.test": addrs("2001:4860::1"),
			}.LookupNetIP(t.Context(), "ip", host)
		}),
		Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
		Log:      log.add,
	}
	for _, tt := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string
	}{
		{"good.test", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "8.8.8.8 8.8.4.4"},
		{"GOOD.tesT", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "8.8.8.8 8.8.4.4"},
		{"good.test", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
		{"good.test", dnsmessage.TypeTXT, dnsmessage.RCodeSuccess, ""},
		{"a.wide.test", dnsmessage.TypeA, dnsmessage.RCodeSuccess, ""},
		{"missing.test", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"broken.test", dnsmessage.TypeA, dnsmessage.RCodeServerFailure, ""},
		{"evil.test", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"evil.test", dnsmessage.TypeTXT, dnsmessage.RCodeNameError, ""},
		{"8.8.8.8", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"8.8.8.8.in-addr.arpa", dnsmessage.TypePTR, dnsmessage.RCodeNameError, ""},
	} {
		code, got := answers(t, g.Answer(t.Context(), question(t, tt.name, tt.kind)))
		var texts []string
		for _, a := range got {
			texts = append(texts, a.String())
		}
		if code != tt.code || strings.Join(texts, " ") != tt.want {
			t.Errorf("%s %v: %v %v, want %v %s", tt.name, tt.kind, code, texts, tt.code, tt.want)
		}
	}
	if rec := log.nth(t, 1); log.count() != 2 || rec.Host != "evil.test" || rec.Way != WayDNS || rec.Reason == "" {
		t.Errorf("%d records, first %+v", log.count(), rec)
	}
	for _, junk := range [][]byte{nil, {1}, make([]byte, 12), make([]byte, MaxQuestion+1), g.Answer(t.Context(), question(t, "good.test", 1))} {
		if a := g.Answer(t.Context(), junk); len(a) > 12 {
			t.Errorf("%x was answered %x", junk, a)
		}
	}
}

func TestAStormOfQuestionsIsFewLookups(t *testing.T) {
	var asked atomic.Int32
	release := make(chan struct{})
	g := &Gate{
		Policy: fixed(rules(t, "*")),
		Resolver: resolverFunc(func(string) ([]netip.Addr, error) {
			asked.Add(1)
			<-release
			return addrs("8.8.8.8"), nil
		}),
		Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
	}
	var wg sync.WaitGroup
	var failed, found atomic.Int32
	for i := range 1000 {
		wg.Go(func() {
			name := "same.test"
			if i%2 == 0 {
				name = fmt.Sprintf("n%d.test", i)
			}
			code, _ := answers(t, g.Answer(t.Context(), question(t, name, dnsmessage.TypeA)))
			if code == dnsmessage.RCodeSuccess {
				found.Add(1)
			} else {
				failed.Add(1)
			}
		})
	}
	eventually(t, "as many lookups as are allowed", func() bool { return asked.Load() == maxLookups })
	close(release)
	wg.Wait()
	if found.Load() == 0 || asked.Load() > 600 {
		t.Errorf("%d lookups, %d answered, %d not", asked.Load(), found.Load(), failed.Load())
	}
}

func TestCaughtAddressesMeanTheNamesTheyAnswered(t *testing.T) {
	server := echo(t)
	_, portText, _ := net.SplitHostPort(server)
	var dialled []string
	log := &records{}
	g := &Gate{
		Policy: fixed(rules(t, "good.test:80", "shared.test:443", "8.8.9.9", "trap.test", "behind.test:443")),
		Resolver: resolverFunc(func(host string) ([]netip.Addr, error) {
			return hostFile{
				"good.test": addrs("8.8.8.8", "8.8.4.4"), "shared.test": addrs("8.8.8.8"), "trap.test": addrs("169.254.169.254"),
			}.LookupNetIP(t.Context(), "ip", host)
		}),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+portText)
		},
		Own: func() []netip.Prefix { return nil },
		Upstream: func(u *url.URL) (*url.URL, error) {
			if u.Hostname() == "behind.test" {
				return &url.URL{Scheme: "http", Host: "proxy.test:3128"}, nil
			}
			return nil, nil
		},
		Log: log.add,
	}
	for _, name := range []string{"good.test", "shared.test", "trap.test"} {
		g.Answer(t.Context(), question(t, name, dnsmessage.TypeA))
	}
	_, stand := answers(t, g.Answer(t.Context(), question(t, "behind.test", dnsmessage.TypeA)))
	if len(stand) != 1 || !standIns.Contains(stand[0]) {
		t.Fatalf("a name only the host's proxy knows was answered with %v", stand)
	}
	for _, tt := range []struct {
		addr string
		port int
		name string
		ok   bool
	}{
		{"8.8.8.8", 443, "shared.test", true},
		{"8.8.8.8", 80, "good.test", true},
		{"8.8.8.8", 22, "shared.test", false},
		{"8.8.4.4", 443, "good.test", false},
		{"8.8.9.9", 22, "8.8.9.9", true},
		{"8.8.1.1", 80, "8.8.1.1", false},
		{"169.254.169.254", 80, "trap.test", false},
		{"198.18.77.77", 443, "198.18.77.77", false},
		{stand[0].String(), 443, "behind.test", true},
		{stand[0].String(), 80, "behind.test", false},
	} {
		before := len(dialled)
		r, err := g.admit(t.Context(), Destination{Host: tt.addr, Port: tt.port, Way: WayHelper}, newRecord(Destination{}))
		var refused *RefusedError
		if (err == nil) != tt.ok || err != nil && !errors.As(err, &refused) || r.name != tt.name {
			t.Errorf("%s:%d is %q, %v", tt.addr, tt.port, r.name, err)
		}
		if err == nil && r.upstream == nil && r.decision.Addr.String() != tt.addr {
			t.Errorf("%s:%d would dial %v", tt.addr, tt.port, r.decision.Addr)
		}
		if (r.upstream != nil) != (tt.name == "behind.test" && tt.ok) {
			t.Errorf("%s:%d goes by %v", tt.addr, tt.port, r.upstream)
		}
		if len(dialled) != before {
			t.Error("judging dialled")
		}
	}
}

func TestAnsweredIsBounded(t *testing.T) {
	var a answered
	now := time.Now()
	addr := netip.MustParseAddr("8.0.0.0")
	for i := range 3 * maxAnswers {
		addr = addr.Next()
		a.note("one.test", []netip.Addr{addr}, now.Add(time.Duration(i)))
	}
	if names, _ := a.names(addr); len(a.byAddr) > maxAnswers || len(names) != 1 {
		t.Errorf("%d addresses, the last is %v", len(a.byAddr), names)
	}
	for i := range 100 {
		a.note(fmt.Sprintf("x%d.test", i), []netip.Addr{addr}, now)
	}
	if names, _ := a.names(addr); len(names) > maxNames {
		t.Errorf("%d names of one address", len(names))
	}
	a.note("old.test", addrs("9.9.9.9"), now.Add(-answerLife-time.Minute))
	if names, _ := a.names(netip.MustParseAddr("9.9.9.9")); len(names) != 0 {
		t.Errorf("an old answer is still %v", names)
	}
	for i := range 2 * maxAnswers {
		a.stand(fmt.Sprintf("s%d.test", i), now)
	}
	if len(a.standIn) > maxAnswers+1 || len(a.byAddr) > maxAnswers {
		t.Errorf("%d stand-ins, %d addresses", len(a.standIn), len(a.byAddr))
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(question(f, "good.test", dnsmessage.TypeA))
	f.Add(question(f, "xn--bcher-kva.test", dnsmessage.TypeAAAA))
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\xc0\x0c\x00\x01\x00\x01"))
	g := &Gate{
		Policy:   fixed(rules(f, "*")),
		Resolver: resolverFunc(func(string) ([]netip.Addr, error) { return addrs("8.8.8.8"), nil }),
		Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a := g.Answer(t.Context(), data)
		if len(a) > 512 {
			t.Errorf("%x was answered with %d bytes", data, len(a))
		}
		if a != nil && (len(data) < 2 || a[0] != data[0] || a[1] != data[1]) {
			t.Errorf("%x was answered with %x", data, a)
		}
	})
}
