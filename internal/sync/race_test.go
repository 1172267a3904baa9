package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/guest"
)

// onWrite calls f before each piece of a program's output goes on.
func onWrite(program string, f func(n int)) func(string, io.Writer) io.Writer {
	return func(p string, w io.Writer) io.Writer {
		if p != program {
			return w
		}
		n := 0
		return writerFunc(func(b []byte) (int, error) {
			f(n)
			n++
			return w.Write(b)
		})
	}
}

func TestAFileThatGrowsWhileItIsReadWaits(t *testing.T) {
	b := newOutbox(t)
	b.put("log", strings.Repeat("x", 1<<20))
	b.put("still", "still")
	grown := 0
	b.guest.stdout = onWrite("tar", func(int) {
		// Opened and closed each time: only the second listing can tell.
		f, err := os.OpenFile(filepath.Join(b.dir, "log"), os.O_APPEND|os.O_WRONLY, 0)
		b.must(err)
		_, err = f.WriteString("more")
		b.must(err)
		b.must(f.Close())
		grown++
	})
	r := b.once()
	if d := cmp.Diff([]string{"still"}, landed(r)); d != "" || r.Waiting != 1 || b.have("log") != "" {
		t.Errorf("%s, %d wait", d, r.Waiting)
	}
	b.guest.stdout = nil
	b.once()
	if got := len(b.have("log")); got != 1<<20+4*grown {
		t.Errorf("%d bytes landed, want %d", got, 1<<20+4*grown)
	}
}

// TestAPathSwappedForALink has a guest replace files by links, and directories by links to where the secret is, between
// and during all steps of a pass.
func TestAPathSwappedForALink(t *testing.T) { overEach(t, testAPathSwappedForALink) }

func testAPathSwappedForALink(t *testing.T, b *outbox) {
	vault := filepath.Join(filepath.Dir(b.o.State), "vault")
	b.must(os.MkdirAll(vault, 0o755))
	secret := filepath.Join(vault, "file")
	b.must(os.WriteFile(secret, []byte(canary), 0o600))
	before, err := os.Stat(secret)
	b.must(err)
	ctx, stop := context.WithCancel(t.Context())
	swapped := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			for _, p := range []string{filepath.Join(b.dir, "file"), filepath.Join(b.dir, "dir")} {
				target := vault
				if strings.HasSuffix(p, "file") {
					target = secret
				}
				_ = os.RemoveAll(p)
				_ = os.Symlink(target, p)
				_ = os.Remove(p)
			}
			_ = os.WriteFile(filepath.Join(b.dir, "file"), fmt.Appendf(nil, "%*d", len(canary)+1, n), 0o644)
			_ = os.Mkdir(filepath.Join(b.dir, "dir"), 0o755)
			_ = os.WriteFile(filepath.Join(b.dir, "dir", "file"), fmt.Appendf(nil, "%*d", len(canary)+1, n), 0o644)
		}
		swapped <- n
	}()
	for i := range 6 {
		b.put(fmt.Sprint("good", i), "good")
		r, err := Once(ctx, b.transport(), b.o, nil)
		b.must(err)
		if !strings.Contains(strings.Join(landed(r), " "), fmt.Sprint("good", i)) {
			t.Errorf("pass %d: what is good did not land: %v", i, landed(r))
		}
	}
	stop()
	if n := <-swapped; n == 0 {
		t.Error("nothing was swapped")
	}
	b.checkHost(secret, before)
}

// TestKilledAtAnyInstant cuts transfers off in the midst of what a program says. What is on the host at any time is
// whole, and the passes together bring everything.
func TestKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	b := newOutbox(t)
	content := map[string]string{}
	for i := range 80 {
		name := fmt.Sprintf("d%d/f%d", i%7, i)
		if i%10 == 0 {
			name = fmt.Sprintf("B%d.app/f%d", i%20, i)
		}
		content[name] = strings.Repeat(name, 1+i*40)
		b.put(name, content[name])
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same instants in every run
	whole := func() (n int) {
		for name, want := range content {
			if got := b.have(name); got != "" {
				if n++; got != want {
					t.Fatalf("%s landed as %d bytes, want %d", name, len(got), len(want))
				}
			}
		}
		return n
	}
	for i := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		left := random.IntN(400_000)
		b.guest.stdout = func(_ string, w io.Writer) io.Writer {
			return writerFunc(func(p []byte) (int, error) {
				if left -= len(p); left < 0 {
					cancel()
					return 0, context.Canceled
				}
				return w.Write(p)
			})
		}
		_, err := Once(ctx, b.transport(), b.o, nil)
		cancel()
		if err == nil {
			t.Logf("pass %d came to its end", i)
		}
		whole()
	}
	b.guest.stdout = nil
	b.once()
	if n := whole(); n != len(content) {
		t.Errorf("%d of %d have landed", n, len(content))
	}
	if bad, err := Verify(b.o); err != nil || len(bad) != 0 {
		t.Error(bad, err)
	}
	for _, n := range b.tree() {
		if strings.HasPrefix(n, ".") {
			t.Errorf("left over: %s", n)
		}
	}
}

// TestKilledBetweenTheSteps leaves behind what a process killed on the host leaves: staging, and an artifact that has
// its name but no record.
func TestKilledBetweenTheSteps(t *testing.T) { overEach(t, testKilledBetweenTheSteps) }

func testKilledBetweenTheSteps(t *testing.T, b *outbox) {
	b.put("a", "one")
	b.once()
	b.put("a", "two!")
	manifest := filepath.Join(b.o.State, manifestName)
	before, err := os.ReadFile(manifest)
	b.must(err)
	b.once()
	// The record of version 2 is lost, the last line torn, staging full.
	b.must(os.WriteFile(manifest, append(before, `{"v":1,"event":"lan`...), 0o600))
	b.must(os.MkdirAll(filepath.Join(b.o.Dest, stagingDir, "0"), 0o700))
	r := b.once()
	if len(r.Landed) != 1 || r.Landed[0].SHA256 == "" {
		t.Fatalf("%+v", r)
	}
	if d := cmp.Diff([]string{".versions/", ".versions/a.1", "a"}, b.tree()); d != "" {
		t.Error(d)
	}
	list, err := ReadManifest(b.o.State)
	b.must(err)
	if len(list) != 2 || list[0].SHA256 != r.Landed[0].SHA256 {
		t.Errorf("%+v", list)
	}
	// Killed between keeping the old content and giving the new one its name.
	b.put("a", "three")
	b.must(os.Link(filepath.Join(b.o.Dest, "a"), filepath.Join(b.o.Dest, ".versions/a.2")))
	b.once()
	got := b.have(".versions/a.1") + b.have(".versions/a.2") + b.have("a")
	if got != "onetwo!three" || len(b.tree()) != 4 {
		t.Error(got, b.tree())
	}
}

func TestTwoProcessesTakeTurns(t *testing.T) { overEach(t, testTwoProcessesTakeTurns) }

func testTwoProcessesTakeTurns(t *testing.T, b *outbox) {
	for i := range 50 {
		b.put(fmt.Sprint(i), fmt.Sprint(i))
	}
	type result struct {
		r   Report
		err error
	}
	results := make(chan result)
	for range 3 {
		go func() {
			r, err := Once(t.Context(), b.transport(), b.o, nil)
			results <- result{r, err}
		}()
	}
	n := 0
	for range 3 {
		x := <-results
		b.must(x.err)
		n += len(x.r.Landed)
	}
	if n != 50 {
		t.Errorf("%d landed, want 50", n)
	}
	if list, err := ReadManifest(b.o.State); err != nil || len(list) != 50 {
		t.Error(len(list), err)
	}
}

// TestASilentGuestIsGivenUp runs on the time of a bubble: a minute passes at once.
func TestASilentGuestIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := runnerFunc(func(ctx context.Context, w io.Writer) error {
			_, _ = io.WriteString(w, rootRecord)
			<-ctx.Done()
			return ctx.Err()
		})
		start := time.Now()
		_, err := stream(t.Context(), silent, guest.Cmd{}, io.Discard, io.Discard,
			func(int) time.Duration { return 0 })
		if !errors.Is(err, ErrStalled) || time.Since(start) != stallTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

type runnerFunc func(ctx context.Context, w io.Writer) error

func (f runnerFunc) Stream(ctx context.Context, _ guest.Cmd, stdout, _ io.Writer) (int, error) {
	return -1, f(ctx, stdout)
}
