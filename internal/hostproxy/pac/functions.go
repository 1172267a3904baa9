package pac

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// define gives a script the functions of the PAC specification (Netscape, 1996).
func (s *Script) define(rt *goja.Runtime) {
	in := func(c goja.FunctionCall, f func(time.Time, []string, bool) bool) goja.Value {
		args, utc := arguments(c)
		return rt.ToValue(f(s.now(), args, utc))
	}
	for name, f := range map[string]any{
		"isPlainHostName": func(host string) bool { return !strings.Contains(host, ".") && !strings.Contains(host, ":") },
		"dnsDomainIs": func(host, domain string) bool {
			return strings.HasSuffix(strings.ToLower(host), strings.ToLower(domain))
		},
		"localHostOrDomainIs": func(host, full string) bool {
			return strings.EqualFold(host, full) || !strings.Contains(host, ".") &&
				strings.HasPrefix(strings.ToLower(full), strings.ToLower(host)+".")
		},
		"dnsDomainLevels": func(host string) int { return strings.Count(host, ".") },
		"shExpMatch":      shExpMatch,
		"isResolvable":    func(host string) bool { return s.resolve(host) != "" },
		"isInNet":         func(host, network, mask string) bool { return isInNet(s.resolve(host), network, mask) },
		"dnsResolve": func(host string) any {
			if a := s.resolve(host); a != "" {
				return a
			}
			return nil
		},
		"myIpAddress":  myIPAddress,
		"convert_addr": convertAddr,
		"alert":        func(string) {},
		"weekdayRange": func(c goja.FunctionCall) goja.Value { return in(c, weekdayRange) },
		"dateRange":    func(c goja.FunctionCall) goja.Value { return in(c, dateRange) },
		"timeRange":    func(c goja.FunctionCall) goja.Value { return in(c, timeRange) },
	} {
		_ = rt.Set(name, f) // fails only for names that cannot be set
	}
}

func (s *Script) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// resolve returns the first IPv4 address of a name, or nothing.
func (s *Script) resolve(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String()
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	look := net.DefaultResolver.LookupIP
	if s.Resolver != nil {
		look = s.Resolver.LookupIP
	}
	ips, err := look(ctx, "ip4", host)
	if err != nil || len(ips) == 0 {
		return ""
	}
	return ips[0].String()
}

func shExpMatch(text, pattern string) bool {
	// "/" is no separator here.
	hide := strings.NewReplacer("/", "\x00", "[", `\[`, "]", `\]`, `\`, `\\`)
	ok, err := path.Match(hide.Replace(pattern), strings.ReplaceAll(text, "/", "\x00"))
	return err == nil && ok
}

func isInNet(addr, network, mask string) bool {
	a, err1 := netip.ParseAddr(addr)
	n, err2 := netip.ParseAddr(network)
	m, err3 := netip.ParseAddr(mask)
	if err1 != nil || err2 != nil || err3 != nil || !a.Is4() || !n.Is4() || !m.Is4() {
		return false
	}
	bits := func(x netip.Addr) uint32 { b := x.As4(); return binary.BigEndian.Uint32(b[:]) }
	return bits(a)&bits(m) == bits(n)&bits(m)
}

func convertAddr(addr string) uint32 {
	a, err := netip.ParseAddr(addr)
	if err != nil || !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// myIPAddress is the address this host would use towards the internet.
func myIPAddress() string {
	c, err := net.Dial("udp4", "192.0.2.1:9") // nothing is sent
	if err != nil {
		return "127.0.0.1"
	}
	defer c.Close()
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return "127.0.0.1"
	}
	return host
}

// arguments are a call's arguments as text, and whether the last was "GMT".
func arguments(c goja.FunctionCall) (args []string, utc bool) {
	for _, a := range c.Arguments {
		args = append(args, strings.ToUpper(strings.TrimSpace(a.String())))
	}
	if n := len(args); n > 0 && args[n-1] == "GMT" {
		return args[:n-1], true
	}
	return args, false
}

func zoned(now time.Time, utc bool) time.Time {
	if utc {
		return now.UTC()
	}
	return now.Local()
}

var weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

var months = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}

func indexOf(list []string, s string) int {
	for i, x := range list {
		if x == s {
			return i
		}
	}
	return -1
}

func weekdayRange(now time.Time, args []string, utc bool) bool {
	today := int(zoned(now, utc).Weekday())
	if len(args) < 1 || len(args) > 2 {
		return false
	}
	first, last := indexOf(weekdays, args[0]), indexOf(weekdays, args[len(args)-1])
	if first < 0 || last < 0 {
		return false
	}
	return within(first, today, last)
}

// within tells whether x lies from first to last, over the end of the round if need be.
func within(first, x, last int) bool {
	if first <= last {
		return first <= x && x <= last
	}
	return x >= first || x <= last
}

// dateRange takes days (1 to 31), months (by name) and years, alone or as two dates made of the same parts.
func dateRange(now time.Time, args []string, utc bool) bool {
	now = zoned(now, utc)
	half := max(len(args)/2, 1)
	if len(args) == 0 || len(args) > 6 || len(args) > 1 && len(args)%2 != 0 {
		return false
	}
	value := func(parts []string) (at, of int, years, ok bool) {
		for _, p := range parts {
			n, err := strconv.Atoi(p)
			switch {
			case indexOf(months, p) >= 0:
				at += 100 * (indexOf(months, p) + 1)
				of += 100 * int(now.Month())
			case err == nil && n >= 1 && n <= 31:
				at += n
				of += now.Day()
			case err == nil && n > 31 && n < 10000:
				at += 10000 * n
				of += 10000 * now.Year()
				years = true
			default:
				return 0, 0, false, false
			}
		}
		return at, of, years, true
	}
	first, x, years, ok1 := value(args[:half])
	last, _, _, ok2 := value(args[len(args)-half:])
	if !ok1 || !ok2 || years && first > last {
		return false
	}
	return within(first, x, last)
}

// timeRange takes an hour, two hours, or two times with minutes, or with minutes and seconds.
func timeRange(now time.Time, args []string, utc bool) bool {
	now = zoned(now, utc)
	var n []int
	for _, a := range args {
		v, err := strconv.Atoi(a)
		if err != nil || v < 0 || v > 60 {
			return false
		}
		n = append(n, v)
	}
	h, m, s := now.Clock()
	switch len(n) {
	case 1:
		return h == n[0]
	case 2:
		return within(n[0], h, n[1])
	case 4:
		return within(n[0]*60+n[1], h*60+m, n[2]*60+n[3])
	case 6:
		return within(n[0]*3600+n[1]*60+n[2], h*3600+m*60+s, n[3]*3600+n[4]*60+n[5])
	}
	return false
}
