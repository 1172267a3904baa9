package tunnel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
)

// maxDials is how many addresses of one name are tried.
const maxDials = 4

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
func (g *Gate) judge(ctx context.Context, d Destination) (route, error) {
	if _, addr, err := canonical(d.Host); d.Way.caught() && err == nil && addr.IsValid() {
		return g.judgeCaught(ctx, d)
	}
	policy := g.Policy()
	r := route{name: d.Host, port: d.Port, policy: policy, decision: policy.DecideName(d.Host, d.Port)}
	if !r.decision.Allowed {
		return r, nil
	}
	name, addr, err := canonical(d.Host)
	if err != nil {
		return r, err
	}
	if addr.IsValid() {
		r.name, r.addrs = addr.String(), []netip.Addr{addr}
	} else {
		// From here on there is one spelling of it.
		r.name = name
	}
	if err := g.findUpstream(&r, d.Way); err != nil {
		return r, err
	}
	if !addr.IsValid() {
		r.addrs, err = g.resolver().LookupNetIP(ctx, "ip", r.name)
		if err != nil && r.upstream != nil && ctx.Err() == nil {
			// Hosts behind a proxy often resolve no outside name. The proxy will, and judges by its own rules.
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("resolve %s: %w", r.name, err)
		}
	}
	r.own = g.own()
	r.decision = policy.Decide(r.name, d.Port, r.addrs, r.own)
	return r, nil
}

// findUpstream asks which proxy the host uses for a route.
func (g *Gate) findUpstream(r *route, w Way) (err error) {
	upstream, scheme := g.Upstream, "https"
	if upstream == nil {
		upstream = upstreamFromEnvironment
	}
	if w == WayHTTP || r.port == webPort {
		scheme = "http"
	}
	if r.upstream, err = upstream(&url.URL{Scheme: scheme, Host: hostPort(r.name, r.port)}); err != nil {
		return fmt.Errorf("read the host's proxy settings: %w", err)
	}
	return nil
}

// judgeCaught judges an address the guest's program dialled by itself, by the names that were answered with it: the first
// one that is allowed there counts. An address that was no answer is judged as an address.
func (g *Gate) judgeCaught(ctx context.Context, d Destination) (route, error) {
	policy := g.Policy()
	r := route{name: d.Host, port: d.Port, policy: policy, own: g.own()}
	_, addr, err := canonical(d.Host)
	if err != nil || !addr.IsValid() {
		r.decision = Decision{Reason: "is refused: not an address"}
		return r, nil
	}
	r.addrs = []netip.Addr{addr}
	names, standIn := g.answered.names(addr)
	for i, name := range names {
		decision := policy.Decide(name, d.Port, r.addrs, r.own)
		if standIn {
			decision = policy.DecideName(name, d.Port) // the address is none
		}
		if i == 0 || decision.Allowed {
			r.name, r.decision = name, decision
		}
		if decision.Allowed {
			break
		}
	}
	switch {
	case standIn && r.decision.Allowed:
		r.addrs = nil
		if err := g.findUpstream(&r, d.Way); err != nil {
			return r, err
		}
		if r.upstream != nil {
			return r, nil
		}
		// The name was not resolved when the guest asked for it: nobody had allowed it yet, or only a proxy knew it.
		var err error
		if r.addrs, err = g.resolver().LookupNetIP(ctx, "ip", r.name); err != nil {
			return r, fmt.Errorf("resolve %s: %w", r.name, err)
		}
		r.decision = policy.Decide(r.name, d.Port, r.addrs, r.own)
		return r, nil
	case !standIn && !r.decision.Allowed:
		if byAddr := policy.Decide(addr.String(), d.Port, nil, r.own); byAddr.Allowed || len(names) == 0 {
			r.decision = byAddr
		}
	}
	if !r.decision.Allowed {
		return r, nil
	}
	return r, g.findUpstream(&r, d.Way)
}

// dial connects to the destination's judged address; if it does not answer, to the next one that passes.
func (g *Gate) dial(ctx context.Context, r *route) (net.Conn, error) {
	var failed error
	for range maxDials {
		conn, err := g.dialer()(ctx, "tcp", hostPort(r.decision.Addr.String(), r.port))
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
