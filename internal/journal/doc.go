// Package journal is the one truth many processes share: what happened and what is happening, as append-only events.
//
// The menu-bar agent, terminal sessions and command-line verbs are separate processes of one program. Each appends one
// JSON line per event with a single O_APPEND write, and each may read and follow the file. What must hold: an event once
// written is never changed; a line torn by a crash, or from a newer schema, is skipped and never stops a reader; events
// of a process that died are recognised as such by the reader (Event.Process), not by the writer.
package journal
