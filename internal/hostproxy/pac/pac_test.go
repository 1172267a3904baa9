package pac

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

type names map[string]string

func (n names) LookupIP(_ context.Context, _, host string) ([]net.IP, error) {
	if a, ok := n[host]; ok {
		return []net.IP{net.ParseIP(a)}, nil
	}
	return nil, errors.New("no such host")
}

// Saturday, 17 January 2026, 14:30:05 UTC.
var saturday = time.Date(2026, 1, 17, 14, 30, 5, 0, time.UTC)

func script(t testing.TB, text string) *Script {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s.Resolver = names{"a.test": "10.1.2.3", "b.test": "192.0.2.7"}
	s.Now = func() time.Time { return saturday }
	return s
}

func TestFunctions(t *testing.T) {
	for expression, want := range map[string]bool{
		`isPlainHostName("www")`:                                              true,
		`isPlainHostName("www.a.test")`:                                       false,
		`dnsDomainIs("www.a.test", ".a.test")`:                                true,
		`dnsDomainIs("WWW.A.TEST", ".a.test")`:                                true,
		`dnsDomainIs("www.b.test", ".a.test")`:                                false,
		`localHostOrDomainIs("www.a.test", "www.a.test")`:                     true,
		`localHostOrDomainIs("www", "www.a.test")`:                            true,
		`localHostOrDomainIs("www.b.test", "www.a.test")`:                     false,
		`localHostOrDomainIs("home.a.test", "www.a.test")`:                    false,
		`isResolvable("a.test")`:                                              true,
		`isResolvable("c.test")`:                                              false,
		`isInNet("a.test", "10.1.0.0", "255.255.0.0")`:                        true,
		`isInNet("10.1.9.9", "10.1.0.0", "255.255.0.0")`:                      true,
		`isInNet("b.test", "10.0.0.0", "255.0.0.0")`:                          false,
		`isInNet("c.test", "0.0.0.0", "0.0.0.0")`:                             false,
		`dnsResolve("a.test") == "10.1.2.3"`:                                  true,
		`dnsResolve("c.test") === null`:                                       true,
		`myIpAddress().split(".").length == 4`:                                true,
		`dnsDomainLevels("www.a.test") == 2`:                                  true,
		`convert_addr("1.2.3.4") == 16909060`:                                 true,
		`shExpMatch("http://a.test/x/y/index.html", "*/x/*")`:                 true,
		`shExpMatch("http://a.test/z", "*/x/*")`:                              false,
		`shExpMatch("a.test", "?.test")`:                                      true,
		`shExpMatch("a[1].test", "a[1].test")`:                                true,
		`weekdayRange("SAT", "GMT")`:                                          true,
		`weekdayRange("MON", "FRI", "GMT")`:                                   false,
		`weekdayRange("FRI", "MON", "GMT")`:                                   true,
		`dateRange(17, "GMT")`:                                                true,
		`dateRange("JAN", "GMT")`:                                             true,
		`dateRange(2026, "GMT")`:                                              true,
		`dateRange(1, 15, "GMT")`:                                             false,
		`dateRange("DEC", "FEB", "GMT")`:                                      true,
		`dateRange(24, "DEC", 18, "JAN", "GMT")`:                              true,
		`dateRange("JUN", 2025, "MAY", 2026, "GMT")`:                          true,
		`dateRange(1, "JUN", 1995, 15, "AUG", 1995, "GMT")`:                   false,
		`timeRange(14, "GMT")`:                                                true,
		`timeRange(15, "GMT")`:                                                false,
		`timeRange(22, 6, "GMT")`:                                             false,
		`timeRange(14, 0, 14, 30, "GMT")`:                                     true,
		`timeRange(14, 30, 6, 14, 31, 0, "GMT")`:                              false,
		`(alert("x"), true)`:                                                  true,
		`typeof require == "undefined" && typeof process == "undefined"`:      true,
		`typeof XMLHttpRequest == "undefined" && typeof fetch == "undefined"`: true,
	} {
		s := script(t, `function FindProxyForURL() { return (`+expression+`) ? "PROXY y.test:1" : "DIRECT"; }`)
		got, err := s.Find(&url.URL{Scheme: "https", Host: "a.test:443"})
		if err != nil || (got[0] != nil) != want {
			t.Errorf("%s is %v, %v; want %v", expression, got, err, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct{ answer, want string }{
		{`"DIRECT"`, "[<nil>]"},
		{`""`, "[<nil>]"},
		{`null`, "[<nil>]"},
		{`undefined`, "[<nil>]"},
		{`"PROXY p.test:8080"`, "[http://p.test:8080]"},
		{`"proxy p.test:8080 ; direct;"`, "[http://p.test:8080 <nil>]"},
		{`"HTTPS p.test:443; SOCKS s.test:1080; SOCKS5 [::1]:1080"`, "[https://p.test:443 socks5://s.test:1080 socks5://[::1]:1080]"},
		{`url + host`, "!not understood"},
		{`42`, "!no text"},
		{`"PROXY"`, "!not understood"},
		{`"PROXY a b"`, "!not understood"},
		{`"GOPHER p.test:1"`, "!not understood"},
		{`"PROXY u:p@p.test:1"`, "!no proxy"},
		{`"PROXY p.test:1/x"`, "!no proxy"},
		{`"PROXY :1"`, "!no proxy"},
		{`new Array(9999).join("DIRECT;")`, "!too long"},
		{`nothing()`, "!ReferenceError"},
	} {
		got, err := script(t, `function FindProxyForURL(url, host) { return `+tt.answer+`; }`).
			Find(&url.URL{Scheme: "https", Host: "a.test:443", Path: "/secret"})
		if problem, bad := strings.CutPrefix(tt.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, %v; want %s", tt.answer, got, err, tt.want)
			}
		} else if err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.answer, got, err, tt.want)
		}
	}
}

func TestScriptsThatDoNotWork(t *testing.T) {
	for text, problem := range map[string]string{
		`function FindProxyForURL() { for (;;); }`: "takes too long",
		`for (;;);`: "takes too long",
		`function f() { f(); } function FindProxyForURL() { f(); }`: "asking the PAC script",
		`var x = 1;`: "no function",
		`function FindProxyForURL() { throw new Error("why"); }`: "why",
	} {
		s := script(t, text)
		s.limit = 100 * time.Millisecond
		if _, err := s.Find(&url.URL{Scheme: "https", Host: "a.test:443"}); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Parse("function {"); err == nil {
		t.Error("a script with a mistake was read")
	}
	if _, err := Parse(strings.Repeat(" ", MaxScript+1)); err == nil {
		t.Error("a script without end was read")
	}
	s := script(t, `var n = 0; function FindProxyForURL() { n++; if (n == 1) throw "once"; return "DIRECT"; }`)
	if _, err := s.Find(&url.URL{Host: "a.test"}); err == nil {
		t.Error("no error")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("PROXY p.test:8080; DIRECT")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := readAnswer(text)
		if err == nil && len(list) == 0 {
			t.Error("no answer and no error")
		}
		for _, u := range list {
			if u != nil && (u.Hostname() == "" || u.User != nil) {
				t.Errorf("%q became %v", text, u)
			}
		}
	})
}
