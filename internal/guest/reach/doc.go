// Package reach tries, in a guest, to reach web servers that it must not: the canaries the host puts up for a check of
// isolation. It runs in the guest, in cmd/calhelper, where it takes a fraction of what starting curl does.
//
// What must hold: every address is tried, whatever the others come to, and each is accounted for. That it was tried is the
// guest's word; whether it was reached the host sees for itself.
package reach

// Gateway stands in an address for the guest's default gateway.
const Gateway = "GATEWAY"

// What begins the lines Run prints: the gateway first, then each attempt, with how it ended and its URL.
const (
	SaysGateway = "gateway "
	SaysTried   = "tried "
)
