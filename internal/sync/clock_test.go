package sync

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const day = 24 * time.Hour

// turns are what a host's clock is wrong by, one after the other.
var turns = []time.Duration{0, 30 * day, -9 * day, -50 * 365 * day, 2 * day, 0, 80 * 365 * day, -time.Hour, 0}

// TestAHostsClockIsTurned turns the host's clock between passes and in the midst of them. Everything lands once, in its
// order; and no version is old for a turn of the clock.
func TestAHostsClockIsTurned(t *testing.T) { overEach(t, testAHostsClockIsTurned) }

func testAHostsClockIsTurned(t *testing.T, b *outbox) {
	var off atomic.Int64
	turn := func(d time.Duration) { off.Store(int64(d)) }
	b.o.Now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
	b.o.KeepVersions = -1
	for i, d := range turns {
		turn(d)
		b.guest.before = func(string) { turn(turns[(i+4)%len(turns)]) } // when the pass has begun
		b.put("a", strings.Repeat("a", i+1))
		b.put(fmt.Sprint("b", i), "b")
		if r := b.once(); len(r.Landed) != 2 || r.Waiting != 0 || len(r.Refused) != 0 {
			t.Fatalf("pass %d: %+v", i, r)
		}
		b.guest.before = nil
		turn(-d)
		if r := b.once(); len(r.Landed) != 0 || r.Unchanged != i+2 {
			t.Fatalf("after pass %d: %+v", i, r)
		}
	}
	all, err := ReadManifest(b.o.State)
	b.must(err)
	version := len(turns)
	for _, a := range all {
		if a.Name == "a" {
			if a.Version != version {
				t.Errorf("version %d where %d is the next older one", a.Version, version)
			}
			version--
		}
	}
	if version != 0 || len(all) != 2*len(turns) {
		t.Errorf("recorded: %d, without %d versions", len(all), version)
	}
	prune := func(d time.Duration) int {
		turn(d)
		gone, err := Prune(t.Context(), b.o, PruneOptions{Keep: -1, OlderThan: 7 * day})
		b.must(err)
		return len(gone)
	}
	for _, d := range turns {
		if n := prune(d); n != 0 {
			t.Errorf("%v off: %d versions are gone", d, n)
		}
	}
	if bad, err := Verify(b.o); err != nil || len(bad) != 0 {
		t.Error(bad, err)
	}
	// The host has booted since, and ten days have passed: what seemed to land in years to come is kept until then.
	name := filepath.Join(b.o.State, manifestName)
	text, err := os.ReadFile(name)
	b.must(err)
	b.must(os.WriteFile(name, bytes.ReplaceAll(text, []byte(bootID()), []byte("another")), 0o600))
	if n := prune(10 * day); n != 6 {
		t.Errorf("ten days later %d versions are gone, want all 8 but 2", n)
	}
}
