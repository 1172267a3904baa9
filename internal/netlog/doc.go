// Package netlog keeps what a guest's way out was used for: a JSON line for every connection and every refusal.
//
// What must hold: what a log holds is bounded whatever a guest does (refusals that repeat, and floods, are counted instead
// of written one by one, and full files give way to new ones); text of the guest's is one line of printable characters; a
// line torn by a crash is skipped by readers.
package netlog
