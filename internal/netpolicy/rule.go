package netpolicy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// Action is what a rule does with the destinations it is for.
type Action int

// The actions. The zero value allows, since that is what a destination alone means.
const (
	Allowing Action = iota
	Denying
	Asking // asks a person
)

var actions = map[string]Action{"allow": Allowing, "deny": Denying, "ask": Asking}

// String is the action's word in a rule.
func (a Action) String() string {
	for word, x := range actions {
		if x == a {
			return word
		}
	}
	return strconv.Itoa(int(a))
}

// Rule is for destinations: those of a name, or those of an address range.
type Rule struct {
	Action Action
	Origin string // where it comes from, for people

	name   string       // canonical; with "*." in front: all names below it, not itself; "*": every name
	prefix netip.Prefix // valid if name is empty
	ports  []portRange  // none: every port
	public bool         // allows no address but public ones
}

type portRange struct{ first, last int }

// publicOnly is the word behind a destination that keeps it from leading into the host's neighbourhood.
const publicOnly = "public"

const ruleHint = `Write "example.org", "*.example.org", "192.0.2.7" or "192.0.2.0/24", and for some ports only ` +
	`"example.org:443" or "example.org:80,8000-8099"; IPv6 with ports in brackets, "[2001:db8::/32]:443".`

// ParseRule reads a destination that is allowed: a name ("example.org"), all names below one ("*.example.org"), every
// name ("*"), an address or a CIDR range, each with ":" and ports if it is not for every port
// ("example.org:80,443,8000-8099"; IPv6 in brackets then). " public" behind it keeps a name from leading to anything but
// public addresses.
func ParseRule(text string) (Rule, error) {
	r, err := parseRule(text)
	if err != nil {
		return Rule{}, hint.Wrap(fmt.Errorf("read network rule %q: %w", text, err), ruleHint)
	}
	return r, nil
}

// maxRule bounds a rule's text.
const maxRule = 512

func parseRule(text string) (Rule, error) {
	if len(text) > maxRule {
		return Rule{}, errors.New("too long")
	}
	var r Rule
	destination, word, more := strings.Cut(text, " ")
	if more {
		if word != publicOnly {
			return Rule{}, fmt.Errorf("only the word %q may follow a destination", publicOnly)
		}
		r.public = true
	}
	host, ports, err := splitPorts(destination)
	if err != nil {
		return Rule{}, err
	}
	if ports != "" {
		if r.ports, err = parsePorts(ports); err != nil {
			return Rule{}, err
		}
	}
	if strings.Contains(host, "/") {
		r.prefix, err = parsePrefix(host)
		return r, err
	}
	if host == "*" {
		r.name = host
		return r, nil
	}
	below, wild := strings.CutPrefix(host, "*.")
	name, addr, err := Canonical(below)
	switch {
	case err != nil:
		return Rule{}, err
	case wild && addr.IsValid():
		return Rule{}, errors.New("an address has nothing below it")
	case addr.IsValid():
		r.prefix = netip.PrefixFrom(addr, addr.BitLen())
	case wild:
		r.name = "*." + name
	default:
		r.name = name
	}
	return r, nil
}

// splitPorts takes the ports off a destination.
func splitPorts(text string) (host, ports string, err error) {
	rest, bracket := strings.CutPrefix(text, "[")
	if !bracket {
		if strings.Count(text, ":") != 1 {
			return text, "", nil
		}
		host, ports, _ = strings.Cut(text, ":")
		if ports == "" {
			return "", "", errors.New("no port after the colon")
		}
		return host, ports, nil
	}
	inside, after, ok := strings.Cut(rest, "]")
	if !ok || !strings.Contains(inside, ":") {
		return "", "", errors.New("brackets are for an IPv6 address")
	}
	if after == "" {
		return inside, "", nil
	}
	if ports, ok = strings.CutPrefix(after, ":"); !ok || ports == "" {
		return "", "", errors.New("ports must follow \"]:\"")
	}
	return inside, ports, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("not an address range")
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("write the range as IPv4")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("has bits beyond its length; meant is probably %v", p.Masked())
	}
	return p, nil
}

func parsePorts(text string) ([]portRange, error) {
	var ports []portRange
	for part := range strings.SplitSeq(text, ",") {
		a, b, isRange := strings.Cut(part, "-")
		if !isRange {
			b = a
		}
		first, err1 := ParsePort(a)
		last, err2 := ParsePort(b)
		if err1 != nil || err2 != nil || first > last {
			return nil, fmt.Errorf("%q is not a port or range of ports", part)
		}
		ports = append(ports, portRange{first, last})
	}
	return ports, nil
}

// ParsePort reads a port in decimal digits.
func ParsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(n), nil
}

// String is the rule's destination as ParseRule reads it.
func (r Rule) String() string {
	host := r.name
	if host == "" {
		host = r.prefix.String()
		if r.prefix.IsSingleIP() {
			host = r.prefix.Addr().String()
		}
		if r.prefix.Addr().Is6() && len(r.ports) > 0 {
			host = "[" + host + "]"
		}
	}
	if len(r.ports) > 0 {
		parts := make([]string, len(r.ports))
		for i, p := range r.ports {
			parts[i] = strconv.Itoa(p.first)
			if p.last != p.first {
				parts[i] += "-" + strconv.Itoa(p.last)
			}
		}
		host += ":" + strings.Join(parts, ",")
	}
	if r.public {
		host += " " + publicOnly
	}
	return host
}

// Entry is the rule with its action, as ParseEntry reads it.
func (r Rule) Entry() string { return r.Action.String() + " " + r.String() }

func (r Rule) forPort(port int) bool {
	if len(r.ports) == 0 {
		return true
	}
	for _, p := range r.ports {
		if p.first <= port && port <= p.last {
			return true
		}
	}
	return false
}

// wild tells whether the rule names more than one name.
func (r Rule) wild() bool { return strings.HasPrefix(r.name, "*") }

// forName tells whether the rule is for the name. One that allows many names at once does not allow those by which
// other names are resolved.
func (r Rule) forName(name string) bool {
	switch {
	case r.name == "" || name == "":
		return false
	case !r.wild():
		return name == r.name
	case r.Action != Denying && hidesNames(name):
		return false
	}
	return r.name == "*" || strings.HasSuffix(name, r.name[1:]) && len(name) > len(r.name)-1
}

func (r Rule) forAddr(a netip.Addr) bool { return r.name == "" && r.prefix.Contains(a) }

// reaches tells whether the rule is for an address of a name. A rule that allows is for no more than it is strong enough
// for.
func (r Rule) reaches(name string, a netip.Addr, to Reach) bool {
	byName, byAddr := r.forName(name), r.forAddr(a)
	switch {
	case !byName && !byAddr:
		return false
	case r.Action != Allowing:
		return true
	case r.public:
		return to == Public
	case byAddr:
		return to != Never || r.prefix.IsSingleIP()
	}
	return to == Public || to == Private && !r.wild()
}

// Example is a destination the rule is for: one that shows what stands against it. None for a rule for many.
func (r Rule) Example() (host string, port int, ok bool) {
	port = 443
	if len(r.ports) > 0 {
		port = r.ports[0].first
	}
	switch {
	case r.name != "" && !r.wild():
		return r.name, port, true
	case r.name == "" && r.prefix.IsSingleIP():
		return r.prefix.Addr().String(), port, true
	}
	return "", 0, false
}

// Wide tells, as half a sentence, how the rule lets a guest further than a name of somebody's choosing does; empty if it
// does not.
func (r Rule) Wide() string {
	if r.Action != Allowing {
		return ""
	}
	switch {
	case r.name == "*" || r.wild() && strings.Count(r.name, ".") < 2:
		return "nearly every name"
	case r.name != "" || r.public:
		return ""
	case r.prefix.Bits() < 8:
		return "a great part of all addresses"
	}
	for _, s := range specials {
		if s.prefix.Overlaps(r.prefix) {
			return "what may be this host or its network"
		}
	}
	return ""
}
