package app

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/snapshot"
)

func TestDiskUseAddsUp(t *testing.T) {
	a, d := demo(t)
	put(t, d, "big", strings.Repeat("x", 100_000))
	if _, err := a.TakeSnapshot(t.Context(), "demo", snapshot.Snapshot{Name: "one"}, nil); err != nil {
		t.Fatal(err)
	}
	u, err := a.DiskUse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Workspaces) != 1 || u.FreeBytes <= 0 || u.FreeBytes > u.SizeBytes {
		t.Fatalf("%+v", u)
	}
	w := u.Workspaces[0]
	if w.Name != "demo" || len(w.Snapshots) != 1 || w.Snapshots[0].FreesBytes < 100_000 ||
		w.SnapshotBytes != w.Snapshots[0].FreesBytes || w.Bytes < 200_000 || u.TotalBytes != w.Bytes {
		t.Errorf("%+v", w)
	}
	if w.Snapshots[0].Name != "one" || w.Snapshots[0].Kind != snapshot.Manual {
		t.Errorf("%+v", w.Snapshots[0])
	}
}

func TestTheDiskWarningFollowsTheConfiguration(t *testing.T) {
	for gib, warns := range map[string]bool{"0": false, "65536": true} {
		t.Setenv("CAL_SNAPSHOTS_WARN_FREE_GIB", gib)
		a, _ := open(t)
		u, err := a.DiskUse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := a.DiskWarning(); (got != "") != warns || (u.Warning != "") != warns {
			t.Errorf("below %s GiB: %q, %q", gib, got, u.Warning)
		}
		if _, tell := a.DiskWarningToTell(); tell != warns {
			t.Errorf("below %s GiB: tell %v", gib, tell)
		}
		if _, tell := a.DiskWarningToTell(); tell {
			t.Errorf("below %s GiB: told twice", gib)
		}
	}
}

const gib = int64(1) << 30

func TestWhenTheDiskIsWarnedOf(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// Each look is the free space in tenths of a GiB, a minute after the one before; the limit is 5 GiB. "w" is a warning,
	// "t" one that is told of, "p" one of what will be.
	for _, c := range []struct {
		name  string
		looks []int64
		want  string
	}{
		{"room enough", []int64{900, 899, 900, 898}, "...."},
		{"crosses once", []int64{51, 49, 48, 49}, ".tww"},
		{"hovers at the limit", []int64{51, 49, 51, 49, 54, 49}, ".twwww"},
		{"comes back", []int64{49, 56, 56, 49}, "t..t"},
		{"fills fast", []int64{1000, 900, 800, 700, 600}, "..Ppp"},
		{"fills, and stops", []int64{1000, 900, 800, 800, 800, 800, 800, 800, 800, 800, 800, 800, 800}, "..Pp........."},
		{"fills slowly", []int64{1000, 990, 980, 970}, "...."},
		{"is emptied", []int64{49, 500, 600}, "t.."},
	} {
		var w diskWatch
		got := ""
		for i, free := range c.looks {
			warning := w.look(start.Add(time.Duration(i)*time.Minute), free*gib/10, 5*gib)
			tell := w.tell()
			switch soon := strings.Contains(warning, "minutes"); {
			case warning == "":
				got += "."
			case soon && tell:
				got += "P"
			case soon:
				got += "p"
			case tell:
				got += "t"
			default:
				got += "w"
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAWarningIsToldOfOnceWhileItLasts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w diskWatch
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		lasts := false
		for range rapid.IntRange(1, 60).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.IntRange(-60, 600).Draw(t, "seconds")) * time.Second)
			warning := w.look(now, rapid.Int64Range(0, 20).Draw(t, "free")*gib, 5*gib)
			tell := w.tell()
			if tell && (warning == "" || lasts) || warning != "" && !lasts && !tell {
				t.Fatalf("warning %q, told before %v, tell %v", warning, lasts, tell)
			}
			lasts = warning != ""
			if len(w.samples) > diskSamples+1 {
				t.Fatalf("%d samples are kept", len(w.samples))
			}
		}
	})
}
