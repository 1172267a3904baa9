package catch

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nftRefusing is the end of every table.
const nftRefusing = `chain refuse {
type filter hook output priority 10; policy accept;
oifname "lo" accept
ip daddr { 127.0.0.0/8, 10.0.2.0/24 } accept
ct state invalid drop
meta l4proto tcp reject with tcp reset
meta nfproto ipv4 reject with icmp type admin-prohibited
icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
meta nfproto ipv6 reject with icmpv6 type admin-prohibited
}
}
`

// TestNftRules: what is said to the proxy is led away from the SSH server where the target says so, and before the loopback's
// other connections are left alone.
func TestNftRules(t *testing.T) {
	const begin = "table inet calmenu\ndelete table inet calmenu\ntable inet calmenu {\n"
	kept := []netip.Prefix{netip.MustParsePrefix("10.0.2.0/24"), netip.MustParsePrefix("fe80::/64")}
	for what, tt := range map[string]struct {
		to   target
		lead string
	}{
		"a line": {target{port: 40000, names: 5353, proxy: []uint16{3128, 1080}}, `chain lead {
type nat hook output priority -100; policy accept;
ip daddr 127.0.0.1 tcp dport { 3128, 1080 } redirect to :40000
ip daddr 127.0.0.0/8 return
meta nfproto ipv4 udp dport 53 redirect to :5353
ip daddr { 127.0.0.0/8, 10.0.2.0/24 } return
meta nfproto ipv4 meta l4proto tcp redirect to :40000
}
`},
		"no line": {target{port: 40000, names: 5353}, `chain lead {
type nat hook output priority -100; policy accept;
ip daddr 127.0.0.0/8 return
meta nfproto ipv4 udp dport 53 redirect to :5353
ip daddr { 127.0.0.0/8, 10.0.2.0/24 } return
meta nfproto ipv4 meta l4proto tcp redirect to :40000
}
`},
		"sshuttle": {},
	} {
		tt.to.kept = kept
		if got, want := nftRules(tt.to), begin+tt.lead+nftRefusing; got != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
}

// pfFiltering is what follows pf's redirections.
const pfFiltering = `pass quick on lo0 all no state
pass out quick route-to (lo0 127.0.0.1) inet proto udp from any to any port 53 keep state
pass out quick inet from any to { 127.0.0.0/8, 192.168.64.0/24 } no state
pass out quick inet proto udp from any port 68 to 255.255.255.255 port 67 no state
pass out quick route-to (lo0 127.0.0.1) inet proto tcp from any to any flags S/SA keep state
pass out quick inet6 proto icmp6 all no state
block return out quick all
`

// TestPfRules: the first rule that fits holds. What is said to the proxy is redirected before the loopback's other connections are
// left alone, and names are asked for here also where their server is in a network that is left alone.
func TestPfRules(t *testing.T) {
	const redirections = `no rdr on lo0 inet proto tcp from any to { 127.0.0.0/8, 192.168.64.0/24 }
rdr pass on lo0 inet proto tcp from any to any -> 127.0.0.1 port 40000
no rdr on lo0 inet proto udp from any to 127.0.0.0/8
rdr pass on lo0 inet proto udp from any to any port 53 -> 127.0.0.1 port 3131
`
	const proxy = "rdr pass on lo0 inet proto tcp from any to 127.0.0.1 port { 3128, 1080 } -> 127.0.0.1 port 40000\n"
	to := target{
		port: 40000, names: 3131,
		kept: []netip.Prefix{netip.MustParsePrefix("192.168.64.0/24"), netip.MustParsePrefix("fd00::/64")},
	}
	if diff := cmp.Diff(redirections+pfFiltering, pfRules(to)); diff != "" {
		t.Error(diff)
	}
	to.proxy = []uint16{3128, 1080}
	if diff := cmp.Diff(proxy+redirections+pfFiltering, pfRules(to)); diff != "" {
		t.Error(diff)
	}
}
