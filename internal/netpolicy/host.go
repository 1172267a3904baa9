package netpolicy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Canonical reads a destination's host, without brackets and port, the one way this package knows: a lower-case name
// without a final dot, or an address (then name is ""). Everything that another program might read otherwise is an
// error: addresses spelled in octal, hexadecimal, fewer than four parts or with zones, names that are no names of the
// DNS.
func Canonical(host string) (name string, addr netip.Addr, err error) {
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
