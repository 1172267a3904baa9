// Package guest holds one authenticated SSH connection per running VM, and everything CALMenu does over it: commands,
// terminals, forwards, files, freezing, the clock, power off.
//
// What must hold: the guest is hostile. Nothing is sent before its host key matched the pinned one; every read has a
// size limit; every wait ends with its context or with the connection; a connection that stopped answering is closed,
// and every call on it then fails at once. Commands are argument vectors; Quote is the only place that writes for a
// guest's shell.
package guest
