package pf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Redirection is what is led where. All ports are of 127.0.0.1.
type Redirection struct {
	Port  uint16         // where TCP connections are led
	Names uint16         // where questions for names (UDP, port 53) are led
	Proxy []uint16       // connections to these ports are led to Port too
	Kept  []netip.Prefix // networks this machine is in: connections into them are left alone
}

// Rules are the anchor's, in the language of pf.conf(5). What is neither led nor left alone is refused with an answer, so that
// programs try something else at once.
//
// pf redirects only what comes in. So what goes out is sent out by lo0 instead (route-to), by which it comes in again and is
// redirected (rdr). State is kept of that alone: the connections of the host to this machine began before there were rules.
func (r Redirection) Rules() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	kept := r.kept()
	if len(r.Proxy) > 0 {
		line("rdr pass on lo0 inet proto tcp from any to 127.0.0.1 port { %s } -> 127.0.0.1 port %d", list(r.Proxy), r.Port)
	}
	line("no rdr on lo0 inet proto tcp from any to { %s }", kept)
	line("rdr pass on lo0 inet proto tcp from any to any -> 127.0.0.1 port %d", r.Port)
	line("no rdr on lo0 inet proto udp from any to 127.0.0.0/8")
	line("rdr pass on lo0 inet proto udp from any to any port 53 -> 127.0.0.1 port %d", r.Names)
	line("pass quick on lo0 all no state")
	line("pass out quick route-to (lo0 127.0.0.1) inet proto udp from any to any port 53 keep state")
	line("pass out quick inet from any to { %s } no state", kept)
	// The lease of the machine's address is renewed by asking everybody when its server does not answer.
	line("pass out quick inet proto udp from any port 68 to 255.255.255.255 port 67 no state")
	line("pass out quick route-to (lo0 127.0.0.1) inet proto tcp from any to any flags S/SA keep state")
	line("pass out quick inet6 proto icmp6 all no state") // neighbours find each other by it
	line("block return out quick all")
	return b.String()
}

func (r Redirection) kept() string {
	words := []string{"127.0.0.0/8"}
	for _, p := range r.Kept {
		if p.Addr().Is4() {
			words = append(words, p.String())
		}
	}
	return strings.Join(words, ", ")
}

func list(ports []uint16) string {
	var words []string
	for _, p := range ports {
		words = append(words, strconv.Itoa(int(p)))
	}
	return strings.Join(words, ", ")
}
