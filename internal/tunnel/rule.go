package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// Rule allows destinations: those of a name, or those of an address range.
type Rule struct {
	name   string       // canonical; with "*." in front: all names below it, not itself; "*": every name
	prefix netip.Prefix // valid if name is empty
	ports  []portRange  // none: every port
}

type portRange struct{ first, last int }

const ruleHint = `Write "example.org", "*.example.org", "192.0.2.7" or "192.0.2.0/24", and for some ports only ` +
	`"example.org:443" or "example.org:80,8000-8099"; IPv6 with ports in brackets, "[2001:db8::/32]:443".`

// ParseRule reads a rule: a name ("example.org"), all names below one ("*.example.org"), every name ("*"), an address
// or a CIDR range, each with ":" and ports if it is not for every port ("example.org:80,443,8000-8099"; IPv6 in
// brackets then).
func ParseRule(text string) (Rule, error) {
	r, err := parseRule(text)
	if err != nil {
		return Rule{}, hint.Wrap(fmt.Errorf("read network rule %q: %w", text, err), ruleHint)
	}
	return r, nil
}

func parseRule(text string) (Rule, error) {
	host, ports := text, ""
	if rest, ok := strings.CutPrefix(text, "["); ok {
		inside, after, ok := strings.Cut(rest, "]")
		if !ok || !strings.Contains(inside, ":") {
			return Rule{}, errors.New("brackets are for an IPv6 address")
		}
		host = inside
		if after != "" {
			if ports, ok = strings.CutPrefix(after, ":"); !ok || ports == "" {
				return Rule{}, errors.New("ports must follow \"]:\"")
			}
		}
	} else if strings.Count(text, ":") == 1 {
		host, ports, _ = strings.Cut(text, ":")
		if ports == "" {
			return Rule{}, errors.New("no port after the colon")
		}
	}
	var r Rule
	var err error
	if ports != "" {
		if r.ports, err = parsePorts(ports); err != nil {
			return Rule{}, err
		}
	}
	if strings.Contains(host, "/") {
		p, err := netip.ParsePrefix(host)
		if err != nil {
			return Rule{}, errors.New("not an address range")
		}
		if p.Addr().Is4In6() {
			return Rule{}, errors.New("write the range as IPv4")
		}
		if p != p.Masked() {
			return Rule{}, fmt.Errorf("has bits beyond its length; meant is probably %v", p.Masked())
		}
		r.prefix = p
		return r, nil
	}
	if host == "*" {
		r.name = host
		return r, nil
	}
	below, wild := strings.CutPrefix(host, "*.")
	name, addr, err := canonical(below)
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

func parsePorts(text string) ([]portRange, error) {
	var ports []portRange
	for part := range strings.SplitSeq(text, ",") {
		a, b, isRange := strings.Cut(part, "-")
		if !isRange {
			b = a
		}
		first, err1 := parsePort(a)
		last, err2 := parsePort(b)
		if err1 != nil || err2 != nil || first > last {
			return nil, fmt.Errorf("%q is not a port or range of ports", part)
		}
		ports = append(ports, portRange{first, last})
	}
	return ports, nil
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(n), nil
}

// String is the rule as ParseRule reads it.
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
	if len(r.ports) == 0 {
		return host
	}
	parts := make([]string, len(r.ports))
	for i, p := range r.ports {
		parts[i] = strconv.Itoa(p.first)
		if p.last != p.first {
			parts[i] += "-" + strconv.Itoa(p.last)
		}
	}
	return host + ":" + strings.Join(parts, ",")
}

func (r Rule) allowsPort(port int) bool {
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

func (r Rule) matchesName(name string) bool {
	switch {
	case r.name == "" || name == "":
		return false
	case r.name == "*":
		return true
	case r.wild():
		return strings.HasSuffix(name, r.name[1:]) && len(name) > len(r.name)-1
	}
	return name == r.name
}

func (r Rule) matchesAddr(a netip.Addr) bool { return r.name == "" && r.prefix.Contains(a) }

// names tells whether the rule is for this very address, not for a range that holds it.
func (r Rule) names(a netip.Addr) bool { return r.matchesAddr(a) && r.prefix.IsSingleIP() }
