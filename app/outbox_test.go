package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm"
)

// TestSyncOverALentConnection brings in over the connection of another process, and over one of its own when that ends in the
// middle.
func TestSyncOverALentConnection(t *testing.T) {
	a, d := demo(t)
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := a.Connect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	lending := make(chan error, 1)
	go func() {
		lending <- guest.Lend(ctx, a.lentSocket("demo"), func(context.Context) (*guest.Client, error) { return kept, nil }, "")
	}()
	var lent *guest.Client
	for lent == nil && t.Context().Err() == nil {
		lent = a.lent(t.Context(), "demo")
	}
	defer lent.Close()
	if !lent.Borrowed() || kept.Borrowed() {
		t.Error("it is not known whose connection it is")
	}
	put := func(name string, size int) {
		t.Helper()
		name = filepath.Join(d.Home("demo"), "output", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sync := func(want string, report vm.Progress) {
		t.Helper()
		r, err := a.syncOnce(t.Context(), w, report)
		if err != nil || len(r.Landed) != 1 || r.Landed[0].Name != want {
			t.Errorf("landed %+v, not %s: %v", r.Landed, want, err)
		}
	}
	put("one", 10)
	sync("one", nil)

	put("two", 600<<10)
	w.Outbox.RateLimit = 1 << 20
	ended := false
	sync("two", func(p vm.Phase) {
		if !ended && p.Done > 0 && p.Done < p.Total {
			ended = true
			end()
			_ = kept.Close()
			if err := <-lending; !errors.Is(err, context.Canceled) {
				t.Errorf("lending ended with %v", err)
			}
		}
	})
	if !ended {
		t.Error("it was over before the connection could end in the middle of it")
	}
	put("three", 10)
	sync("three", nil)

	// The connection this process keeps the workspace over, which ends as a session does.
	o, _, err := a.guestOptions("demo")
	if err != nil {
		t.Fatal(err)
	}
	link := guest.NewLink(o, func(bool, error) {})
	a.links.Store("demo", link)
	if _, err := link.Client(t.Context()); err != nil {
		t.Fatal(err)
	}
	put("four", 600<<10)
	ended = false
	sync("four", func(p vm.Phase) {
		if !ended && p.Done > 0 && p.Done < p.Total {
			ended = true
			a.links.Delete("demo")
			_ = link.Close()
		}
	})
	if !ended {
		t.Error("it was over before the connection could end in the middle of it")
	}
}

func TestOtherPass(t *testing.T) {
	const own, other = 1, 2
	event := func(kind journal.Kind, op, verb, phase string, pid int, done, total int64) journal.Event {
		e := journal.Event{Kind: kind, Workspace: "demo", Op: op, Verb: verb, Phase: phase, Done: done, Total: total}
		e.Process.PID = pid
		return e
	}
	events := []journal.Event{
		event(journal.OpBegin, "a", "start", "", other, 0, 0),
		event(journal.OpPhase, "a", "start", "booting", other, 7, 9),
		event(journal.OpBegin, "b", "sync", "", other, 0, 0),
		event(journal.OpPhase, "b", "sync", fetching, other, 10, 100),
		event(journal.OpBegin, "c", "sync", "", own, 0, 0),
		event(journal.OpPhase, "c", "sync", fetching, own, 50, 60),
		event(journal.OpPhase, "b", "sync", fetching, other, 20, 100),
		event(journal.OpPhase, "b", "sync", "running hooks", other, 0, 0),
		event(journal.OpEnd, "b", "sync", "", other, 0, 0),
	}
	for n, want := range map[int][2]int64{2: {0, 0}, 3: {0, 0}, 4: {10, 100}, 6: {10, 100}, 7: {20, 100}, 8: {20, 100}, 9: {0, 0}} {
		if done, total := otherPass(events[:n], "demo", own); done != want[0] || total != want[1] {
			t.Errorf("after %d events: %d of %d, want %v", n, done, total, want)
		}
	}
	if _, total := otherPass(events[:7], "another", own); total != 0 {
		t.Error("another workspace's pass is taken for this one's")
	}
}
