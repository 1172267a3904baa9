package config

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Rule is one destination of network.allow.
type Rule struct {
	Name   string       // exact DNS name in lower case, or the suffix ".example.com" of a wildcard; empty for addresses
	Prefix netip.Prefix // address range; invalid for names
	Port   uint16       // 0: every port
}

var errRule = errors.New("not a name, *.name, address or CIDR with an optional :port")

// ParseRule reads a rule: "github.com", "*.github.com", "10.0.0.5", "10.0.0.0/8", "2001:db8::/32", each with an
// optional ":443" (an IPv6 address with a port is written in brackets). "*" is every name.
func ParseRule(s string) (Rule, error) {
	if len(s) > 300 {
		return Rule{}, errRule
	}
	host, port := s, ""
	if inside, rest, ok := strings.Cut(strings.TrimPrefix(s, "["), "]"); ok && strings.HasPrefix(s, "[") {
		if addr, err := netip.ParseAddr(inside); err != nil || !addr.Is6() {
			return Rule{}, errRule
		}
		host = inside
		if rest != "" {
			if !strings.HasPrefix(rest, ":") || rest == ":" {
				return Rule{}, errRule
			}
			port = rest[1:]
		}
	} else if strings.Count(s, ":") == 1 {
		host, port, _ = strings.Cut(s, ":")
		if port == "" {
			return Rule{}, errRule
		}
	}
	var r Rule
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Rule{}, errRule
		}
		r.Port = uint16(n)
	}
	if p, err := netip.ParsePrefix(host); err == nil {
		if p != p.Masked() {
			return Rule{}, errRule // host bits set: one of the two parts is a mistake
		}
		r.Prefix = p
		return r, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return Rule{}, errRule
		}
		r.Prefix = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		return r, nil
	}
	return named(r, host)
}

func named(r Rule, host string) (Rule, error) {
	if host == "*" {
		r.Name = "."
		return r, nil
	}
	name, wild := strings.CutPrefix(host, "*.")
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	labels := strings.Split(name, ".")
	if len(name) > 253 {
		return Rule{}, errRule
	}
	for _, label := range labels {
		if !validLabel(label) {
			return Rule{}, errRule
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return Rule{}, errRule // 10.0.0.999 is a mistyped address, not a name
	}
	if wild {
		name = "." + name
	}
	r.Name = name
	return r, nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range label {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// MatchesName tells whether the rule names this host on this port. A wildcard matches every depth below its suffix, not
// the suffix itself.
func (r Rule) MatchesName(name string, port uint16) bool {
	if r.Name == "" || r.Port != 0 && r.Port != port {
		return false
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case r.Name == ".":
		return name != ""
	case r.Name[0] == '.':
		return len(name) > len(r.Name) && strings.HasSuffix(name, r.Name)
	default:
		return name == r.Name
	}
}

// MatchesAddr tells whether the rule's range holds this address on this port.
func (r Rule) MatchesAddr(addr netip.Addr, port uint16) bool {
	return r.Prefix.IsValid() && (r.Port == 0 || r.Port == port) && r.Prefix.Contains(addr.Unmap())
}
