package netpolicy

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Mode is what becomes of destinations that no rule is for, and whether rules count at all.
type Mode int

// The modes. The zero value is the strictest that still has rules.
const (
	AllowList Mode = iota // what no rule is for is refused
	Ask                   // a person is asked
	Open                  // it is allowed, if it is a public address
	Offline               // everything is refused, whatever the rules say
)

// Modes are the modes by the names people write.
var Modes = map[string]Mode{"allowlist": AllowList, "ask": Ask, "open": Open, "offline": Offline}

// String is the mode's name.
func (m Mode) String() string {
	for name, x := range Modes {
		if x == m {
			return name
		}
	}
	return strconv.Itoa(int(m))
}

// Policy says where the guest may go. The zero value allows nothing.
type Policy struct {
	Mode Mode
	// Rules are tried in order; the first that is for a destination decides.
	Rules []Rule
	// HiddenNames lets connections be that do not show which name they are for.
	HiddenNames bool
}

// LetsHide tells whether a connection that was allowed for a name may keep to itself which name it is for.
func (p Policy) LetsHide() bool { return p.HiddenNames || p.Mode == Open }

// Decision is a policy's answer about one destination.
type Decision struct {
	Allowed bool `json:"allowed"`
	// Ask says that a person is to be asked: it is neither allowed nor refused. Only DecideName says so.
	Ask bool `json:"ask"`
	// Addr is the address to dial, if Allowed: the one that was judged, and no other. It is not set by DecideName.
	Addr   netip.Addr `json:"addr,omitzero"`
	Rule   string     `json:"rule,omitempty"`   // the rule that decided; empty if none did
	Origin string     `json:"origin,omitempty"` // where that rule comes from
	// Reason is why it is refused, as half a sentence about the destination: "is not on the allow list of this workspace".
	Reason string `json:"reason,omitempty"`
}

// The rules that are nobody's: what the mode makes of the rest.
const (
	openRule = "network.policy: open"
	modeRule = "network.policy"
)

// unanswered is why a destination that is asked about is not reached yet.
const unanswered = "is refused: nobody has allowed it yet"

// DecideName judges what can be judged before a name is resolved, so that names that are not allowed are not even asked
// for: a question to the DNS is a way out too. Allowed then means: resolve it and ask Decide. A name is judged by the
// rules for names alone, an address by those for addresses.
func (p Policy) DecideName(host string, port int) Decision {
	name, addr, err := destination(host, port)
	if err != nil {
		return Decision{Reason: "is refused: " + err.Error()}
	}
	if p.Mode == Offline {
		return Decision{Rule: "network.policy: offline", Origin: modeRule, Reason: "is refused: this workspace is offline"}
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.forPort(port) || !r.forName(name) && !(addr.IsValid() && r.forAddr(addr)) {
			continue
		}
		d := Decision{Rule: r.String(), Origin: r.Origin}
		switch r.Action {
		case Allowing:
			d.Allowed = true
		case Asking:
			d.Ask, d.Reason = true, unanswered
		case Denying:
			d.Reason = "is refused by the rule " + strconv.Quote(r.String())
		}
		return d
	}
	return p.unknown(name, addr)
}

// DecideLookup judges whether a name may be asked for by a guest that dials addresses: whether it may be reached at any
// port. Ask says that it may be at none without asking a person.
func (p Policy) DecideLookup(name string) Decision {
	name, addr, err := Canonical(name)
	switch {
	case err != nil:
		return Decision{Reason: "is refused: " + err.Error()}
	case addr.IsValid():
		return Decision{Reason: "is refused: an address is no name"}
	case p.Mode == Offline:
		return p.DecideName(name, 1)
	}
	var asks *Decision
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.forName(name) {
			continue
		}
		d := Decision{Rule: r.String(), Origin: r.Origin}
		switch {
		case r.Action == Allowing:
			d.Allowed = true
			return d
		case r.Action == Asking && asks == nil:
			d.Ask, d.Reason = true, unanswered
			asks = &d
		case r.Action == Denying && len(r.ports) == 0 && asks == nil:
			d.Reason = "is refused by the rule " + strconv.Quote(r.String())
			return d
		}
	}
	if asks != nil {
		return *asks
	}
	return p.unknown(name, netip.Addr{})
}

// unknown judges what no rule is for.
func (p Policy) unknown(name string, addr netip.Addr) Decision {
	reach, _ := Judge(addr, nil)
	switch {
	case hidesNames(name):
		return Decision{Reason: "is a service that resolves names for others, and is not named in the allow list of this workspace"}
	case p.Mode == Open:
		return Decision{Allowed: true, Rule: openRule, Origin: modeRule}
	case p.Mode == Ask && (reach == Public || !addr.IsValid()):
		// Nobody is asked about the host's neighbourhood: who lets a guest into it writes that down.
		return Decision{Ask: true, Rule: "network.policy: ask", Origin: modeRule, Reason: unanswered}
	}
	return Decision{Reason: "is not on the allow list of this workspace"}
}

// Decide judges a destination. host is a name or address as the guest wrote it, without brackets; resolved are the
// addresses of the name (not used if host is an address), in order of preference; own are the host's interface
// addresses with their networks. It is a pure function.
//
// The name must have passed DecideName; a person who was asked and agreed is a rule by now. Then each address is judged
// by the first rule that is for the name or for the address: loopback, link-local, multicast, metadata and the host's own
// addresses are only for an allowing rule for that very address; the host's networks and private ranges only for one that
// names the host without "*", or for an address rule that covers them. The first address that passes is the decision's.
func (p Policy) Decide(host string, port int, resolved []netip.Addr, own []netip.Prefix) Decision {
	d := p.DecideName(host, port)
	if !d.Allowed {
		d.Ask = false
		return d
	}
	name, addr, _ := destination(host, port)
	if addr.IsValid() {
		resolved = []netip.Addr{addr}
	}
	refused := Decision{Reason: "is refused: the name does not resolve"}
	for i, a := range resolved {
		a = a.Unmap()
		one := p.decideAddr(name, a, port, own)
		if one.Allowed {
			one.Addr = a
			return one
		}
		if i > 0 {
			continue
		}
		refused = one
		what := one.Reason
		switch {
		case addr.IsValid() && one.Rule == "":
			refused.Reason = "is refused: it is " + what
		case addr.IsValid():
			refused.Reason = "is refused" + what
		case one.Rule == "":
			refused.Reason = fmt.Sprintf("is refused: it resolves to %v, %s", a, what)
		default:
			refused.Reason = fmt.Sprintf("is refused: it resolves to %v, refused%s", a, what)
		}
	}
	return refused
}

// Foresee judges a destination as far as nobody need be asked for its name: as DecideName does and, for names that lead to the
// loopback everywhere (RFC 6761, section 6.3), as Decide will.
func (p Policy) Foresee(host string, port int) Decision {
	d := p.DecideName(host, port)
	if name, _, err := destination(host, port); err == nil && d.Allowed && strings.HasSuffix("."+name, ".localhost") {
		return p.Decide(host, port, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil)
	}
	return d
}

// decideAddr judges one address of a name (empty: of an address the guest gave). Reason is a part of a sentence.
func (p Policy) decideAddr(name string, a netip.Addr, port int, own []netip.Prefix) Decision {
	to, what := Judge(a, own)
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.forPort(port) || !r.reaches(name, a, to) {
			continue
		}
		d := Decision{Rule: r.String(), Origin: r.Origin, Allowed: r.Action == Allowing}
		if !d.Allowed {
			d.Reason = " by the rule " + strconv.Quote(r.String())
		}
		return d
	}
	if p.Mode == Open && to == Public && !hidesNames(name) {
		return Decision{Allowed: true, Rule: openRule, Origin: modeRule}
	}
	if to == Public {
		what = "an address no rule is for"
	}
	return Decision{Reason: what}
}

func destination(host string, port int) (name string, addr netip.Addr, err error) {
	if port < 1 || port > 65535 {
		return "", addr, fmt.Errorf("%d is not a port", port)
	}
	return Canonical(host)
}

// HostPort is "host:port", or "[host]:port" for IPv6.
func HostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
