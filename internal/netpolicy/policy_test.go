package netpolicy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/hint"
)

func rules(t testing.TB, texts ...string) Policy {
	t.Helper()
	var p Policy
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Rules = append(p.Rules, r)
	}
	return p
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

var own = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("10.20.30.40/24"), netip.MustParsePrefix("5.6.7.8/29"),
	netip.MustParsePrefix("2a00:1::5/64"), netip.MustParsePrefix("::ffff:9.9.9.9/128"),
}

func TestParseRule(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"example.org", "example.org"},
		{"EXAMPLE.org.", "example.org"},
		{"*.example.org", "*.example.org"},
		{"*", "*"},
		{"*:443", "*:443"},
		{"example.org:443", "example.org:443"},
		{"example.org:80,443,8000-8099", "example.org:80,443,8000-8099"},
		{"192.0.2.7", "192.0.2.7"},
		{"192.0.2.7:22", "192.0.2.7:22"},
		{"192.0.2.7/32", "192.0.2.7"},
		{"192.0.2.0/24:22", "192.0.2.0/24:22"},
		{"2001:db8::1", "2001:db8::1"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"[2001:db8::/32]:443", "[2001:db8::/32]:443"},
		{"::ffff:192.0.2.7", "192.0.2.7"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
	} {
		got, err := ParseRule(tt.in)
		if err != nil || got.String() != tt.want {
			t.Errorf("%q is %v, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	for _, bad := range []string{
		"", ".", "*.", "*.*.org", "ex*mple.org", "example..org", "-a.org", "a b.org", "https://example.org", "example.org/x",
		"example.org:", "example.org:0", "example.org:65536", "example.org:https", "example.org:90-80", "example.org:+1",
		"example.org:80,", "192.0.2.7/24", "192.0.2.0/33", "*.192.0.2.7", "0x7f.1", "2130706433", "010.0.0.1", "1.2.3",
		"[::1", "[::1]x", "[::1]:", "[example.org]", "fe80::1%eth0", "::ffff:10.0.0.0/104", "bücher.example",
		strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 130) + "org", "a\nb", "a\x00b", "user@example.org",
	} {
		if got, err := ParseRule(bad); err == nil || hint.Of(err) == "" {
			t.Errorf("%q was read as %v (%v)", bad, got, err)
		}
	}
}

// TestForesee: names of the loopback are known to lead there; others' addresses are not asked for.
func TestForesee(t *testing.T) {
	for _, tt := range []struct {
		allow []string
		host  string
		want  bool
	}{
		{[]string{"localhost:80"}, "localhost", false},
		{[]string{"*"}, "LOCALHOST.", false},
		{[]string{"*.localhost"}, "app.localhost", false},
		{[]string{"localhost:80", "127.0.0.1:80"}, "localhost", true},
		{[]string{"localhost:80", "127.0.0.1:81"}, "localhost", false},
		{[]string{"*"}, "notlocalhost", true},
		{[]string{"*"}, "localhost.example.org", true},
		{nil, "example.org", false},
	} {
		if d := rules(t, tt.allow...).Foresee(tt.host, 80); d.Allowed != tt.want {
			t.Errorf("%q, %s: %+v", tt.allow, tt.host, d)
		}
	}
}

// TestDecide is the catalogue of ways around the policy, and of what must work.
func TestDecide(t *testing.T) {
	site := []string{"example.org:443"}
	for _, tt := range []struct {
		name     string
		allow    []string
		host     string
		port     int
		resolved []netip.Addr
		want     string // the address, or "!" and a part of the reason
	}{
		{"allowed by name", site, "example.org", 443, addrs("8.8.8.8"), "8.8.8.8"},
		{"upper case", site, "EXAMPLE.Org", 443, addrs("8.8.8.8"), "8.8.8.8"},
		{"final dot", site, "example.org.", 443, addrs("8.8.8.8"), "8.8.8.8"},
		{"IPv6", site, "example.org", 443, addrs("2606:4700::1"), "2606:4700::1"},
		{"two final dots", site, "example.org..", 443, addrs("8.8.8.8"), "!empty part"},
		{"nothing allowed", nil, "example.org", 443, addrs("8.8.8.8"), "!not on the allow list"},
		{"another name", site, "example.com", 443, addrs("8.8.8.8"), "!not on the allow list"},
		{"another port", site, "example.org", 22, addrs("8.8.8.8"), "!not on the allow list"},
		{"port 0", []string{"*"}, "example.org", 0, addrs("8.8.8.8"), "!not a port"},
		{"port too large", []string{"*"}, "example.org", 65536 + 443, addrs("8.8.8.8"), "!not a port"},
		{"negative port", []string{"*"}, "example.org", -1, addrs("8.8.8.8"), "!not a port"},
		{"name below", site, "www.example.org", 443, addrs("8.8.8.8"), "!not on the allow list"},
		{"suffix without a dot", []string{"*.example.org"}, "badexample.org", 443, addrs("8.8.8.8"), "!not on the"},
		{"as a prefix", site, "example.org.evil.com", 443, addrs("8.8.8.8"), "!not on the allow list"},
		{"wildcard", []string{"*.example.org"}, "a.b.example.org", 443, addrs("8.8.8.8"), "8.8.8.8"},
		{"wildcard is not the name itself", []string{"*.example.org"}, "example.org", 443, addrs("8.8.8.8"), "!not on the"},
		{"wildcard and an empty label", []string{"*.example.org"}, ".example.org", 443, addrs("8.8.8.8"), "!empty part"},
		{"everything", []string{"*"}, "example.org", 443, addrs("8.8.8.8"), "8.8.8.8"},
		{"everything is every name, not address", []string{"*"}, "8.8.8.8", 443, nil, "!not on the allow list"},
		{"does not resolve", site, "example.org", 443, nil, "!does not resolve"},

		{"rebinding to loopback", site, "example.org", 443, addrs("127.0.0.1"), "!loopback"},
		{"rebinding to all of loopback", site, "example.org", 443, addrs("127.8.9.1"), "!loopback"},
		{"rebinding to IPv6 loopback", site, "example.org", 443, addrs("::1"), "!loopback"},
		{"rebinding to 0.0.0.0", site, "example.org", 443, addrs("0.0.0.0"), "!unspecified"},
		{"rebinding to ::", site, "example.org", 443, addrs("::"), "!unspecified"},
		{"rebinding to mapped loopback", site, "example.org", 443, addrs("::ffff:127.0.0.1"), "!loopback"},
		{"rebinding to compatible loopback", site, "example.org", 443, addrs("::127.0.0.1"), "!unspecified"},
		{"rebinding to metadata", site, "example.org", 443, addrs("169.254.169.254"), "!metadata"},
		{"rebinding to mapped metadata", site, "example.org", 443, addrs("::ffff:169.254.169.254"), "!metadata"},
		{"rebinding to IPv6 metadata", site, "example.org", 443, addrs("fd00:ec2::254"), "!metadata"},
		{"rebinding to translated metadata", site, "example.org", 443, addrs("64:ff9b::169.254.169.254"), "!metadata"},
		{"rebinding to 6to4", site, "example.org", 443, addrs("2002:7f00:1::1"), "!tunnelled"},
		{"rebinding to link-local", site, "example.org", 443, addrs("fe80::1"), "!link-local"},
		{"rebinding with a zone", site, "example.org", 443, addrs("fe80::1%lo"), "!not an address"},
		{"rebinding to multicast", site, "example.org", 443, addrs("224.0.0.251"), "!multicast"},
		{"rebinding to IPv6 multicast", site, "example.org", 443, addrs("ff02::fb"), "!multicast"},
		{"rebinding to broadcast", site, "example.org", 443, addrs("255.255.255.255"), "!reserved"},
		{"rebinding to the host", site, "example.org", 443, addrs("10.20.30.40"), "!of this host"},
		{"rebinding to the host, public", site, "example.org", 443, addrs("5.6.7.8"), "!of this host"},
		{"rebinding to the host, IPv6", site, "example.org", 443, addrs("2a00:1::5"), "!of this host"},
		{"rebinding to the host, mapped", site, "example.org", 443, addrs("::ffff:10.20.30.40"), "!of this host"},
		{"rebinding to the host, mapped there", site, "example.org", 443, addrs("9.9.9.9"), "!of this host"},
		{"mixed answers: the good one is dialled", site, "example.org", 443, addrs("127.0.0.1", "8.8.8.8"), "8.8.8.8"},

		{"LAN, name allowed explicitly", site, "example.org", 443, addrs("10.1.2.3"), "10.1.2.3"},
		{"LAN, unique local", site, "example.org", 443, addrs("fd12::1"), "fd12::1"},
		{"LAN by wildcard", []string{"*.example.org"}, "a.example.org", 443, addrs("10.1.2.3"), "!private"},
		{"LAN by everything", []string{"*"}, "a.example.org", 443, addrs("192.168.1.1"), "!private"},
		{"LAN by everything, mapped", []string{"*"}, "a.example.org", 443, addrs("::ffff:192.168.1.1"), "!private"},
		{"LAN by everything, translated", []string{"*"}, "a.example.org", 443, addrs("64:ff9b::c0a8:101"), "!private"},
		{"carrier NAT by everything", []string{"*"}, "a.example.org", 443, addrs("100.64.0.1"), "!private"},
		{"public LAN of the host by everything", []string{"*"}, "a.example.org", 443, addrs("5.6.7.9"), "!host's network"},
		{"IPv6 LAN of the host by everything", []string{"*"}, "a.example.org", 443, addrs("2a00:1::9"), "!host's network"},
		{
			"LAN by wildcard and range",
			[]string{"*.example.org", "10.0.0.0/8"},
			"a.example.org", 443,
			addrs("10.1.2.3"), "10.1.2.3",
		},
		{"range alone does not allow a name", []string{"10.0.0.0/8"}, "a.example.org", 443, addrs("10.1.2.3"), "!not on the"},
		{"explicit on another port only", []string{"example.org:80", "*"}, "example.org", 443, addrs("10.1.2.3"), "!private"},

		{"address by range", []string{"10.0.0.0/8"}, "10.1.2.3", 443, nil, "10.1.2.3"},
		{"address, what was resolved does not count", []string{"10.0.0.0/8"}, "10.1.2.3", 443, addrs("8.8.8.8"), "10.1.2.3"},
		{"address outside", []string{"10.0.0.0/8"}, "11.1.2.3", 443, nil, "!not on the allow list"},
		{"the host by range", []string{"10.0.0.0/8"}, "10.20.30.40", 443, nil, "!of this host"},
		{"loopback by range", []string{"127.0.0.0/8"}, "127.0.0.1", 443, nil, "!loopback"},
		{"all of IPv4 by range", []string{"0.0.0.0/0"}, "127.0.0.1", 443, nil, "!loopback"},
		{"all of IPv6 by range", []string{"::/0"}, "::1", 443, nil, "!loopback"},
		{"loopback by itself", []string{"127.0.0.1:8080"}, "127.0.0.1", 8080, nil, "127.0.0.1"},
		{"loopback by itself, other port", []string{"127.0.0.1:8080"}, "127.0.0.1", 8081, nil, "!not on the allow list"},
		{
			"loopback by itself and a name",
			[]string{"example.org", "127.0.0.1"},
			"example.org", 443,
			addrs("127.0.0.1"), "127.0.0.1",
		},
		{"the host by itself", []string{"10.20.30.40"}, "10.20.30.40", 443, nil, "10.20.30.40"},
		{"mapped form of an allowed address", []string{"10.1.2.3"}, "::ffff:10.1.2.3", 443, nil, "10.1.2.3"},
		{"mapped form of another", []string{"10.1.2.3"}, "::ffff:7f00:1", 443, nil, "!not on the allow list"},
		{"IPv6 address", []string{"2001:db8::/32"}, "2001:db8::1", 443, nil, "2001:db8::1"},
		{"IPv6 with zone", []string{"fe80::1"}, "fe80::1%eth0", 443, nil, "!not an address"},

		{"octal", []string{"*", "127.0.0.1"}, "0177.0.0.1", 443, addrs("127.0.0.1"), "!usual spelling of address 127.0.0.1"},
		{"leading zeros", []string{"*", "127.0.0.1"}, "127.000.000.001", 443, addrs("127.0.0.1"), "!usual spelling"},
		{"hexadecimal", []string{"*", "127.0.0.1"}, "0x7f.0.0.1", 443, addrs("127.0.0.1"), "!address 127.0.0.1"},
		{"one hexadecimal number", []string{"*"}, "0x7f000001", 443, addrs("127.0.0.1"), "!address 127.0.0.1"},
		{"one decimal number", []string{"*"}, "2130706433", 443, addrs("127.0.0.1"), "!usual spelling of address 127.0.0.1"},
		{"two parts", []string{"*"}, "127.1", 443, addrs("127.0.0.1"), "!usual spelling of address 127.0.0.1"},
		{"three parts", []string{"*"}, "127.0.1", 443, addrs("127.0.0.1"), "!usual spelling of address 127.0.0.1"},
		{"address with a final dot", []string{"*", "10.1.2.3"}, "10.1.2.3.", 443, nil, "10.1.2.3"},
		{"hexadecimal end", []string{"*"}, "example.0x7f", 443, addrs("127.0.0.1"), "!neither"},
		{"number too large", []string{"*"}, "99999999999", 443, addrs("127.0.0.1"), "!neither"},
		{"five parts", []string{"*"}, "1.2.3.4.5", 443, addrs("127.0.0.1"), "!neither"},

		{"empty", []string{"*"}, "", 443, addrs("8.8.8.8"), "!no host"},
		{"only a dot", []string{"*"}, ".", 443, addrs("8.8.8.8"), "!empty part"},
		{"too long", []string{"*"}, strings.Repeat("a.", 127) + "org", 443, addrs("8.8.8.8"), "!too long"},
		{"long part", []string{"*"}, strings.Repeat("a", 64) + ".org", 443, addrs("8.8.8.8"), "!too long"},
		{"full-width letters", site, "ｅxample.org", 443, addrs("8.8.8.8"), "!not ASCII"},
		{"ideographic full stop", site, "example。org", 443, addrs("8.8.8.8"), "!not ASCII"},
		{"NUL", site, "example.org\x00.evil.com", 443, addrs("8.8.8.8"), "!contains"},
		{"percent", site, "example.org%2eevil", 443, addrs("8.8.8.8"), "!contains"},
		{"user", site, "evil@example.org", 443, addrs("8.8.8.8"), "!contains"},
		{"space", site, "example.org ", 443, addrs("8.8.8.8"), "!contains"},
		{"new line", site, "example.org\r\nHost: x", 443, addrs("8.8.8.8"), "!not an address"},
		{"slash", site, "example.org/", 443, addrs("8.8.8.8"), "!contains"},
		{"brackets", []string{"::1"}, "[::1]", 443, nil, "!not an address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := rules(t, tt.allow...).Decide(tt.host, tt.port, tt.resolved, own)
			if reason, refused := strings.CutPrefix(tt.want, "!"); refused {
				if d.Allowed || d.Addr.IsValid() || !strings.Contains(d.Reason, reason) {
					t.Errorf("got %+v, want refusal: %s", d, reason)
				}
			} else if !d.Allowed || d.Addr.String() != tt.want || d.Rule == "" || d.Reason != "" {
				t.Errorf("got %+v, want %s", d, tt.want)
			}
		})
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{
		"example.org", "*.a.b:1-2,3", "[::1]:443", "10.0.0.0/8:22", "*", "1.2.3.4", "0x7f.1", "a.:1", "::ffff:1.2.3.4",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		again, err := ParseRule(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%q became %q, which became %v (%v)", text, r, again, err)
		}
	})
}

func FuzzDecide(f *testing.F) {
	f.Add("example.org", 443, []byte{8, 8, 8, 8})
	f.Add("127.0.0.1", 80, []byte{127, 0, 0, 1})
	f.Add("0x7f.1", 80, slices.Repeat([]byte{0}, 16))
	f.Add("::ffff:127.0.0.1", 80, []byte{})
	p := rules(f, "*", "0.0.0.0/0", "::/0")
	f.Fuzz(func(t *testing.T, host string, port int, ip []byte) {
		var resolved []netip.Addr
		if a, ok := netip.AddrFromSlice(ip); ok {
			resolved = append(resolved, a)
		}
		d := p.Decide(host, port, resolved, own)
		checkDecision(t, d, own)
		if none := (Policy{}).Decide(host, port, resolved, own); none.Allowed {
			t.Errorf("no rules allowed %q", host)
		}
	})
}

// checkDecision holds for every policy that names no single address.
func checkDecision(t rapid.TB, d Decision, own []netip.Prefix) {
	if !d.Allowed {
		if d.Reason == "" || d.Addr.IsValid() {
			t.Errorf("refusal without reason or with an address: %+v", d)
		}
		return
	}
	a := d.Addr
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() ||
		a.IsLinkLocalUnicast() || a == netip.MustParseAddr("169.254.169.254") {
		t.Errorf("allowed: %+v", d)
	}
	for _, p := range own {
		if p.Addr().Unmap() == a {
			t.Errorf("allowed the host: %+v", d)
		}
	}
}

func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"a.example.org", "example.org", "b.test", "10.0.0.1", "127.0.0.1", "0x7f.1"})
		rule := rapid.SampledFrom([]string{
			"example.org", "*.example.org", "*", "*:443", "b.test:22,443", "10.0.0.0/8", "0.0.0.0/0", "::/0", "[fc00::/7]:443",
		})
		addr := rapid.Custom(func(rt *rapid.T) netip.Addr {
			if rapid.Bool().Draw(rt, "special") {
				p := rapid.SampledFrom(specials).Draw(rt, "range").prefix
				return p.Addr()
			}
			n := rapid.SampledFrom([]int{4, 16}).Draw(rt, "bytes")
			a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(rt, "addr"))
			if a.Is4() && rapid.Bool().Draw(rt, "mapped") {
				a = netip.AddrFrom16(a.As16())
			}
			return a
		})
		host := name.Draw(rt, "host")
		port := rapid.SampledFrom([]int{22, 443}).Draw(rt, "port")
		resolved := rapid.SliceOfN(addr, 0, 4).Draw(rt, "resolved")
		p := rules(t, rapid.SliceOfN(rule, 0, 4).Draw(rt, "rules")...)
		d := p.Decide(host, port, resolved, own)
		checkDecision(rt, d, own)
		if d.Allowed && !p.DecideName(host, port).Allowed {
			rt.Errorf("%q was allowed though its name is not", host)
		}
		if d.Allowed {
			// What was judged was one of what was asked, and judging it alone gives the same.
			one := p.Decide(host, port, []netip.Addr{d.Addr}, own)
			if one != d {
				rt.Errorf("alone: %+v, among others: %+v", one, d)
			}
		}
		// More rules never take anything away.
		more := Policy{Rules: append(slices.Clone(p.Rules), rules(t, "c.test").Rules...)}
		if d.Allowed && !more.Decide(host, port, resolved, own).Allowed {
			rt.Errorf("another rule took %q away", host)
		}
	})
}
