package netpolicy

import "net/netip"

// Reach is how far an address leads.
type Reach int

// The reaches, from the least to the most.
const (
	Public  Reach = iota // the internet
	Private              // the host's neighbourhood
	Never                // the host itself, or nowhere a guest has business
)

type special struct {
	prefix netip.Prefix
	reach  Reach
	what   string
}

// specials are the ranges that are not the public internet (IANA's special-purpose registries, and the metadata
// addresses of clouds), narrower ones first. IPv4-mapped and NAT64 addresses are judged as the IPv4 address within.
var specials = []special{
	{netip.MustParsePrefix("169.254.169.254/32"), Never, "a cloud's metadata service"},
	{netip.MustParsePrefix("100.100.100.200/32"), Never, "a cloud's metadata service"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), Never, "a cloud's metadata service"},
	{netip.MustParsePrefix("fd20:ce::254/128"), Never, "a cloud's metadata service"},
	{netip.MustParsePrefix("0.0.0.0/8"), Never, "an unspecified address"},
	{netip.MustParsePrefix("127.0.0.0/8"), Never, "a loopback address"},
	{netip.MustParsePrefix("169.254.0.0/16"), Never, "a link-local address"},
	{netip.MustParsePrefix("224.0.0.0/4"), Never, "a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), Never, "a reserved address"},
	{netip.MustParsePrefix("::1/128"), Never, "a loopback address"},
	{netip.MustParsePrefix("::/96"), Never, "an unspecified address"},
	{netip.MustParsePrefix("fe80::/10"), Never, "a link-local address"},
	{netip.MustParsePrefix("ff00::/8"), Never, "a multicast address"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), Never, "a translated address"},
	{netip.MustParsePrefix("2001::/32"), Never, "a tunnelled address"},
	{netip.MustParsePrefix("2002::/16"), Never, "a tunnelled address"},
	{netip.MustParsePrefix("100::/64"), Never, "a discarding address"},
	{netip.MustParsePrefix("10.0.0.0/8"), Private, "a private address"},
	{netip.MustParsePrefix("172.16.0.0/12"), Private, "a private address"},
	{netip.MustParsePrefix("192.168.0.0/16"), Private, "a private address"},
	{netip.MustParsePrefix("100.64.0.0/10"), Private, "a carrier's private address"},
	{netip.MustParsePrefix("192.0.0.0/24"), Private, "a special-purpose address"},
	{netip.MustParsePrefix("192.0.2.0/24"), Private, "a documentation address"},
	{netip.MustParsePrefix("198.51.100.0/24"), Private, "a documentation address"},
	{netip.MustParsePrefix("203.0.113.0/24"), Private, "a documentation address"},
	{netip.MustParsePrefix("198.18.0.0/15"), Private, "a benchmarking address"},
	{netip.MustParsePrefix("fc00::/7"), Private, "a private address"},
	{netip.MustParsePrefix("fec0::/10"), Private, "a private address"},
	{netip.MustParsePrefix("2001:db8::/32"), Private, "a documentation address"},
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Judge tells how far an address leads and what it is. own are the host's interface addresses with their networks.
func Judge(a netip.Addr, own []netip.Prefix) (Reach, string) {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" {
		return Never, "not an address"
	}
	if nat64.Contains(a) {
		b := a.As16()
		if r, what := Judge(netip.AddrFrom4([4]byte(b[12:])), own); r != Public {
			return r, what + ", translated"
		}
	}
	to, what := Public, ""
	for _, s := range specials {
		if s.prefix.Contains(a) {
			to, what = s.reach, s.what
			break
		}
	}
	if to == Never {
		return to, what
	}
	for _, p := range own {
		if p.Addr().Unmap().WithZone("") == a {
			return Never, "an address of this host"
		}
	}
	if to == Private {
		return to, what
	}
	for _, p := range own {
		// Prefixes with an IPv4-mapped address never contain an IPv4 one.
		if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
		}
		if p.Addr().WithZone("").Is4() == a.Is4() && netip.PrefixFrom(p.Addr().WithZone(""), p.Bits()).Contains(a) {
			return Private, "an address of this host's network"
		}
	}
	return Public, ""
}
