package catch

import (
	"net/netip"
	"testing"
)

// refusing is the end of every table.
const refusing = `chain refuse {
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

// TestRules: what is said to the proxy is led away from the SSH server where the target says so, and before the loopback's
// other connections are left alone.
func TestRules(t *testing.T) {
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
		if got, want := rules(tt.to), begin+tt.lead+refusing; got != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
}
