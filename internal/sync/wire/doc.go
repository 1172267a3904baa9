// Package wire is what the host and its helper in the guest say to each other about an outbox: entries of a listing, and
// frames over one stream in each direction. The helper is built from it, so it stands on the standard library alone.
//
// What must hold here: whatever bytes come from the other side, decoding them ends, takes no more memory than a frame
// may have, and gives values or an error.
package wire
