// Package sync is the outbox: what the guest puts into its ~/output lands on the host, fast, whole and safe. (Imported
// as outbox; the name is that of the room.)
//
// A pass is a pipeline: scan the guest, plan, fetch, scan again to verify, land, record, report. The plan is a pure
// function of two listings; input and output stay at the edges.
//
// What must hold here:
//   - The guest is hostile. Nothing of it is followed, executed or renamed on the host; it hands out bytes, and every
//     byte, name and wait has a limit. One refused file never keeps back the others.
//   - The host's side is reached through directory handles (os.Root) and never through a link, be it the host's own.
//   - A file lands whole or not at all: it is received beside, checked against two listings that agree, and renamed
//     to its name. What had that name before is kept among the versions, never overwritten in place.
//   - What is recorded has landed. A process killed at any instant leaves nothing that the next pass does not finish.
package sync
