package catch

import (
	"net/netip"
	"testing"
)

// TestLed: of the loopback, the proxy's ports alone are led to the host, and only while there is a line.
func TestLed(t *testing.T) {
	o := Options{Port: 3129, Proxy: []uint16{3128, 1080}}
	for to, want := range map[string]bool{
		"192.0.2.7:3128": true,
		"192.0.2.7:22":   true,
		"127.0.0.1:3128": true,
		"127.0.0.1:1080": true,
		"127.0.0.1:3129": false,
		"127.0.0.1:22":   false,
		"127.0.0.2:3128": false,
		"[::1]:3128":     false,
	} {
		if got := o.led(netip.MustParseAddrPort(to)); got != want {
			t.Errorf("%s is led: %v", to, got)
		}
	}
	if o.led(netip.AddrPort{}) {
		t.Error("nowhere is led")
	}
	k := keeper{options: o}
	if to := k.target(); to.port != 3129 || to.proxy != nil {
		t.Errorf("without a line: %+v", to)
	}
}
