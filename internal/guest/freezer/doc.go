// Package freezer freezes a Linux guest's root file system for the host (Client.BeginFreeze), as root, in one process that may
// have been started before: the guest's own fsfreeze is two more for each freeze, which in an emulated guest are most of the
// time it stands still.
//
// The host says one word a line, and is answered with one: the file systems are written out at the beginning and the answer to
// that is Ready; Freeze is answered with Frozen, Thaw or the end of the input with Thawed, or with Early if somebody else has
// thawed it.
//
// What must hold: while it is frozen nothing here writes to a disk. It does not stay frozen: a process of its own, which no
// death of the first takes along, thaws it when that one has ended or a limit is over.
package freezer

import "time"

// Verb is what the helper program is told to do for this.
const Verb = "freeze"

// The words.
const (
	Ready  = "ready"
	Freeze = "freeze"
	Frozen = "frozen"
	Thaw   = "thaw"
	Thawed = "thawed"
	Early  = "early"
)

// Limit is how long a guest stays frozen at most.
const Limit = 5 * time.Second
