// Package heap says how much garbage may gather before it is collected. The runtime's measure, a percentage of what is live, is
// one for the whole process; what is known of the work at hand is brought together here.
package heap

import (
	"runtime/debug"
	"sync"
)

// early is how many percent may be added while a bulk of objects comes and goes.
const early = 40

// governor knows who wants what. Being frugal goes before having room.
type governor struct {
	mu     sync.Mutex // guards all below
	usual  int        // the percentage when nobody wants anything
	frugal int        // how many want garbage collected early
	room   int        // percentage that who carries much has; 0: nobody does
}

var process governor

// Frugal has garbage collected early until done is called: a bulk of objects leaves much behind in a short time.
func Frugal() (done func()) { return process.beFrugal() }

func (g *governor) beFrugal() (done func()) {
	g.change(func() { g.frugal++ })
	return func() { g.change(func() { g.frugal-- }) }
}

// change sets the percentage after what is wanted has changed.
func (g *governor) change(what func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frugal == 0 && g.room == 0 {
		g.usual = debug.SetGCPercent(early)
	}
	what()
	percent := g.usual
	switch {
	case g.frugal > 0:
		percent = early
	case g.usual >= 0 && g.usual < g.room: // otherwise somebody has given it more
		percent = g.room
	}
	debug.SetGCPercent(percent)
}
