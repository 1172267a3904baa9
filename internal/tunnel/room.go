package tunnel

import (
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// room gives the garbage collector room while much is carried. x/crypto/ssh allocates every packet it reads, 32 KiB each:
// in a process whose live heap is a few MiB the collector would run for every hundred of them, and it and the sweeper
// behind it took a third of the processor's time for a gigabyte.
type room struct {
	bytes  atomic.Int64 // carried since it was looked at last
	raised atomic.Bool
	usual  int // the percentage to go back to; of who raised
}

const (
	roomAfter = 4 << 20         // bytes carried that make it worth it
	roomFor   = 2 * time.Second // and how long that holds
	roomBytes = 32 << 20        // what may be allocated between two collections
	roomMost  = 800             // percent of the live heap; the runtime's smallest heap grows with it
)

var carrying room

// carried notes that bytes were carried.
func (r *room) carried(n int) {
	if r.bytes.Add(int64(n)) < roomAfter || !r.raised.CompareAndSwap(false, true) {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := roomMost
	if live[0].Value.Kind() == metrics.KindUint64 {
		percent = int(min(roomMost, roomBytes*100/max(1, live[0].Value.Uint64())))
	}
	if r.usual = debug.SetGCPercent(percent); r.usual < 0 || r.usual > percent {
		debug.SetGCPercent(r.usual) // somebody has given it more
	}
	r.bytes.Store(0)
	time.AfterFunc(roomFor, r.look)
}

// look takes the room back when little is carried any more.
func (r *room) look() {
	if r.bytes.Swap(0) >= roomAfter {
		time.AfterFunc(roomFor, r.look)
		return
	}
	debug.SetGCPercent(r.usual)
	r.raised.Store(false)
}
