package guest

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// packets is a flood of a terminal's output: each read is a packet.
type packets struct{}

func (packets) Read(p []byte) (int, error) { return min(len(p), 4<<10), nil }

func TestATerminalsFloodGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		terminals := &atomic.Int32{}
		terminals.Add(1)
		g := gatherer{r: packets{}, terminals: terminals}
		b := make([]byte, 32<<10)
		took := func() time.Duration {
			begun := time.Now()
			if _, err := g.Read(b); err != nil {
				t.Fatal(err)
			}
			return time.Since(begun)
		}
		for read := 0; read < floodBytes; read += 4 << 10 {
			if d := took(); d != 0 {
				t.Fatalf("after %d bytes, which are no flood yet, a read took %v", read, d)
			}
		}
		if d := took(); d != gatherTime {
			t.Errorf("in a flood a read took %v, not %v", d, gatherTime)
		}
		time.Sleep(gatherTime / 4)
		if d := took(); d != gatherTime*3/4 {
			t.Errorf("after some work a read took %v, not %v", d, gatherTime*3/4)
		}
		time.Sleep(gatherTime)
		if d := took(); d != 0 {
			t.Errorf("after as much work a read took %v", d)
		}
		for range 20 { // keys of a fast typist
			time.Sleep(20 * time.Millisecond)
			if d := took(); d != 0 {
				t.Errorf("a key after the flood took %v", d)
			}
		}
		terminals.Add(-1)
		for range 2 * floodBytes / (4 << 10) {
			if d := took(); d != 0 {
				t.Fatalf("without a terminal a read took %v", d)
			}
		}
	})
}
