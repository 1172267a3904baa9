package tunnel

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Policy says where the guest may go. The zero value allows nothing.
type Policy struct {
	Allow []Rule
}

// Decision is a policy's answer about one destination.
type Decision struct {
	Allowed bool
	// Addr is the address to dial, if Allowed: the one that was judged, and no other. It is not set by DecideName.
	Addr   netip.Addr
	Rule   string // the rule that allowed it
	Reason string // why it is refused, as half a sentence about the destination: "is not on the allow list..."
}

// DecideName judges what can be judged before a name is resolved, so that names that are not allowed are not even asked
// for: a question to the DNS is a way out too. Allowed then means: resolve it and ask Decide.
func (p Policy) DecideName(host string, port int) Decision {
	name, addr, err := destination(host, port)
	if err != nil {
		return Decision{Reason: "is refused: " + err.Error()}
	}
	for _, r := range p.Allow {
		if r.allowsPort(port) && (r.matchesName(name) || addr.IsValid() && r.matchesAddr(addr)) {
			return Decision{Allowed: true, Rule: r.String()}
		}
	}
	return Decision{Reason: "is not on the allow list of this workspace"}
}

// DecideLookup judges whether a name may be asked for by a guest that dials addresses: whether it may be reached at any
// port.
func (p Policy) DecideLookup(name string) Decision {
	for _, r := range p.Allow {
		if r.matchesName(name) {
			return Decision{Allowed: true, Rule: r.String()}
		}
	}
	return Decision{Reason: "is not on the allow list of this workspace"}
}

// Decide judges a destination. host is a name or address as the guest wrote it, without brackets; resolved are the
// addresses of the name (not used if host is an address), in order of preference; own are the host's interface
// addresses with their networks. It is a pure function.
//
// A name must match a rule by name, an address a rule by address. Then each address is judged: loopback, link-local,
// multicast, metadata and the host's own addresses only if a rule is for that very address; the host's networks and
// private ranges only if a rule names the host without "*", or a rule by address covers it; any other is allowed. The
// first address that passes is the decision's.
func (p Policy) Decide(host string, port int, resolved []netip.Addr, own []netip.Prefix) Decision {
	d := p.DecideName(host, port)
	if !d.Allowed {
		return d
	}
	name, addr, _ := destination(host, port)
	if addr.IsValid() {
		resolved = []netip.Addr{addr}
	}
	explicit := ""
	for _, r := range p.Allow {
		if r.allowsPort(port) && r.matchesName(name) && !r.wild() {
			explicit = r.String()
			break
		}
	}
	refusal := "is refused: the name does not resolve"
	for i, a := range resolved {
		a = a.Unmap()
		reach, what := judge(a, own)
		rule, ok := p.allowsAddr(a, port, reach)
		switch {
		case ok && rule != "":
			return Decision{Allowed: true, Addr: a, Rule: rule}
		case reach == public && !addr.IsValid():
			return Decision{Allowed: true, Addr: a, Rule: d.Rule}
		case reach == private && explicit != "":
			return Decision{Allowed: true, Addr: a, Rule: explicit}
		case i == 0 && addr.IsValid():
			refusal = "is refused: it is " + what
		case i == 0:
			refusal = fmt.Sprintf("is refused: it resolves to %v, %s", a, what)
		}
	}
	return Decision{Reason: refusal}
}

// allowsAddr looks for a rule by address that is strong enough for where the address leads.
func (p Policy) allowsAddr(a netip.Addr, port int, to reach) (rule string, ok bool) {
	for _, r := range p.Allow {
		if r.allowsPort(port) && (r.names(a) || to != never && r.matchesAddr(a)) {
			return r.String(), true
		}
	}
	return "", false
}

func destination(host string, port int) (name string, addr netip.Addr, err error) {
	if port < 1 || port > 65535 {
		return "", addr, fmt.Errorf("%d is not a port", port)
	}
	return canonical(host)
}

// hostPort is "host:port", or "[host]:port" for IPv6.
func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
