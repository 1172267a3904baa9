package sync

import (
	"runtime/debug"
	gosync "sync"
)

// frugal counts what asks for memory to be collected early: a bulk of files leaves much behind in a short time.
var frugal struct {
	gosync.Mutex
	passes int
	before int // percent of the live memory that may be added before the next collection, as it was
}

// earlyGC is how many percent may be added while a bulk of files comes in.
const earlyGC = 40

// beFrugal has memory collected early until done is called.
func beFrugal() (done func()) {
	frugal.Lock()
	defer frugal.Unlock()
	if frugal.passes++; frugal.passes == 1 {
		frugal.before = debug.SetGCPercent(earlyGC)
	}
	return func() {
		frugal.Lock()
		defer frugal.Unlock()
		if frugal.passes--; frugal.passes == 0 {
			debug.SetGCPercent(frugal.before)
		}
	}
}
