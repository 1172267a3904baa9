package guest

import (
	"testing"
	"testing/synctest"
	"time"
)

// packets is a flood of a terminal's output: each read is a packet.
type packets struct{}

func (packets) Read(p []byte) (int, error) { return min(len(p), 4<<10), nil }

// rush is a file that comes as fast as this many bytes in a second.
type rush struct {
	rate  int
	begun time.Time
	read  int
}

func (r *rush) Read(p []byte) (int, error) {
	come := func() int { return int(time.Since(r.begun).Microseconds())*(r.rate/1e6) - r.read }
	for come() == 0 {
		time.Sleep(100 * time.Microsecond)
	}
	n := min(come(), len(p))
	r.read += n
	return n, nil
}

// TestARushDoesNotGather is behind what has come for less than a tenth of the time.
func TestARushDoesNotGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rush{rate: 200e6, begun: time.Now()}
		g := gatherer{r: r}
		b := make([]byte, readAhead)
		var waited time.Duration
		for time.Since(r.begun) < time.Second {
			before := time.Since(r.begun)
			last := r.read
			if _, err := g.Read(b); err != nil {
				t.Fatal(err)
			}
			// What comes in a tenth of a millisecond is what a read that does not wait brings.
			if took := time.Since(r.begun) - before; took > 100*time.Microsecond && r.read > last {
				waited += took
			}
		}
		if waited > time.Second/10 {
			t.Errorf("it waited %v of a second", waited)
		}
	})
}

func TestAFloodGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gatherer{r: packets{}}
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
	})
}
