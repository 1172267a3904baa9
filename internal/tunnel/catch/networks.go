package catch

import (
	"net"
	"net/netip"
)

// networks are those this guest's interfaces are in: the host is in one of them.
func networks() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var found []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() {
			found = append(found, p.Masked())
		}
	}
	return found
}
