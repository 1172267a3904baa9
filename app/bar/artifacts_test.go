package bar

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/config"
	outbox "github.com/calmenu/calmenu/internal/sync"
)

// TestOneNotificationPerBurst lands artifacts at some times and looks at when is told of how many.
func TestOneNotificationPerBurst(t *testing.T) {
	const ms = time.Millisecond
	for what, c := range map[string]struct {
		at   []time.Duration
		want string
	}{
		"one":                       {[]time.Duration{0}, "0.3s:1"},
		"a burst":                   {[]time.Duration{0, 100 * ms, 200 * ms, 450 * ms}, "0.8s:4"},
		"a burst without end":       {every(110*ms, 30), "2.0s:19 17.0s:11"},
		"one every three seconds":   {every(3*time.Second, 6), "0.3s:1 15.3s:5"},
		"two, far apart":            {[]time.Duration{0, time.Minute}, "0.3s:1 60.3s:1"},
		"one right after the other": {[]time.Duration{0, 500 * ms}, "0.3s:1 15.3s:1"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				var told record
				b := bursts{tell: func(_ *config.Workspace, r outbox.Report) {
					told.add(fmt.Sprintf("%.1fs:%d", time.Since(begun).Seconds(), len(r.Landed)))
				}}
				w := &config.Workspace{Name: "demo"}
				for _, at := range c.at {
					time.Sleep(time.Until(begun.Add(at)))
					b.add(w, outbox.Report{Landed: make([]outbox.Artifact, 1)})
				}
				time.Sleep(time.Hour)
				if got := strings.Join(told.all(), " "); got != c.want {
					t.Errorf("told %s, want %s", got, c.want)
				}
			})
		})
	}
}

// record keeps what timers tell, each in a goroutine of its own.
type record struct {
	mu   sync.Mutex // guards told
	told []string
}

func (r *record) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, s)
}

func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told
}

func every(d time.Duration, n int) []time.Duration {
	at := make([]time.Duration, n)
	for i := range at {
		at[i] = time.Duration(i) * d
	}
	return at
}

// TestBurstsOfWorkspacesAreTheirOwn tells of each workspace by itself.
func TestBurstsOfWorkspacesAreTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told record
		b := bursts{tell: func(w *config.Workspace, r outbox.Report) {
			told.add(fmt.Sprint(w.Name, len(r.Landed), len(r.Refused)))
		}}
		b.add(&config.Workspace{Name: "a"}, outbox.Report{Landed: make([]outbox.Artifact, 2)})
		time.Sleep(burstQuiet / 2)
		b.add(&config.Workspace{Name: "b"}, outbox.Report{Refused: make([]outbox.Refusal, 1)})
		time.Sleep(time.Hour)
		if d := cmp.Diff([]string{"a2 0", "b0 1"}, told.all()); d != "" {
			t.Error(d)
		}
	})
}

func TestLandedText(t *testing.T) {
	many := outbox.Report{Bytes: 5e6}
	for i := range 5 {
		many.Landed = append(many.Landed, outbox.Artifact{Path: fmt.Sprintf("/out/f%d", i)})
	}
	odd := outbox.Report{Bytes: 12, Landed: []outbox.Artifact{
		{Path: "/out/run.sh", Warnings: []string{"is a script"}},
		{Path: "/out/a.zip", Warnings: []string{"holds x.command, which runs in Terminal when it is opened", "and more"}},
		{Path: "/out/c.jar", Warnings: []string{"is a Java program, which opening runs"}},
	}}
	for _, c := range []struct {
		r          outbox.Report
		what, want string
	}{
		{outbox.Report{Bytes: 1200, Landed: []outbox.Artifact{{Path: "/out/dir/report.txt"}}}, "Artifact", "report.txt (1.2 kB)"},
		{many, "Artifacts", "f0, f1, f2 and 2 more, 5.0 MB in all"},
		{odd, "Artifacts", "run.sh, a.zip, c.jar, 12 B in all\nCareful: run.sh is a script; a.zip holds x.command, which runs in Terminal when " +
			"it is opened; and 1 more"},
	} {
		if what, got := landedText(c.r); what != c.what || got != c.want {
			t.Errorf("%s: %q, want %s: %q", what, got, c.what, c.want)
		}
	}
}
