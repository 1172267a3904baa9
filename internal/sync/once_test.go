package sync

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"
)

func TestOnceLandsWhatIsNew(t *testing.T) { overEach(t, testOnceLandsWhatIsNew) }

func testOnceLandsWhatIsNew(t *testing.T, b *outbox) {
	b.put("report.txt", "hello\n")
	b.put("site/css/main.css", "body {}\n")
	b.put("empty", "")
	stamp := time.Date(2025, 3, 4, 5, 6, 7, 89_000_000, time.UTC)
	b.must(os.Chtimes(filepath.Join(b.dir, "report.txt"), stamp, stamp))
	b.must(os.Mkdir(filepath.Join(b.dir, "nothing-in-it"), 0o755))

	r := b.once()
	if d := cmp.Diff([]string{"empty", "report.txt", "site/css/main.css"}, landed(r)); d != "" {
		t.Fatalf("landed (-want +got):\n%s", d)
	}
	want := []string{"empty", "report.txt", "site/", "site/css/", "site/css/main.css"}
	if d := cmp.Diff(want, b.tree()); d != "" {
		t.Errorf("on the host (-want +got):\n%s", d)
	}
	sum := sha256.Sum256([]byte("hello\n"))
	a := r.Landed[1]
	if a.LandedAt.IsZero() {
		t.Error("no time of landing")
	}
	a.LandedAt = time.Time{}
	if d := cmp.Diff(Artifact{
		Name: "report.txt", Path: filepath.Join(b.o.Dest, "report.txt"), SHA256: hex.EncodeToString(sum[:]), Size: 6,
		Mode: 0o644, ModTime: stamp, Workspace: "demo", Agent: "claude", Version: 1,
	}, a); d != "" {
		t.Errorf("artifact (-want +got):\n%s", d)
	}
	info, err := os.Stat(a.Path)
	b.must(err)
	if !info.ModTime().Equal(stamp) {
		t.Errorf("modified at %v, want %v", info.ModTime(), stamp)
	}
	if r.Bytes != 14 || len(r.Refused) != 0 || r.Unchanged != 0 || r.Waiting != 0 {
		t.Errorf("report: %+v", r)
	}
}

func TestNothingIsSentTwice(t *testing.T) {
	b := newOutbox(t)
	for _, n := range []string{"a", "b/c", "b/d.app/x"} {
		b.put(n, n)
	}
	b.once()
	b.guest.before = func(program string) {
		if program != "find" {
			t.Errorf("an unchanged outbox costs a %s", program)
		}
	}
	if r := b.once(); len(r.Landed) != 0 || r.Unchanged != 3 {
		t.Errorf("second pass: %+v", r)
	}
	// What its owner takes away on the host is not forced upon him again.
	b.must(os.Remove(filepath.Join(b.o.Dest, "a")))
	if r := b.once(); len(r.Landed) != 0 || r.Unchanged != 3 {
		t.Errorf("third pass: %+v", r)
	}
}

func TestSameContentAgainIsNoVersion(t *testing.T) { overEach(t, testSameContentAgainIsNoVersion) }

func testSameContentAgainIsNoVersion(t *testing.T, b *outbox) {
	b.put("a", "one")
	b.once()
	b.must(os.Remove(filepath.Join(b.dir, "a")))
	b.put("a", "one")
	if r := b.once(); len(r.Landed) != 0 || r.Unchanged != 1 {
		t.Errorf("report: %+v", r)
	}
	if d := cmp.Diff([]string{"a"}, b.tree()); d != "" {
		t.Error(d)
	}
}

func TestEarlierVersionsAreKept(t *testing.T) { overEach(t, testEarlierVersionsAreKept) }

func testEarlierVersionsAreKept(t *testing.T, b *outbox) {
	b.o.KeepVersions = 2
	for i, content := range []string{"one", "two", "three", "four"} {
		b.put("dir.3/a.txt", content)
		r := b.once()
		if len(r.Landed) != 1 || r.Landed[0].Version != i+1 {
			t.Fatalf("%s: %+v", content, r)
		}
	}
	want := []string{
		".versions/", ".versions/dir.3.dir/", ".versions/dir.3.dir/a.txt.2", ".versions/dir.3.dir/a.txt.3",
		"dir.3/", "dir.3/a.txt",
	}
	if d := cmp.Diff(want, b.tree()); d != "" {
		t.Errorf("on the host (-want +got):\n%s", d)
	}
	if got := b.have(want[3]) + b.have("dir.3/a.txt"); got != "threefour" {
		t.Errorf("version 3 and the current one: %q", got)
	}
	// Deleted in the guest: nothing happens on the host.
	b.must(os.RemoveAll(b.dir))
	b.once()
	if d := cmp.Diff(want, b.tree()); d != "" {
		t.Errorf("after deletion in the guest (-want +got):\n%s", d)
	}
}

func TestWhatTheOwnerPutThereIsKept(t *testing.T) { overEach(t, testWhatTheOwnerPutThereIsKept) }

func testWhatTheOwnerPutThereIsKept(t *testing.T, b *outbox) {
	b.must(os.MkdirAll(filepath.Join(b.o.Dest, "d"), 0o755))
	b.must(os.WriteFile(filepath.Join(b.o.Dest, "a"), []byte("mine"), 0o644))
	b.must(os.WriteFile(filepath.Join(b.o.Dest, "d", "x"), []byte("mine too"), 0o644))
	b.put("a", "guest's")
	b.put("d", "a file where the host has a directory")
	b.once()
	if got := b.have(".versions/a.1") + "|" + b.have("a"); got != "mine|guest's" {
		t.Error(got)
	}
	if got := b.have(".versions/d.1/x"); got != "mine too" {
		t.Error(got)
	}
	// And the other way around: a directory where a file has landed.
	b.must(os.Remove(filepath.Join(b.dir, "a")))
	b.put("a/b", "below")
	b.once()
	if got := b.have("a/b") + "|" + b.have(".versions/a.1") + "|" + b.have(".versions/a.2"); got != "below|mine|guest's" {
		t.Error(got)
	}
}

func TestBundlesLandAsOne(t *testing.T) { overEach(t, testBundlesLandAsOne) }

func testBundlesLandAsOne(t *testing.T, b *outbox) {
	b.put("build/My.app/Contents/Info.plist", "<plist/>")
	b.put("build/My.app/Contents/MacOS/My", "binary")
	b.must(os.Mkdir(filepath.Join(b.dir, "build/My.app/Contents/Empty"), 0o755))
	r := b.once()
	if d := cmp.Diff([]string{"build/My.app"}, landed(r)); d != "" {
		t.Fatal(d)
	}
	if a := r.Landed[0]; !a.Bundle || a.Size != 14 || a.Version != 1 || len(a.SHA256) != 64 {
		t.Errorf("%+v", a)
	}
	b.put("build/My.app/Contents/MacOS/My", "changed")
	if r := b.once(); len(r.Landed) != 1 || r.Landed[0].Version != 2 {
		t.Errorf("%+v", r)
	}
	old, current := b.have(".versions/build/My.app.1/Contents/MacOS/My"), b.have("build/My.app/Contents/MacOS/My")
	if old != "binary" || current != "changed" {
		t.Error(b.tree())
	}
	if _, err := os.Stat(filepath.Join(b.o.Dest, "build/My.app/Contents/Empty")); err != nil {
		t.Error(err)
	}
	// One bad member keeps the whole bundle back, and names itself.
	b.must(os.Symlink("/etc/passwd", filepath.Join(b.dir, "build/My.app/Contents/link")))
	b.put("other", "lands")
	r = b.once()
	want := []Refusal{{"build/My.app", "holds build/My.app/Contents/link: is a symbolic link that leaves the bundle"}}
	if d := cmp.Diff(want, r.Refused); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"other"}, landed(r)); d != "" {
		t.Error(d)
	}
}

func TestModes(t *testing.T) { overEach(t, testModes) }

func testModes(t *testing.T, b *outbox) {
	b.put("tool", "#!/bin/sh\n")
	b.put("secret", "x")
	b.must(os.Chmod(filepath.Join(b.dir, "tool"), 0o777|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	b.must(os.Chmod(filepath.Join(b.dir, "secret"), 0o600))
	mode := func(name string) os.FileMode {
		info, err := os.Stat(filepath.Join(b.o.Dest, name))
		b.must(err)
		return info.Mode()
	}
	b.once()
	if runtime.GOOS != "darwin" && mode("tool") != 0o644 {
		t.Errorf("tool: %v", mode("tool"))
	}
	if mode("secret") != 0o644 {
		t.Errorf("secret: %v", mode("secret"))
	}
	b.o.Executable = true
	b.must(os.Chmod(filepath.Join(b.dir, "tool"), 0o700))
	b.once()
	if mode("tool") != 0o755 {
		t.Errorf("tool, executable: %v", mode("tool"))
	}
}

func TestAFileStillOpenWaits(t *testing.T) { overEach(t, testAFileStillOpenWaits) }

func testAFileStillOpenWaits(t *testing.T, b *outbox) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("no /proc on this machine")
	}
	f, err := os.Create(filepath.Join(b.dir, "growing"))
	b.must(err)
	_, err = f.WriteString("half")
	b.must(err)
	b.put("whole", "whole")
	r := b.once()
	if r.Waiting != 1 || len(r.Landed) != 1 || b.have("growing") != "" {
		t.Errorf("while open: %+v", r)
	}
	_, err = f.WriteString(", and the rest")
	b.must(err)
	b.must(f.Close())
	if r := b.once(); r.Waiting != 0 || b.have("growing") != "half, and the rest" {
		t.Errorf("when closed: %+v", r)
	}
}

func TestExcluded(t *testing.T) { overEach(t, testExcluded) }

func testExcluded(t *testing.T, b *outbox) {
	b.o.Exclude = []string{"node_modules", "*.tmp", "logs/*"}
	for _, n := range []string{"a", "a.tmp", "x/node_modules/b", "logs/c", "x/logs/d"} {
		b.put(n, n)
	}
	r := b.once()
	if d := cmp.Diff([]string{"a", "x/logs/d"}, landed(r)); d != "" || len(r.Refused) != 0 {
		t.Errorf("%s %v", d, r.Refused)
	}
	b.o.Exclude = []string{"["}
	if _, err := OverTar(b.guest, b.o); err == nil {
		t.Error("a bad pattern is accepted")
	}
}

func TestVerify(t *testing.T) {
	b := newOutbox(t)
	for _, n := range []string{"changed", "gone", "same", "B.app/x"} {
		b.put(n, n)
	}
	b.once()
	if bad, err := Verify(b.o); err != nil || len(bad) != 0 {
		t.Fatal(bad, err)
	}
	b.must(os.WriteFile(filepath.Join(b.o.Dest, "changed"), []byte("CHANGED"), 0o644))
	b.must(os.Remove(filepath.Join(b.o.Dest, "gone")))
	b.must(os.WriteFile(filepath.Join(b.o.Dest, "B.app", "more"), nil, 0o644))
	for _, n := range []string{"stranger", "dir/stranger"} {
		b.must(os.MkdirAll(filepath.Dir(filepath.Join(b.o.Dest, n)), 0o755))
		b.must(os.WriteFile(filepath.Join(b.o.Dest, n), nil, 0o644))
	}
	bad, err := Verify(b.o)
	b.must(err)
	if d := cmp.Diff([]Mismatch{
		{"B.app", Altered, "has other content than what landed"},
		{"changed", Altered, "has other content than what landed"},
		{"dir", Extra, "did not land: something else put it there"},
		{"gone", Missing, "is not there any more"},
		{"stranger", Extra, "did not land: something else put it there"},
	}, bad); d != "" {
		t.Error(d)
	}
}

func TestProgress(t *testing.T) { overEach(t, testProgress) }

func testProgress(t *testing.T, b *outbox) {
	b.put("a", strings.Repeat("a", 1<<20))
	b.put("b", "b")
	var last Progress
	_, err := Once(t.Context(), b.transport(), b.o, func(p Progress) {
		if p.Bytes < last.Bytes || p.Files < last.Files {
			t.Errorf("from %+v to %+v", last, p)
		}
		last = p
	})
	b.must(err)
	last.Name, last.Elapsed, last.Rate, last.Left = "", 0, 0, 0 // any of the two comes last, some time
	if want := (Progress{Files: 2, TotalFiles: 2, Bytes: 1<<20 + 1, TotalBytes: 1<<20 + 1, Over: true}); last != want {
		t.Errorf("at the end %+v, want %+v", last, want)
	}
}

// TestAnotherPassIsWaitedFor tells that a pass waits for another one, which has the lock, and then makes it.
func TestAnotherPassIsWaitedFor(t *testing.T) {
	b := newOutbox(t)
	b.put("a", "a")
	if err := os.MkdirAll(b.o.State, 0o700); err != nil {
		t.Fatal(err)
	}
	other := flock.New(filepath.Join(b.o.State, "lock"))
	if ok, err := other.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	waited := 0
	r, err := Once(t.Context(), b.transport(), b.o, func(p Progress) {
		if p.Waiting {
			waited++
			if err := other.Unlock(); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || len(r.Landed) != 1 || waited != 1 {
		t.Errorf("it waited %d times, and %d have landed: %v", waited, len(r.Landed), err)
	}
}

func TestQuotas(t *testing.T) { overEach(t, testQuotas) }

func testQuotas(t *testing.T, b *outbox) {
	b.o.Limits = Limits{MaxFile: 100, MaxTotal: 250, MaxFiles: 6}
	for i := range 4 {
		b.put(fmt.Sprint(i), strings.Repeat("x", 90))
	}
	b.put("small", "x")
	r := b.once()
	if d := cmp.Diff([]string{"0", "1", "small"}, landed(r)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]Refusal{
		{"2", "would make more than the 250 B that are kept in all"},
		{"3", "would make more than the 250 B that are kept in all"},
	}, r.Refused); d != "" {
		t.Error(d)
	}
	// What the owner takes away makes room.
	b.must(os.Remove(filepath.Join(b.o.Dest, "0")))
	if d := cmp.Diff([]string{"2"}, landed(b.once())); d != "" {
		t.Error(d)
	}
	b.must(os.RemoveAll(b.dir))
	for i := range 10 {
		b.put(fmt.Sprintf("n%d", i), "")
	}
	r = b.once()
	if len(r.Landed) != 3 || len(r.Refused) != 4 { // three are there, six entries are looked at
		t.Errorf("%d landed, refused %v", len(r.Landed), r.Refused)
	}
}

// TestRateLimit runs on the time of the test: what is limited takes its time, and says how long that will be.
func TestRateLimit(t *testing.T) {
	b := newOutbox(t)
	b.helper = true
	b.o.RateLimit = 2 << 20
	b.put("a", strings.Repeat("a", 3<<20))
	var all []Progress
	start := time.Now()
	_, err := Once(t.Context(), b.transport(), b.o, func(p Progress) { all = append(all, p) })
	b.must(err)
	if took := time.Since(start); took < time.Second {
		t.Errorf("3 MiB at 2 MiB a second took %v", took)
	}
	if last := all[len(all)-1]; !last.Over || last.Bytes != 3<<20 || last.Elapsed < time.Second {
		t.Errorf("at the end: %+v", last)
	}
	if middle := all[len(all)/2]; middle.Rate <= 0 || !strings.Contains(middle.String(), "left") {
		t.Errorf("in the middle: %+v: %s", middle, middle)
	}
}
