package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// canonical reads a destination's host, without brackets and port, the one way this package knows: a lower-case name
// without a final dot, or an address (then name is ""). Everything that another program might read otherwise is an
// error: addresses spelled in octal, hexadecimal, fewer than four parts or with zones, names that are no names of the
// DNS.
func canonical(host string) (name string, addr netip.Addr, err error) {
	if host == "" {
		return "", addr, errors.New("no host given")
	}
	if len(host) > 254 {
		return "", addr, errors.New("name is too long")
	}
	if strings.Contains(host, ":") {
		addr, err = netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" {
			return "", netip.Addr{}, errors.New("not an address")
		}
		return "", addr.Unmap(), nil
	}
	name = strings.TrimSuffix(host, ".")
	if len(name) > 253 {
		return "", addr, errors.New("name is too long")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if err := checkLabel(label); err != nil {
			return "", addr, err
		}
	}
	name = strings.ToLower(name)
	if !numeric(labels[len(labels)-1]) {
		return name, addr, nil
	}
	// The name of a top-level domain is never a number, so this is an address in some spelling.
	if addr, err = netip.ParseAddr(name); err == nil {
		return "", addr, nil
	}
	if meant, ok := looseIPv4(labels); ok {
		return "", netip.Addr{}, fmt.Errorf("not the usual spelling of address %v", meant)
	}
	return "", netip.Addr{}, errors.New("neither a name nor an address")
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("name has an empty part")
	case len(label) > 63:
		return errors.New("a part of the name is too long")
	case label[0] == '-' || label[len(label)-1] == '-':
		return errors.New("a part of the name begins or ends with a hyphen")
	}
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c >= 0x80:
			return errors.New("name is not ASCII; its \"xn--\" form is needed")
		default:
			return fmt.Errorf("name contains %q", c)
		}
	}
	return nil
}

// numeric tells whether some program would take the label for a part of an IPv4 address.
func numeric(label string) bool {
	if strings.Trim(label, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(strings.ToLower(label), "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// looseIPv4 reads what inet_aton takes for an address: one to four parts, each decimal, octal or hexadecimal.
func looseIPv4(labels []string) (netip.Addr, bool) {
	if len(labels) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, label := range labels {
		n, err := strconv.ParseUint(label, 0, 64)
		if err != nil {
			return netip.Addr{}, false
		}
		if i < len(labels)-1 {
			if n > 255 {
				return netip.Addr{}, false
			}
			value |= n << (24 - 8*i)
			continue
		}
		if n >= 1<<(32-8*i) {
			return netip.Addr{}, false
		}
		value |= n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// reach is how far an address leads.
type reach int

const (
	public  reach = iota
	private       // the host's neighbourhood
	never         // the host itself, or nowhere a guest has business
)

type special struct {
	prefix netip.Prefix
	reach  reach
	what   string
}

// specials are the ranges that are not the public internet (IANA's special-purpose registries, and the metadata
// addresses of clouds), narrower ones first. IPv4-mapped and NAT64 addresses are judged as the IPv4 address within.
var specials = []special{
	{netip.MustParsePrefix("169.254.169.254/32"), never, "a cloud's metadata service"},
	{netip.MustParsePrefix("100.100.100.200/32"), never, "a cloud's metadata service"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), never, "a cloud's metadata service"},
	{netip.MustParsePrefix("fd20:ce::254/128"), never, "a cloud's metadata service"},
	{netip.MustParsePrefix("0.0.0.0/8"), never, "an unspecified address"},
	{netip.MustParsePrefix("127.0.0.0/8"), never, "a loopback address"},
	{netip.MustParsePrefix("169.254.0.0/16"), never, "a link-local address"},
	{netip.MustParsePrefix("224.0.0.0/4"), never, "a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), never, "a reserved address"},
	{netip.MustParsePrefix("::1/128"), never, "a loopback address"},
	{netip.MustParsePrefix("::/96"), never, "an unspecified address"},
	{netip.MustParsePrefix("fe80::/10"), never, "a link-local address"},
	{netip.MustParsePrefix("ff00::/8"), never, "a multicast address"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), never, "a translated address"},
	{netip.MustParsePrefix("2001::/32"), never, "a tunnelled address"},
	{netip.MustParsePrefix("2002::/16"), never, "a tunnelled address"},
	{netip.MustParsePrefix("100::/64"), never, "a discarding address"},
	{netip.MustParsePrefix("10.0.0.0/8"), private, "a private address"},
	{netip.MustParsePrefix("172.16.0.0/12"), private, "a private address"},
	{netip.MustParsePrefix("192.168.0.0/16"), private, "a private address"},
	{netip.MustParsePrefix("100.64.0.0/10"), private, "a carrier's private address"},
	{netip.MustParsePrefix("192.0.0.0/24"), private, "a special-purpose address"},
	{netip.MustParsePrefix("192.0.2.0/24"), private, "a documentation address"},
	{netip.MustParsePrefix("198.51.100.0/24"), private, "a documentation address"},
	{netip.MustParsePrefix("203.0.113.0/24"), private, "a documentation address"},
	{netip.MustParsePrefix("198.18.0.0/15"), private, "a benchmarking address"},
	{netip.MustParsePrefix("fc00::/7"), private, "a private address"},
	{netip.MustParsePrefix("fec0::/10"), private, "a private address"},
	{netip.MustParsePrefix("2001:db8::/32"), private, "a documentation address"},
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// judge tells how far an address leads and what it is. own are the host's interface addresses with their networks.
func judge(a netip.Addr, own []netip.Prefix) (reach, string) {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return never, "not an address"
	}
	if nat64.Contains(a) {
		b := a.As16()
		if r, what := judge(netip.AddrFrom4([4]byte(b[12:])), own); r != public {
			return r, what + ", translated"
		}
	}
	to, what := public, ""
	for _, s := range specials {
		if s.prefix.Contains(a) {
			to, what = s.reach, s.what
			break
		}
	}
	if to == never {
		return to, what
	}
	for _, p := range own {
		if p.Addr().Unmap().WithZone("") == a {
			return never, "an address of this host"
		}
	}
	if to == private {
		return to, what
	}
	for _, p := range own {
		// Prefixes with an IPv4-mapped address never contain an IPv4 one.
		if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
		}
		if p.Addr().WithZone("").Is4() == a.Is4() && netip.PrefixFrom(p.Addr().WithZone(""), p.Bits()).Contains(a) {
			return private, "an address of this host's network"
		}
	}
	return public, ""
}
