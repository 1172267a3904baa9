package app

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	outbox "github.com/calmenu/calmenu/internal/sync"
)

// TestHooksRunInOrder has artifacts land while hooks run, and looks that none is run twice, at the same time as another, or
// left out.
func TestHooksRunInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran []string
		at := 0
		q := hookQueue{}
		q.run = func(landed []outbox.Artifact) {
			if at++; at != 1 {
				t.Error("two at a time")
			}
			for _, a := range landed {
				time.Sleep(time.Second)
				ran = append(ran, a.Name)
			}
			at--
		}
		q.add(nil)
		for _, names := range [][]string{{"a", "b"}, {"c"}, {}, {"d", "e"}} {
			var landed []outbox.Artifact
			for _, n := range names {
				landed = append(landed, outbox.Artifact{Name: n})
			}
			q.add(landed)
			time.Sleep(1500 * time.Millisecond)
		}
		q.wait()
		q.add([]outbox.Artifact{{Name: "f"}})
		q.wait()
		if d := cmp.Diff([]string{"a", "b", "c", "d", "e", "f"}, ran); d != "" {
			t.Error(d)
		}
	})
}
