package catch

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/calmenu/calmenu/internal/tunnel/catch/pf"
)

// packets is macOS's packet filter.
type packets struct {
	*pf.Filter
	device *pf.Device
}

func openFilter(ctx context.Context) (filter, error) {
	d, err := pf.OpenDevice()
	if err != nil {
		return nil, err
	}
	f, err := pf.Open(ctx, stateDir+"/pf.token")
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &packets{f, d}, nil
}

func (p *packets) lead(ctx context.Context, t target) error {
	return p.Load(ctx, pfRules(t))
}

func (p *packets) wanted(conn *net.TCPConn) (netip.AddrPort, error) {
	from, at := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	return p.device.WantedTo(from, at)
}

func (p *packets) clear(ctx context.Context) error { return p.Clear(ctx) }

func (p *packets) close(ctx context.Context) error {
	return errors.Join(p.Close(ctx), p.device.Close())
}
