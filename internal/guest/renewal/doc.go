// Package renewal gives a Linux guest that goes on from saved memory what no two machines may share and none may keep: random
// numbers of its own, and the time. It runs in the guest, as root: in cmd/calseed at a template's start, in cmd/calhelper at
// any other.
//
// What must hold: it uses the standard library alone; entropy that cannot be mixed in is an error.
package renewal

// EntropyMax bounds the bytes that are mixed in at once.
const EntropyMax = 4096
