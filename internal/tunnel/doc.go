// Package tunnel is the guest's way out where it has none of its own: a Gate in this process, under a policy that denies by
// default, and a proxy, HTTP and SOCKS5, served on a listener in the guest (guest.Client.Listen). Below it are sshuttle's
// server, the carrier that leads to all of these over SSH, and the guest's side of it.
//
// What must hold: nothing is resolved or dialled before the policy allowed its name, and only the very address that
// the policy judged is dialled. The guest is hostile: headers have a size and a time limit, connections a number, and
// nothing it does or leaves undone holds up another connection. Connections from the guest know no deadlines; whatever
// bounds their time closes them.
package tunnel
