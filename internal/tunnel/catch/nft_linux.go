package catch

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// nft is Linux's packet filter.
type nft struct{}

func openFilter(context.Context) (filter, error) { return nft{}, nil }

func (nft) lead(ctx context.Context, t target) error { return install(ctx, rules(t)) }
func (nft) close(ctx context.Context) error          { return uninstall(ctx) }

// wanted asks for SO_ORIGINAL_DST of netfilter_ipv4.h.
func (nft) wanted(conn *net.TCPConn) (to netip.AddrPort, err error) {
	const originalDst = 80
	raw, err := conn.SyscallConn()
	if err != nil {
		return to, err
	}
	var name *syscall.IPv6Mreq // holds a sockaddr_in as well
	cerr := raw.Control(func(fd uintptr) {
		name, err = syscall.GetsockoptIPv6Mreq(int(fd), syscall.IPPROTO_IP, originalDst)
	})
	if err = errors.Join(cerr, err); err != nil {
		return to, err
	}
	b := name.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])), nil
}
