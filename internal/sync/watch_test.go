package sync

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
)

// watched is a Watch under way.
type watched struct {
	*outbox
	reports chan Report
}

// startWatch returns when the first pass of a watch has landed a file put there before.
func startWatch(b *outbox) *watched {
	b.Helper()
	b.put("first", "first")
	w := beginWatch(b)
	w.await("first")
	return w
}

func beginWatch(b *outbox) *watched {
	b.Helper()
	w := &watched{b, make(chan Report, 100)}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Watch(ctx, b.transport(), b.o, func(r Report) { w.reports <- r }, nil)
	}()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			b.Errorf("the watch ended with %v", err)
		}
	})
	return w
}

// await waits until all of these have landed or were refused.
func (w *watched) await(names ...string) {
	w.Helper()
	deadline := time.After(30 * time.Second)
	for len(names) > 0 {
		select {
		case r := <-w.reports:
			names = slices.DeleteFunc(names, func(n string) bool {
				return slices.ContainsFunc(r.Landed, func(a Artifact) bool { return a.Name == n }) ||
					slices.ContainsFunc(r.Refused, func(x Refusal) bool { return x.Name == n })
			})
		case <-deadline:
			w.Fatalf("still waiting for %v; on the host: %v", names, w.tree())
		}
	}
}

func TestWatch(t *testing.T) { overEach(t, testWatch) }

func testWatch(t *testing.T, b *outbox) {
	if !b.helper {
		need(t, "inotifywait")
	}
	w := startWatch(b)

	w.put("written", "written")
	w.await("written")

	w.must(os.WriteFile(filepath.Join(w.guest.home, "elsewhere"), []byte("moved"), 0o644))
	w.must(os.Rename(filepath.Join(w.guest.home, "elsewhere"), filepath.Join(w.dir, "moved")))
	w.await("moved")

	// Directories made in a burst, faster than they can be watched.
	var burst []string
	for _, d := range []string{"n/m/o/p", "n/q", "r/s", "r/t/u"} {
		w.put(d+"/file", d)
		burst = append(burst, d+"/file")
	}
	w.await(burst...)
	w.put("n/m/o/p/later", "later")
	w.await("n/m/o/p/later")

	// A bundle that takes its time lands once, whole.
	w.put("My.app/a", "a")
	w.await("My.app")

	w.must(os.Symlink("/", filepath.Join(w.dir, "link")))
	w.await("link")

	f, err := os.Create(filepath.Join(w.dir, "slow"))
	w.must(err)
	_, err = f.WriteString("half")
	w.must(err)
	w.put("quick", "quick")
	w.await("quick")
	if got := w.have("slow"); got != "" {
		t.Errorf("landed while it was written: %q", got)
	}
	_, err = f.WriteString("whole")
	w.must(err)
	w.must(f.Close())
	w.await("slow")
	if got := w.have("slow"); got != "halfwhole" {
		t.Error(got)
	}
}

func TestWatchOutlivesItsDirectory(t *testing.T) { overEach(t, testWatchOutlivesItsDirectory) }

func testWatchOutlivesItsDirectory(t *testing.T, b *outbox) {
	if !b.helper {
		need(t, "inotifywait")
	}
	w := startWatch(b)
	w.must(os.Rename(w.dir, w.dir+".old"))
	w.put("after", "after")
	w.await("after")
	w.must(os.RemoveAll(w.dir))
	w.put("again", "again")
	w.await("again")
}

// TestRoomIsMade has a guest with more than is looked at, which then deletes what it has nothing of: the rest lands.
func TestRoomIsMade(t *testing.T) {
	b := newOutbox(t)
	b.helper = true
	b.o.Limits.MaxFiles = 50
	var names []string
	for i := range 20 {
		name := fmt.Sprint("before", i)
		b.put(name, name)
		names = append(names, name)
	}
	for i := range 60 {
		b.must(os.Mkdir(filepath.Join(b.dir, fmt.Sprint("empty", i)), 0o755))
	}
	for i := range 20 {
		name := fmt.Sprint("after", i)
		b.put(name, name)
		names = append(names, name)
	}
	w := beginWatch(b)
	r := <-w.reports
	if !slices.ContainsFunc(r.Refused, func(x Refusal) bool { return x.Name == "output" }) {
		t.Fatalf("that there are more is not told: %+v", r)
	}
	for i := range 60 {
		b.must(os.Remove(filepath.Join(b.dir, fmt.Sprint("empty", i))))
	}
	w.await(slices.DeleteFunc(names, func(n string) bool { return slices.Contains(landed(r), n) })...)
	b.put("later", "later")
	w.await("later")
}

// acting is a guest in a bubble of synctest: its outbox is a list of names, its programs are functions.
type acting struct {
	mu      sync.Mutex
	names   []string
	scans   int
	begin   func()
	archive func(names []string) string
	watch   func(ctx context.Context, stdout, stderr io.Writer) (int, error)
}

func (a *acting) Stream(ctx context.Context, c guest.Cmd, stdout, stderr io.Writer) (int, error) {
	a.mu.Lock()
	names := slices.Clone(a.names)
	a.mu.Unlock()
	switch c.Argv[2] {
	case "find":
		a.mu.Lock()
		a.scans++
		a.mu.Unlock()
		var records []string
		for _, n := range names {
			records = append(records, fileRecord(n, 4))
		}
		return prints(rootRecord + strings.Join(records, ""))(stdout)
	case "tar":
		_, _ = io.Copy(io.Discard, c.Stdin)
		return prints(a.archive(names))(stdout)
	}
	return a.watch(ctx, stdout, stderr)
}

func (a *acting) put(names ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names = append(a.names, names...)
}

func (a *acting) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.scans
}

func headers(names []string) (hs []tar.Header) {
	for _, n := range names {
		hs = append(hs, tar.Header{Name: "./" + n, Typeflag: tar.TypeReg, Size: 4})
	}
	return hs
}

// inBubble runs a watch over an acting guest; f is told what landed.
func inBubble(t *testing.T, a *acting, f func(t *testing.T, landed <-chan string)) {
	dir := scratch(t)
	synctest.Test(t, func(t *testing.T) {
		a.archive = func(names []string) string {
			return archive(t, headers(names)...)
		}
		if a.begin != nil {
			a.begin()
		}
		ctx, cancel := context.WithCancel(t.Context())
		names := make(chan string, 100)
		ended := make(chan error)
		go func() {
			o := Options{Dest: filepath.Join(dir, "dest"), State: filepath.Join(dir, "state")}
			ended <- Watch(ctx, overTar(t, a, o), o, func(r Report) {
				for _, x := range r.Landed {
					names <- x.Name
				}
			}, nil)
		}()
		f(t, names)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ended with %v", err)
		}
	})
}

func TestWithoutAWatchTheOutboxIsPolled(t *testing.T) {
	a := &acting{watch: func(context.Context, io.Writer, io.Writer) (int, error) { return 127, nil }}
	inBubble(t, a, func(t *testing.T, landed <-chan string) {
		synctest.Wait()
		start := time.Now()
		a.put("x")
		if got := <-landed; got != "x" || time.Since(start) > pollEvery {
			t.Errorf("%s after %v", got, time.Since(start))
		}
		before := a.count()
		time.Sleep(10 * pollEvery) // on the bubble's time: nobody waits
		if n := a.count() - before; n < 9 || n > 11 {
			t.Errorf("%d listings in ten rounds", n)
		}
	})
}

func TestABurstIsOnePass(t *testing.T) {
	var event chan string // made in the bubble, as its time asks for
	a := &acting{watch: func(ctx context.Context, stdout, stderr io.Writer) (int, error) {
		_, _ = io.WriteString(stderr, "Setting up watches.\nWatches est")
		_, _ = io.WriteString(stderr, "ablished.\n")
		for {
			select {
			case e := <-event:
				_, _ = io.WriteString(stdout, e)
			case <-ctx.Done():
				return -1, ctx.Err()
			}
		}
	}}
	a.begin = func() { event = make(chan string) }
	inBubble(t, a, func(t *testing.T, landed <-chan string) {
		time.Sleep(time.Second)
		if n := a.count(); n != 1 {
			t.Errorf("%d listings at the start", n)
		}
		for range 5 {
			event <- "CLOSE_WRITE,CLOSE\n"
			time.Sleep(quiet / 2)
		}
		a.put("x")
		start := time.Now()
		event <- "CLOSE_WRITE,CLOSE\n"
		if got := <-landed; got != "x" || time.Since(start) != quiet {
			t.Errorf("%s landed %v after the last event", got, time.Since(start))
		}
		time.Sleep(time.Minute)
		if n := a.count(); n != 3 { // one at the start, two around a transfer
			t.Errorf("%d listings", n)
		}
		// A burst that never ends is no excuse, and a directory asks for a second look.
		a.put("y")
		start = time.Now()
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case event <- "CREATE,IS":
					event <- "DIR\n"
					time.Sleep(quiet / 2)
				case <-stop:
					return
				}
			}
		}()
		if got := <-landed; got != "y" || time.Since(start) > 2*longestWait {
			t.Errorf("%s landed %v after the burst began", got, time.Since(start))
		}
		close(stop)
		synctest.Wait()
		before := a.count()
		time.Sleep(2 * longestWait)
		if a.count() == before {
			t.Error("no second look")
		}
	})
}
