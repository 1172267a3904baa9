package tunnel

import (
	"net/netip"

	"github.com/calmenu/calmenu/internal/netpolicy"
)

// What this package needs of the policy, by short names.
type (
	Policy   = netpolicy.Policy
	Rule     = netpolicy.Rule
	Decision = netpolicy.Decision
)

func canonical(host string) (name string, addr netip.Addr, err error) {
	return netpolicy.Canonical(host)
}

func hostPort(host string, port int) string { return netpolicy.HostPort(host, port) }

func parsePort(s string) (int, error) { return netpolicy.ParsePort(s) }
