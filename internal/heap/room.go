package heap

import (
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// carrier gives the garbage collector room while much is carried. x/crypto/ssh allocates every packet it reads, 32 KiB each:
// in a process whose live heap is a few MiB the collector would run for every hundred of them, and it and the sweeper
// behind it took a third of the processor's time for a gigabyte.
type carrier struct {
	governor *governor
	bytes    atomic.Int64 // carried since it was looked at last
	raised   atomic.Bool
}

const (
	roomAfter = 4 << 20         // bytes carried that make it worth it
	roomFor   = 2 * time.Second // and how long that holds
	roomBytes = 12 << 20        // what may be allocated between two collections
	leastHeap = 4 << 20         // what may be at a percentage of 100, however little is live (package runtime)
)

var carrying = carrier{governor: &process}

// Carried notes that bytes of one of many large packets were carried, each of which is garbage then.
func Carried(n int) { carrying.carried(n) }

func (c *carrier) carried(n int) {
	if c.bytes.Add(int64(n)) < roomAfter || !c.raised.CompareAndSwap(false, true) {
		return
	}
	c.governor.change(func() { c.governor.room = roomPercent() })
	c.bytes.Store(0)
	time.AfterFunc(roomFor, c.look)
}

// roomPercent is the percentage that comes to roomBytes: of what is live, and of what has to be scanned besides.
func roomPercent() int {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/globals:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	metrics.Read(samples)
	base := uint64(0)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			base += s.Value.Uint64()
		}
	}
	return int(roomBytes * 100 / max(leastHeap, base))
}

// look takes the room back when little is carried any more.
func (c *carrier) look() {
	if c.bytes.Swap(0) >= roomAfter {
		time.AfterFunc(roomFor, c.look)
		return
	}
	c.governor.change(func() { c.governor.room = 0 })
	c.raised.Store(false)
}
