// Package catch is the guest's side of transparent mode: it has the guest's kernel, or stock sshuttle, lead every TCP
// connection and every question for a name to the host, and refuses what cannot be led there at once, so that nothing
// hangs. It is linked into cmd/calhelper, which the host starts as the guest's root.
//
// Connections are redirected straight to the port on which the guest's own SSH server forwards to the host: bytes pass no
// program of ours in the guest. Where a connection wanted to go is not among them, so the host asks (wire.Origin), and
// the kernel's table of redirected connections knows. SO_ORIGINAL_DST, the usual way, would need the bytes to pass here.
//
// What must hold: when the conversation with the host ends, this side puts everything back as it was and ends too.
package catch
