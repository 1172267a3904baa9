package tunnel

import (
	"net/netip"
	"testing"

	"github.com/calmenu/calmenu/internal/netpolicy"
)

func rules(t testing.TB, texts ...string) Policy {
	t.Helper()
	var p Policy
	for _, text := range texts {
		r, err := netpolicy.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		p.Rules = append(p.Rules, r)
	}
	return p
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}
