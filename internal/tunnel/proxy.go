package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a Proxy.
const (
	DefaultMaxConns = 128 // an SSH channel can hold 2 MiB unread, so this bounds memory too
	maxHeader       = 64 << 10
	headerTime      = 15 * time.Second // for one request's header
	idleTime        = 60 * time.Second // between requests of one connection
	dialTime        = 20 * time.Second // to resolve and connect
	maxDials        = 4                // addresses of one name tried
)

// Resolver looks up names; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Proxy is an HTTP proxy for one guest: CONNECT, and plain HTTP in absolute form. Only Policy must be set.
type Proxy struct {
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
	// Log is told of every connection or plain request when it is over, and of every refusal, from several goroutines at
	// once; of connections beyond MaxConns once a second.
	Log func(Connection)
	// Advice, if not empty, ends the sentence with which a destination is refused: what a person can do.
	Advice string
	// MaxConns is how many connections the guest may have at once; 0 is DefaultMaxConns. More are closed unread.
	MaxConns int

	headerTime time.Duration // for tests; 0 is the constant
}

// Connection is a record of one connection or refusal.
type Connection struct {
	Time      time.Time     `json:"time"` // when it was asked for
	Host      string        `json:"host"` // as the guest wrote it
	Addr      netip.Addr    `json:"addr,omitzero"`
	Port      int           `json:"port,omitempty"`
	Rule      string        `json:"rule,omitempty"`
	Allowed   bool          `json:"allowed"`
	Reason    string        `json:"reason,omitempty"` // why it was refused
	BytesUp   int64         `json:"up"`               // from the guest; bodies only for plain HTTP
	BytesDown int64         `json:"down"`
	Duration  time.Duration `json:"ns"`
	Err       string        `json:"error,omitempty"` // what went wrong after it was allowed
}

// Serve proxies for the connections of l until ctx ends (then the error is ctx's) or l fails, closes l and all
// connections, and returns when nothing of it runs any more.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	if p.Policy == nil {
		return errors.New("serve tunnel: no policy given")
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	var running sync.WaitGroup
	defer func() {
		cancel()
		stop()
		_ = l.Close()
		running.Wait()
	}()
	limit := int64(p.MaxConns)
	if limit <= 0 {
		limit = DefaultMaxConns
	}
	var open atomic.Int64
	var told time.Time
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("serve tunnel: %w", err)
		}
		if open.Add(1) > limit {
			// Never wait here: connections nobody accepts hold up the whole SSH connection.
			open.Add(-1)
			_ = conn.Close()
			if now := time.Now(); now.Sub(told) >= time.Second {
				told = now
				p.log(Connection{Time: now, Reason: fmt.Sprintf("is refused: the guest has %d connections open", limit)})
			}
			continue
		}
		running.Go(func() {
			defer open.Add(-1)
			p.serveConn(ctx, conn)
		})
	}
}

func (p *Proxy) log(c Connection) {
	if p.Log != nil {
		p.Log(c)
	}
}

// route is how a judged destination is reached.
type route struct {
	decision Decision
	upstream *url.URL     // the host's proxy, or nil
	addrs    []netip.Addr // of the name, not yet tried; nil behind a proxy
	name     string
	port     int
	policy   Policy
	own      []netip.Prefix
}

// judge resolves and judges a destination. A route that is not allowed has its reason in decision; err is a failure to
// find out.
func (p *Proxy) judge(ctx context.Context, scheme, host string, port int) (route, error) {
	policy := p.Policy()
	r := route{name: host, port: port, policy: policy, decision: policy.DecideName(host, port)}
	if !r.decision.Allowed {
		return r, nil
	}
	name, addr, err := canonical(host)
	if err != nil {
		return r, err
	}
	if addr.IsValid() {
		r.name, r.addrs = addr.String(), []netip.Addr{addr}
	} else {
		// From here on there is one spelling of it.
		r.name = name
	}
	upstream := p.Upstream
	if upstream == nil {
		upstream = upstreamFromEnvironment
	}
	if r.upstream, err = upstream(&url.URL{Scheme: scheme, Host: hostPort(r.name, port)}); err != nil {
		return r, fmt.Errorf("read the host's proxy settings: %w", err)
	}
	if !addr.IsValid() {
		resolver := p.Resolver
		if resolver == nil {
			resolver = net.DefaultResolver
		}
		r.addrs, err = resolver.LookupNetIP(ctx, "ip", r.name)
		if err != nil && r.upstream != nil && ctx.Err() == nil {
			// Hosts behind a proxy often resolve no outside name. The proxy will, and judges by its own rules.
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("resolve %s: %w", r.name, err)
		}
	}
	if p.Own == nil {
		r.own = ownAddresses()
	} else {
		r.own = p.Own()
	}
	r.decision = policy.Decide(r.name, port, r.addrs, r.own)
	return r, nil
}

// dial connects to the destination's judged address; if it does not answer, to the next one that passes.
func (p *Proxy) dial(ctx context.Context, r *route) (net.Conn, error) {
	var failed error
	for range maxDials {
		conn, err := p.dialer()(ctx, "tcp", hostPort(r.decision.Addr.String(), r.port))
		if err == nil {
			return conn, nil
		}
		if failed == nil {
			failed = err
		}
		tried := r.decision.Addr
		rest := make([]netip.Addr, 0, len(r.addrs))
		for _, a := range r.addrs {
			if a.Unmap() != tried {
				rest = append(rest, a)
			}
		}
		r.addrs = rest
		next := r.policy.Decide(r.name, r.port, rest, r.own)
		if ctx.Err() != nil || len(rest) == 0 || !next.Allowed || next.Addr == tried {
			break
		}
		r.decision = next
	}
	return nil, failed
}

func (p *Proxy) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	if p.Dial != nil {
		return p.Dial
	}
	return (&net.Dialer{}).DialContext
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

// closeWrite ends one direction of a connection, if it can.
func closeWrite(c io.Writer) bool {
	half, ok := c.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
