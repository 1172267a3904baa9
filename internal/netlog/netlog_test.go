package netlog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel"
)

func all(t testing.TB, dir string) []Entry {
	t.Helper()
	var entries []Entry
	if err := Read(dir, "demo", func(e Entry) bool {
		entries = append(entries, e)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return entries
}

func refused(host string) tunnel.Connection {
	return tunnel.Connection{Time: time.Now(), Host: host, Port: 443, Reason: "is not on the allow list"}
}

func TestRefusalsOfOneKindAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := Open(dir, "demo")
		for range 1000 {
			if err := l.Add(refused("a.test")); err != nil {
				t.Fatal(err)
			}
		}
		if got := all(t, dir); len(got) != 1 || got[0].Times() != 1 {
			t.Errorf("at once: %+v", got)
		}
		time.Sleep(2 * gather)
		if got := all(t, dir); len(got) != 2 || got[1].Count != 999 || got[1].Host != "a.test" {
			t.Errorf("later: %+v", got)
		}
		if err := l.Add(refused("a.test")); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := all(t, dir); len(got) != 3 {
			t.Errorf("in the end: %+v", got)
		}
	})
}

func TestConnectionsAreWrittenOneByOne(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, "demo")
	for i := range 5 {
		if err := l.Add(tunnel.Connection{Host: "a.test", Port: 443, Allowed: true, BytesUp: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := all(t, dir); len(got) != 5 || got[4].BytesUp != 4 || got[4].Workspace != "demo" {
		t.Errorf("%+v", got)
	}
}

// TestAFloodFillsNoDisk has a guest make up names as fast as it can, and use allowed ones.
func TestAFloodFillsNoDisk(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, "demo")
	const n = 100_000
	for i := range n {
		if err := l.Add(refused(fmt.Sprintf("%d.test", i))); err != nil {
			t.Fatal(err)
		}
		if err := l.Add(tunnel.Connection{Host: "a.test", Port: 443, Allowed: true, BytesDown: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	entries := all(t, dir)
	times, down := 0, int64(0)
	for _, e := range entries {
		times += e.Times()
		down += e.BytesDown
	}
	if len(entries) > 20*perTime || times != 2*n || down != 3*n {
		t.Errorf("%d lines for %d connections of %d bytes", len(entries), times, down)
	}
}

func TestFullFilesGiveWay(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, "demo")
	for range 6 {
		if err := os.WriteFile(l.Path(), make([]byte, maxFile), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.write(Entry{Workspace: "demo", Connection: refused("a.test")}); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != keepOld {
		t.Errorf("there are %v", files)
	}
	if err := Remove(dir, "demo"); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 0 {
		t.Errorf("%v are left", files)
	}
}

func TestWhatIsNoLineIsSkipped(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, "demo")
	if err := os.WriteFile(l.Path(), []byte("{\"workspace\":\n\x00\n{}\n[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Add(refused("a.test")); err != nil {
		t.Fatal(err)
	}
	if got := all(t, dir); len(got) != 1 || got[0].Host != "a.test" {
		t.Errorf("%+v", got)
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, "demo")
	add := func(host string) {
		t.Helper()
		if err := l.write(Entry{Workspace: "demo", Connection: refused(host)}); err != nil {
			t.Fatal(err)
		}
	}
	add("before.test")
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan string, 8)
	done := make(chan error, 1)
	go func() { done <- Follow(ctx, dir, "demo", func(e Entry) { told <- e.Host }) }()
	seen := map[string]bool{}
	wait := func(host string) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for !seen[host] {
			select {
			case h := <-told:
				seen[h] = true
			case <-deadline:
				t.Fatalf("nothing of %s", host)
			case <-time.After(lookEvery):
				add(host)
			}
		}
	}
	wait("one.test")
	l.rotate()
	wait("two.test")
	cancel()
	if err := <-done; err != nil || seen["before.test"] {
		t.Errorf("%v, %v", err, seen)
	}
}

func TestTop(t *testing.T) {
	c := func(host string, allowed bool, down int64, count int) Entry {
		return Entry{Workspace: "demo", Connection: tunnel.Connection{Host: host, Allowed: allowed, BytesDown: down}, Count: count}
	}
	top := Top([]Entry{c("a", true, 1, 0), c("b", true, 9, 3), c("c", false, 0, 7), c("a", true, 1, 0), c("a", false, 0, 0)})
	var got []string
	for _, u := range top {
		got = append(got, fmt.Sprint(u.Host, u.Connections, u.Refused, u.BytesDown))
	}
	if want := []string{"b3 0 9", "a2 1 2", "c0 7 0"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"workspace":"demo","host":"a"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(file(dir, "demo"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		Top(all(t, dir))
	})
}
