// Package tunnel is the guest's way out where it has none of its own: an HTTP proxy in this process, served on a
// listener in the guest (guest.Client.Listen), under a policy that denies by default.
//
// What must hold: nothing is resolved or dialled before the policy allowed its name, and only the very address that
// the policy judged is dialled. The guest is hostile: headers have a size and a time limit, connections a number, and
// nothing it does or leaves undone holds up another connection. Connections from the guest know no deadlines; whatever
// bounds their time closes them.
package tunnel
