package catch

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A port that the SSH server still holds is tried again after bindAgain, later after maxBindAgain: somebody else may hold it.
const (
	bindAgain    = 2 * time.Millisecond
	maxBindAgain = time.Second
)

// proxy serves the proxy's ports in the SSH server's stead: where the kernel does not lead to a line what is said to them,
// this program listens there itself.
type proxy struct {
	line   *line
	cancel context.CancelFunc
	ports  sync.WaitGroup
}

// settleProxy has the proxy's ports served over the present line, unless the method in force leads them there. Its caller
// holds mu, and tells the host after it: the SSH server lets go of the ports then, or takes them again.
func (k *keeper) settleProxy() {
	l := k.line
	if _, leads := k.method.(*redirect); leads {
		l = nil
	}
	if k.proxy != nil {
		if k.proxy.line == l {
			return
		}
		k.proxy.cancel()
		k.proxy.ports.Wait()
		k.proxy = nil
	}
	if l == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.proxy = &proxy{line: l, cancel: cancel}
	for _, port := range k.options.Proxy {
		k.proxy.ports.Go(func() { k.serveProxyPort(ctx, l, netip.AddrPortFrom(loopback, port)) })
	}
}

func (k *keeper) serveProxyPort(ctx context.Context, p *line, at netip.AddrPort) {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
	for again := bindAgain; err != nil; again = min(2*again, maxBindAgain) {
		if pause(ctx, again); ctx.Err() != nil {
			return
		}
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
	}
	k.log.add("the proxy's port %d: over the %s", at.Port(), p.kind)
	defer func() { _ = l.Close() }()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return
		}
		go p.carry(k, conn, at)
	}
}
