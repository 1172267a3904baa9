package catch

import (
	"fmt"
	"strings"
)

// table is the name of the rules' table in the guest's kernel.
const table = "calmenu"

// trackingTable is the name of the table that stays while rules come and go.
const trackingTable = "calmenu_tracking"

// nftTracking has the kernel track connections, and translate the addresses of those it has redirected, for as long as the table
// is there. Without a rule that asks for a connection's state it would stop both: what such a connection says next would leave
// untranslated and be answered with a reset.
const nftTracking = "table inet " + trackingTable + "\ndelete table inet " + trackingTable + "\ntable inet " + trackingTable + ` {
chain output {
type nat hook output priority -100; policy accept;
ct state established accept
}
}
`

// nftRules are what the kernel is told on Linux: to lead connections and questions for names to a target, unless that has no
// port: then sshuttle catches both. What is left of UDP, IPv6 and the rest is refused with an answer, so that programs try
// something else at once.
func nftRules(t target) string {
	var b strings.Builder
	// The first line makes the second one hold also where there is no such table yet.
	fmt.Fprintf(&b, "table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", table)
	direct := t.direct()
	if t.port != 0 {
		b.WriteString("chain lead {\ntype nat hook output priority -100; policy accept;\n")
		if len(t.proxy) > 0 {
			fmt.Fprintf(&b, "ip daddr %v tcp dport { %s } redirect to :%d\n", loopback, list(t.proxy), t.port)
		}
		b.WriteString("ip daddr 127.0.0.0/8 return\n")
		fmt.Fprintf(&b, "meta nfproto ipv4 udp dport 53 redirect to :%d\n", t.names)
		fmt.Fprintf(&b, "ip daddr { %s } return\n", direct)
		fmt.Fprintf(&b, "meta nfproto ipv4 meta l4proto tcp redirect to :%d\n}\n", t.port)
	}
	b.WriteString("chain refuse {\ntype filter hook output priority 10; policy accept;\noifname \"lo\" accept\n")
	fmt.Fprintf(&b, "ip daddr { %s } accept\n", direct)
	// A packet the kernel cannot place is not led anywhere, and comes again; refusing it would end its connection.
	b.WriteString("ct state invalid drop\nmeta l4proto tcp reject with tcp reset\n" +
		"meta nfproto ipv4 reject with icmp type admin-prohibited\n" +
		"icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept\n" +
		"meta nfproto ipv6 reject with icmpv6 type admin-prohibited\n}\n}\n")
	return b.String()
}
