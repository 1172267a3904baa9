package app

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/changes"
	"github.com/calmenu/calmenu/internal/snapshot"
)

// manyFiles makes 500 folders of 100 small files each, three larger ones, and two commits.
const manyFiles = `mkdir -p workspace/app/many
cd workspace/app
git init -q
git config user.name Keeper
git config user.email keeper@example.org
for n in 3 1 2; do head -c ${n}00000 /dev/zero >large-$n; done
echo one >file && git add file && git commit -q -m One
echo two >file && git commit -q -a -m Two
cd many
python3 -c '
import os
for d in range(500):
    os.mkdir("d%d" % d)
    for f in range(100):
        with open("d%d/f%d" % (d, f), "w") as x: x.write("x")
'
sudo -n touch /usr/local/tool
`

// TestPreviewInARealGuest has 50,000 files change in a real guest: all are counted, and the time is told.
func TestPreviewInARealGuest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	a := realGuest(t, ctx, "fay")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := a.TakeSnapshot(ctx, "fay", snapshot.Snapshot{Name: "before"}, nil)
	must(err)
	w, err := a.Workspace("fay")
	must(err)
	c, err := a.Connect(ctx, w)
	must(err)
	defer func() { _ = c.Close() }()
	res, err := c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-euc", manyFiles}})
	must(err)
	if res.Exit != 0 {
		t.Fatalf("making files: %s", res.Stderr)
	}
	// The first look puts the helper into the guest, and reads the tables from the disk. Files whose last bytes have not been
	// given a place on the disk are asked one by one for their size.
	var reports []changes.Report
	for _, x := range []struct {
		what string
		ask  changes.Guest
	}{{"by the helper, the first time", c}, {"by the helper", c}, {"by find", struct{ changes.Guest }{c}}, {"by the helper", c}} {
		began := time.Now()
		r, err := changes.Scan(ctx, x.ask, s.Created, changes.Limits{Timeout: 3 * time.Minute})
		must(err)
		t.Logf("%s: %v", x.what, time.Since(began).Round(time.Millisecond))
		if r.Incomplete || r.Yours.Files < 50_004 || r.Yours.Files > 50_030 || r.Yours.Folders < 501 || r.System.Files < 1 {
			t.Errorf("%s: %+v", x.what, r)
		}
		for i, want := range []string{"large-3", "large-2", "large-1"} {
			if r.Top[i].Path != "workspace/app/"+want || r.Top[i].Bytes != int64(3-i)*100_000 {
				t.Errorf("%s, the largest: %+v", x.what, r.Top)
			}
		}
		if len(r.Repos) != 1 || r.Repos[0].Path != "workspace/app" || r.Repos[0].Commits != 2 ||
			r.Repos[0].Newest[0].Subject != "Two" {
			t.Errorf("%s, repositories: %+v", x.what, r.Repos)
		}
		reports = append(reports, r)
	}
	// What runs in the guest by itself may write outside of the home, and find may not look everywhere there.
	for _, r := range reports[1:] {
		r.System, r.Caches = reports[0].System, reports[0].Caches
		if d := cmp.Diff(reports[0], r); d != "" {
			t.Errorf("the helper and find disagree:\n%s", d)
		}
	}
	began := time.Now()
	p, err := a.Preview(ctx, "fay", "before")
	must(err)
	if p.Changes == nil {
		t.Errorf("%+v", p)
	}
	t.Logf("with the connection: %v\n%s", time.Since(began).Round(time.Millisecond), strings.Join(p.Lines(100), "\n"))
}
