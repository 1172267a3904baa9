package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/nettest"
)

// mostMemory is what a pass may hold within the limits that an outbox has by default, whatever the guest has.
const mostMemory = 64 << 20 // bytes

// raced tells whether the race detector is in this program: it multiplies what memory that needs.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// grow puts so many files and links into the outbox: one of 50 is a link, one of ten holds something. It returns how many
// files there are.
func (b *outbox) grow(n int) (files int) {
	b.Helper()
	for i := range n {
		dir := filepath.Join(b.dir, fmt.Sprintf("d%d/e%d", i/20_000, i/200))
		if i%200 == 0 {
			b.must(os.MkdirAll(dir, 0o755))
		}
		name := filepath.Join(dir, fmt.Sprintf("f%d", i))
		if i%50 == 0 {
			b.must(os.Symlink("/", name))
			continue
		}
		var content []byte
		if i%10 == 1 {
			content = []byte(name)
		}
		b.must(os.WriteFile(name, content, 0o644))
		files++
	}
	return files
}

// pass has a process bring the outbox in.
func (c *crashes) pass() (o outcome) {
	c.Helper()
	cmd, out := c.start()
	if err := cmd.Wait(); err != nil {
		c.Fatalf("%v: %s", err, out)
	}
	c.must(json.Unmarshal(out.Bytes(), &o))
	return o
}

// TestATreeLargerThanItsLimits has a guest with far more files than are looked at, and then a host that takes them all.
func TestATreeLargerThanItsLimits(t *testing.T) {
	if os.Getenv("CAL_TEST_LONG") == "" {
		t.Skip("set CAL_TEST_LONG=1: tens of thousands of files land")
	}
	n := nettest.Count("CAL_TEST_OUTBOX_TREE", 50_000)
	c := newProcesses(t)
	files := c.grow(n)
	judge := func(what string, o outcome, most int64) {
		t.Helper()
		t.Logf("%s: %d landed, %d known, %d refused, at most %d MiB", what, o.Landed, o.Unchanged, len(o.Refused), o.Peak>>20)
		switch {
		case len(o.Refused) == 0 || len(o.Refused) > maxRefusals+1:
			t.Errorf("%d refusals", len(o.Refused))
		case slices.ContainsFunc(o.Refused, func(r Refusal) bool { return r.Reason == "" }):
			t.Error("a refusal without a reason")
		}
		if o.Peak > most && !raced() {
			t.Errorf("%d MiB of memory where %d are the most", o.Peak>>20, most>>20)
		}
	}
	more := func(o outcome) bool {
		return slices.ContainsFunc(o.Refused, func(r Refusal) bool { return strings.Contains(r.Reason, "has more than 20,000") })
	}
	first := c.pass()
	judge("by default", first, mostMemory)
	if first.Landed < 19_000 || first.Landed > 20_000 || first.Waiting != 0 || !more(first) {
		t.Errorf("%d have landed, %d wait, and that there are more is told: %v", first.Landed, first.Waiting, more(first))
	}
	second := c.pass()
	judge("by default, again", second, mostMemory)
	if second.Landed != 0 || second.Unchanged != first.Landed || !more(second) {
		t.Errorf("then %d, and %d are known", second.Landed, second.Unchanged)
	}

	c.v.MaxFiles = 2 * n
	third := c.pass()
	judge("all", third, 1<<62)
	if third.Landed != files-first.Landed || third.Unchanged != first.Landed {
		t.Errorf("%d have landed, and %d were known, of %d", third.Landed, third.Unchanged, files)
	}
	if bad, err := Verify(c.o); err != nil || len(bad) != 0 {
		t.Error(len(bad), err)
	}
	fourth := c.pass()
	judge("all, again", fourth, 1<<62)
	if fourth.Landed != 0 || fourth.Unchanged != files {
		t.Errorf("then %d, and %d are known", fourth.Landed, fourth.Unchanged)
	}

	// What is put into it is told.
	c.o.Limits.MaxFiles = 2 * n
	c.helper = true
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	landed, ended := make(chan string, 10), make(chan error, 1)
	go func() {
		ended <- Watch(ctx, c.transport(), c.o, func(r Report) {
			for _, a := range r.Landed {
				landed <- a.Name
			}
		}, nil)
	}()
	name := fmt.Sprintf("d%d/e%d/new", (n-1)/20_000, (n-1)/200)
	c.put(name, "new")
	select {
	case got := <-landed:
		if got != name {
			t.Errorf("%s has landed", got)
		}
	case err := <-ended:
		t.Fatal(err)
	}
	name += " later"
	start := time.Now()
	c.put(name, "later")
	if got := <-landed; got != name {
		t.Errorf("%s has landed", got)
	}
	t.Logf("put into a tree of %d, it was there after %v", n, time.Since(start))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
