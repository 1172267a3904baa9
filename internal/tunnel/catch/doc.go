// Package catch is the guest's side of transparent mode: it has the guest's kernel, or stock sshuttle, lead every TCP
// connection and every question for a name to the host, and refuses what cannot be led there at once, so that nothing
// hangs. It is linked into cmd/calhelper, which the host starts as the guest's root.
//
// Connections are redirected to this program, since who asks the kernel where one wanted to go has to hold it (nftables on
// Linux, pf on macOS). It leads them to the host over a line or, while there is none, through the guest's own SSH server, which
// is not told where they wanted to go: the host asks (wire.Origin).
//
// What must hold: when the conversation with the host ends, this side puts everything back as it was and ends too.
package catch
