package catch

import (
	"fmt"
	"strings"
)

// pfRules are what the kernel is told on macOS, in the language of pf.conf(5): to lead connections and questions for names to a
// target. What is neither led nor left alone is refused with an answer, so that programs try something else at once.
//
// pf redirects only what comes in. So what goes out is sent out by lo0 instead (route-to), by which it comes in again and is
// redirected (rdr). State is kept of that alone: the connections of the host to this machine began before there were rules.
func pfRules(t target) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	direct := t.direct()
	if len(t.proxy) > 0 {
		line("rdr pass on lo0 inet proto tcp from any to 127.0.0.1 port { %s } -> 127.0.0.1 port %d", list(t.proxy), t.port)
	}
	line("no rdr on lo0 inet proto tcp from any to { %s }", direct)
	line("rdr pass on lo0 inet proto tcp from any to any -> 127.0.0.1 port %d", t.port)
	line("no rdr on lo0 inet proto udp from any to 127.0.0.0/8")
	line("rdr pass on lo0 inet proto udp from any to any port 53 -> 127.0.0.1 port %d", t.names)
	line("pass quick on lo0 all no state")
	line("pass out quick route-to (lo0 127.0.0.1) inet proto udp from any to any port 53 keep state")
	line("pass out quick inet from any to { %s } no state", direct)
	// The lease of the machine's address is renewed by asking everybody when its server does not answer.
	line("pass out quick inet proto udp from any port 68 to 255.255.255.255 port 67 no state")
	line("pass out quick route-to (lo0 127.0.0.1) inet proto tcp from any to any flags S/SA keep state")
	line("pass out quick inet6 proto icmp6 all no state") // neighbours find each other by it
	line("block return out quick all")
	return b.String()
}
