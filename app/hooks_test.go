package app

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/config"
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

// TestHooksForNothing: what no hook is for makes nobody wait for hooks.
func TestHooksForNothing(t *testing.T) {
	landed := []outbox.Artifact{{Name: "notes.txt"}, {Name: "dir/Demo.ipa"}}
	zip, ipa, all := config.Hook{Match: []string{"*.zip"}}, config.Hook{Match: []string{"*.ipa"}}, config.Hook{}
	for _, tt := range []struct {
		hooks  []config.Hook
		landed []outbox.Artifact
		want   bool
	}{
		{nil, landed, false},
		{[]config.Hook{zip}, landed, false},
		{[]config.Hook{zip, ipa}, landed, true},
		{[]config.Hook{all}, landed, true},
		{[]config.Hook{all}, nil, false},
	} {
		if got := anyRuns(tt.hooks, tt.landed); got != tt.want {
			t.Errorf("%v on %d artifacts: %v", tt.hooks, len(tt.landed), got)
		}
	}
}
