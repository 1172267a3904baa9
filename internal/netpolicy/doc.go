// Package netpolicy says where a guest may go: rules, the order they are judged in, and what every address leads to. It
// is a pure function of what it is given; who resolves, dials and asks people is above it.
//
// What must hold: a destination is read in one way only, and what another program might read otherwise is refused;
// nothing is resolved before its name is allowed; addresses are judged after resolution, and the decision names the very
// address to dial; loopback, link-local, multicast, metadata and the host's own addresses need a rule for that address,
// the host's neighbourhood one that names it.
package netpolicy
