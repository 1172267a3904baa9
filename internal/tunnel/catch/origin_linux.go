package catch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"syscall"

	"github.com/ti-mo/conntrack"
)

// origins knows where redirected connections wanted to go: the kernel's table of connections does.
type origins struct {
	mu   sync.Mutex // held while asking
	conn *conntrack.Conn
	port uint16
}

// newOrigins opens the kernel's table for connections that were led to a port of the loopback.
func newOrigins(port uint16) (*origins, error) {
	// The kernel loads it by itself when asked as root, but not everywhere.
	_ = exec.Command("modprobe", "-q", "nf_conntrack_netlink").Run()
	conn, err := conntrack.Dial(nil)
	if err != nil {
		return nil, fmt.Errorf("opening the kernel's table of connections: %w", err)
	}
	return &origins{conn: conn, port: port}, nil
}

// of returns where the connection from an address wanted to go; the zero value if the kernel does not know it, or it was
// made to the port itself.
func (o *origins) of(from netip.AddrPort) netip.AddrPort {
	const tcp = 6
	var f conntrack.Flow
	f.TupleReply.IP.SourceAddress = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	f.TupleReply.IP.DestinationAddress = from.Addr()
	f.TupleReply.Proto = conntrack.ProtoTuple{Protocol: tcp, SourcePort: o.port, DestinationPort: from.Port()}
	o.mu.Lock()
	defer o.mu.Unlock()
	found, err := o.conn.Get(f)
	if err != nil {
		return netip.AddrPort{}
	}
	to := netip.AddrPortFrom(found.TupleOrig.IP.DestinationAddress, found.TupleOrig.Proto.DestinationPort)
	if to.Addr().IsLoopback() {
		return netip.AddrPort{}
	}
	return to
}

func (o *origins) close() { _ = o.conn.Close() }

// wantedTo returns where a redirected connection wanted to go (SO_ORIGINAL_DST of netfilter_ipv4.h).
func wantedTo(conn *net.TCPConn) (to netip.AddrPort, err error) {
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
