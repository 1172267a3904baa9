// Package outboxer is the guest's side of the outbox: what cmd/calhelper does for its verb "outbox". It lists one
// directory, hands over files of it that are closed and stay as they were listed, and tells what changes, all by frames
// of package wire over its standard input and output.
//
// What must hold here: no link is followed below the directory; nothing but regular files is opened; it writes nowhere. It
// is a convenience of the host's, not a guard: a guest can replace it by anything, and the host believes none of it.
package outboxer
