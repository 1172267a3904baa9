package catch

import (
	"net/netip"
	"strconv"
	"strings"
)

// target is what is led where. All ports are of the loopback.
type target struct {
	port  uint16         // where connections are led
	names uint16         // where questions for names are led
	proxy []uint16       // connections to these ports are led there too, though what is dialled there goes nowhere else
	kept  []netip.Prefix // networks the guest itself is in: in one of them is the host
}

// direct are the networks whose connections are left alone, with commas.
func (t target) direct() string {
	words := []string{"127.0.0.0/8"}
	for _, p := range t.kept {
		if p.Addr().Is4() {
			words = append(words, p.String())
		}
	}
	return strings.Join(words, ", ")
}

func list(ports []uint16) string {
	var words []string
	for _, p := range ports {
		words = append(words, strconv.Itoa(int(p)))
	}
	return strings.Join(words, ", ")
}
