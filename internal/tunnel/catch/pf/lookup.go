package pf

import (
	"encoding/binary"
	"net/netip"
)

// natlook is struct pfioc_natlook of macOS's net/pfvar.h, which its SDK has not; ports are longer than in other systems' pf. All
// addresses and ports are in network order.
type natlook struct {
	source, destination                          [16]byte
	realSource, realDestination                  [16]byte
	sourcePort, destinationPort                  [4]byte // of a union that is as long; the port is its first half
	realSourcePort, realDestinationPort          [4]byte
	family, protocol, protocolVariant, direction uint8
}

// DIOCNATLOOK: _IOWR('D', 23, struct pfioc_natlook).
const (
	natlookSize = 4*16 + 4*4 + 4
	diocnatlook = 0xc0000000 | natlookSize<<16 | 'D'<<8 | 23
)

const (
	afInet = 2
	tcp    = 6
	pfOut  = 2 // PF_OUT: asked is what becomes of what the connection's end here says
)

// question asks where a TCP connection wanted to go whose other end is from, and whose end here is at.
func question(from, at netip.AddrPort) *natlook {
	q := &natlook{family: afInet, protocol: tcp, direction: pfOut}
	copy(q.source[:], from.Addr().AsSlice())
	copy(q.destination[:], at.Addr().AsSlice())
	binary.BigEndian.PutUint16(q.sourcePort[:], from.Port())
	binary.BigEndian.PutUint16(q.destinationPort[:], at.Port())
	return q
}

func (q *natlook) answer() netip.AddrPort {
	addr := netip.AddrFrom4([4]byte(q.realDestination[:4]))
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(q.realDestinationPort[:]))
}
