package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// dialTime is how long it may take to resolve a name, and to connect.
const dialTime = 20 * time.Second

// Resolver looks up names; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Gate is what every way out of one guest leads through: it judges a destination, resolves its name on this host, dials
// the judged address and no other, and records what came of it. Only Policy must be set. Its methods may be called at
// once from several goroutines.
type Gate struct {
	// Policy is asked for at every request, so that a change is in force at once. Connections that exist are left alone.
	Policy func() Policy
	// Resolver defaults to the host's.
	Resolver Resolver
	// Dial opens connections to judged addresses ("192.0.2.7:443") and to the host's own proxy; it defaults to
	// net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Own are the host's interface addresses with their networks; defaults to those the host has at the time.
	Own func() []netip.Prefix
	// Upstream is the proxy the host itself has to use for a destination, or nil; defaults to HTTPS_PROXY, HTTP_PROXY and
	// NO_PROXY of the environment. Destinations behind it are judged by name, and by address if the host can resolve them;
	// the proxy there resolves them again by itself.
	Upstream func(*url.URL) (*url.URL, error)
	// Ask asks a person about a destination the policy leaves to one, and returns when there is an answer in the policy, or
	// nobody has given one in time. Nil asks nobody: such destinations are refused.
	Ask func(ctx context.Context, host string, port int)
	// Log is told of every connection or plain request when it is over, and of every refusal, from several goroutines at
	// once; of connections beyond a limit once a second.
	Log func(Connection)
	// Advice, if not empty, ends the sentence with which a destination is refused: what a person can do.
	Advice string

	answered answered // to the guest's questions for names
	lookups  lookups  // for these
}

// Way is how a guest asked for a connection.
type Way string

// The ways out.
const (
	WayHTTP     Way = "http"     // a plain request to the proxy, or one that goes to the host's
	WayConnect  Way = "connect"  // CONNECT
	WaySOCKS    Way = "socks5"   // CONNECT of SOCKS5
	WaySshuttle Way = "sshuttle" // a connection caught by sshuttle in the guest
	WayHelper   Way = "helper"   // one caught by CALMenu's own program in the guest
	WayDNS      Way = "dns"      // a question for a name, caught by either
)

// caught tells whether the guest's program did not ask for a way out: it dialled an address, which stands for the name it
// was the answer to.
func (w Way) caught() bool { return w == WaySshuttle || w == WayHelper }

// Destination is what a guest asks for.
type Destination struct {
	Host string // a name or an address, as the guest wrote it, without brackets
	Port int
	Way  Way
}

// Connection is a record of one connection or refusal.
type Connection struct {
	Time      time.Time     `json:"time"` // when it was asked for
	Way       Way           `json:"way,omitempty"`
	Host      string        `json:"host"` // as the guest wrote it; the name it had asked for, if it dialled an address
	Addr      netip.Addr    `json:"addr,omitzero"`
	Port      int           `json:"port,omitempty"`
	Rule      string        `json:"rule,omitempty"`
	Origin    string        `json:"origin,omitempty"` // where the rule comes from
	Allowed   bool          `json:"allowed"`
	Reason    string        `json:"reason,omitempty"` // why it was refused
	BytesUp   int64         `json:"up"`               // from the guest; bodies only for plain HTTP
	BytesDown int64         `json:"down"`
	Duration  time.Duration `json:"ns"`
	Err       string        `json:"error,omitempty"` // what went wrong after it was allowed
}

// RefusedError says that the policy does not allow a destination.
type RefusedError struct{ Sentence string } // half a sentence about the destination, and what to do

func (e *RefusedError) Error() string { return e.Sentence }

// Carry connects a stream of the guest's to a destination and passes bytes until both sides have ended, passing on the
// end of each by itself; the end of ctx ends both. answer is called once, before the first byte: with nil when the
// connection stands, else with why not (a *RefusedError, or a failure to find out or to connect); what it returns ends
// it. near is closed in the end.
func (g *Gate) Carry(ctx context.Context, d Destination, near Stream, answer func(error) error) {
	defer near.Close()
	d, near = g.sniffed(d, near)
	record := newRecord(d)
	r, err := g.enter(ctx, d, record)
	if err == nil && r.takesRequests() {
		if err := answer(nil); err != nil {
			record.Err = oneLine(err.Error())
			g.finish(record)
			return
		}
		answer = func(err error) error { return err }
		if near = g.carryRequests(ctx, &r, near); near == nil {
			return
		}
	}
	var far *inspected
	if err == nil {
		far, err = g.reach(ctx, &r, record)
	}
	if err != nil {
		g.finish(record)
		_ = answer(err)
		return
	}
	defer far.Close()
	defer far.inspection.end()
	far.near = near
	stop := context.AfterFunc(ctx, func() {
		_ = near.Close()
		_ = far.Close()
	})
	defer stop()
	if err = answer(nil); err == nil {
		record.BytesUp, record.BytesDown, err = relay(near, far)
	}
	var inside insideError
	switch {
	case errors.As(err, &inside):
		record.Allowed, record.Reason = false, inside.Error()
	case err != nil:
		record.Err = oneLine(err.Error())
	}
	g.finish(record)
}

// enter has a destination judged, by a person if need be, and notes in the record what came of it.
func (g *Gate) enter(ctx context.Context, d Destination, record *Connection) (route, error) {
	g.consult(ctx, d)
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return g.admit(ctx, d, record)
}

// reach connects by a route, and notes in the record what came of it.
func (g *Gate) reach(ctx context.Context, r *route, record *Connection) (*inspected, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var far net.Conn
	var err error
	if r.upstream != nil {
		far, err = g.connectUpstream(ctx, r.upstream, hostPort(r.name, r.port))
	} else {
		far, err = g.dial(ctx, r)
		record.Addr = r.decision.Addr
		record.Rule, record.Origin = r.decision.Rule, r.decision.Origin
	}
	if err != nil {
		record.Err = oneLine(err.Error())
		return nil, fmt.Errorf("connect to %s: %w", hostPort(record.Host, r.port), err)
	}
	return g.inspect(far, r), nil
}

func newRecord(d Destination) *Connection {
	return &Connection{Time: time.Now(), Way: d.Way, Host: oneLine(d.Host), Port: d.Port}
}

// finish writes the record of what is over.
func (g *Gate) finish(record *Connection) {
	record.Duration = time.Since(record.Time)
	g.log(*record)
}

func (g *Gate) log(c Connection) {
	if g.Log != nil {
		g.Log(c)
	}
}

// admit judges a destination and notes it in the record. The error is a *RefusedError, or a failure to find out.
func (g *Gate) admit(ctx context.Context, d Destination, record *Connection) (route, error) {
	r, err := g.judge(ctx, d)
	if d.Way.caught() && r.name != "" {
		record.Host = oneLine(r.name)
	}
	record.Allowed, record.Rule, record.Origin = r.decision.Allowed, r.decision.Rule, r.decision.Origin
	record.Addr, record.Reason = r.decision.Addr, oneLine(r.decision.Reason)
	if err != nil {
		record.Err = oneLine(err.Error())
		return r, err
	}
	if !r.decision.Allowed {
		line := hostPort(record.Host, d.Port) + " " + r.decision.Reason
		if g.Advice != "" {
			line += "; " + g.Advice
		}
		return r, &RefusedError{line}
	}
	return r, nil
}

func (g *Gate) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	if g.Dial != nil {
		return g.Dial
	}
	return (&net.Dialer{}).DialContext
}

func (g *Gate) resolver() Resolver {
	if g.Resolver != nil {
		return g.Resolver
	}
	return net.DefaultResolver
}

func (g *Gate) own() []netip.Prefix {
	if g.Own != nil {
		return g.Own()
	}
	return ownAddresses()
}

func upstreamFromEnvironment(u *url.URL) (*url.URL, error) {
	return http.ProxyFromEnvironment(&http.Request{URL: u})
}

// ownAddresses are the addresses of the host's interfaces. What cannot be read is left out: loopback and private
// ranges are refused without it.
func ownAddresses() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Prefix
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(n.IP)
		ones, bits := n.Mask.Size()
		if addr = addr.Unmap(); ok && bits == addr.BitLen() {
			own = append(own, netip.PrefixFrom(addr, ones))
		}
	}
	return own
}
