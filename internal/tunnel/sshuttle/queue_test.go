package sshuttle

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestQueue reads what was pushed, however it was cut, and keeps no block when nothing waits.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var waits []byte
		next := byte(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			n := rapid.IntRange(0, 3*blockSize).Draw(t, "bytes")
			if rapid.Bool().Draw(t, "push") {
				b := make([]byte, n)
				for i := range b {
					b[i] = next
					next++
				}
				q.push(b)
				waits = append(waits, b...)
				continue
			}
			b := make([]byte, n)
			got := q.read(b)
			if want := min(n, len(waits)); got != want || !bytes.Equal(b[:got], waits[:want]) {
				t.Fatalf("read %d of %d bytes that wait, other ones or not as many as there are", got, len(waits))
			}
			waits = waits[got:]
			if q.size != len(waits) || len(waits) == 0 && len(q.blocks) > 0 {
				t.Fatalf("%d bytes wait, not %d, in %d blocks", q.size, len(waits), len(q.blocks))
			}
		}
		if left := q.clear(); left != len(waits) || len(q.blocks) > 0 || q.size > 0 {
			t.Fatalf("forgot %d bytes of %d", left, len(waits))
		}
	})
}
