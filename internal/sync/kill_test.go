package sync

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// killEnv makes the test program a process that brings an outbox in; its value says which.
const killEnv = "CAL_TEST_OUTBOX_SYNC"

// victim is what such a process is told.
type victim struct {
	Home        string // the guest's
	Dest, State string
	Asked       string        // file for the names that are fetched
	Helper      string        // file for the helper's process
	Clock       time.Duration // what its clock is wrong by; so much more at each SIGUSR1
	MaxFiles    int
}

// outcome is what such a process prints.
type outcome struct {
	Landed, Waiting, Unchanged int
	Refused                    []Refusal
	Peak                       int64 // bytes of memory it has held at most
}

// run brings the outbox in once, and prints what came of it.
func (v victim) run() error {
	asked, err := os.OpenFile(v.Asked, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer asked.Close()
	var off atomic.Int64
	off.Store(int64(v.Clock))
	turn := make(chan os.Signal, 1)
	signal.Notify(turn, syscall.SIGUSR1)
	go func() {
		for range turn {
			off.Add(int64(v.Clock))
		}
	}()
	now := func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
	o := Options{Workspace: "demo", Dest: v.Dest, State: v.State, Now: now, Limits: Limits{MaxFiles: v.MaxFiles}}
	t, err := OverHelper(&local{home: v.Home}, o, "env", helperEnv+"="+v.Helper, os.Args[0])
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	r, err := Once(context.Background(), telling{t, asked}, o, nil)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(outcome{len(r.Landed), r.Waiting, r.Unchanged, r.Refused, peak()})
}

// peak is the most memory this process has held, in bytes (proc_pid_status(5), VmHWM); 0 where that is not known.
func peak() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}

// telling writes down what is fetched.
type telling struct {
	Transport
	to io.Writer
}

func (t telling) Fetch(ctx context.Context, items []Item, into *Staging) error {
	var b bytes.Buffer
	for _, it := range items {
		b.WriteString(it.Name + "\n")
	}
	if _, err := t.to.Write(b.Bytes()); err != nil {
		return err
	}
	return t.Transport.Fetch(ctx, items, into)
}

// crashes is an outbox that is brought in by processes which are killed.
type crashes struct {
	*outbox
	v       victim
	content map[string]string
	random  *rand.Rand
}

const (
	killFiles = 800
	largeFile = 12 << 20 // one of them, which may go on
)

// newProcesses is an outbox with nothing in it.
func newProcesses(t *testing.T) *crashes {
	b := newOutbox(t)
	root := filepath.Dir(b.o.State)
	return &crashes{
		outbox: b, content: map[string]string{}, random: rand.New(rand.NewPCG(3, 4)), //nolint:gosec // the same instants
		v: victim{
			Home: b.guest.home, Dest: b.o.Dest, State: b.o.State,
			Asked: filepath.Join(root, "asked"), Helper: filepath.Join(root, "helper"),
		},
	}
}

func newCrashes(t *testing.T) *crashes {
	c := newProcesses(t)
	b := c.outbox
	for i := range killFiles {
		name := fmt.Sprintf("d%d/f%d", i%40, i)
		if i%100 == 0 {
			name = fmt.Sprintf("B%d.app/f%d", i%400, i)
		}
		c.content[name] = strings.Repeat(name, 1+i%500)
	}
	c.content["large"] = strings.Repeat("0123456789abcdef", largeFile/16)
	for name, content := range c.content {
		b.put(name, content)
	}
	return c
}

// start starts a process that brings the outbox in, on a host whose clock is days wrong.
func (c *crashes) start() (cmd *exec.Cmd, out *bytes.Buffer) {
	c.Helper()
	c.v.Clock = time.Duration(c.random.Int64N(int64(200*day))) - 100*day
	text, err := json.Marshal(c.v)
	c.must(err)
	c.must(errors.Join(os.RemoveAll(c.v.Asked), os.RemoveAll(c.v.Helper)))
	cmd, out = exec.Command(os.Args[0]), &bytes.Buffer{}
	cmd.Env = append(os.Environ(), killEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = out, out
	c.must(cmd.Start())
	return cmd, out
}

// finish brings in all that is left, and sees that nothing comes again that was whole.
func (c *crashes) finish(whole map[string]bool) {
	c.Helper()
	cmd, out := c.start()
	if err := cmd.Wait(); err != nil {
		c.Fatalf("the run after: %v: %s", err, out)
	}
	c.again(whole)
	if got := c.whole(); len(got) != c.artifacts() {
		c.Fatalf("%d of %d artifacts are there in the end: %s", len(got), c.artifacts(), out)
	}
	if bad, err := Verify(c.o); err != nil || len(bad) != 0 {
		c.Fatal(bad, err)
	}
}

func (c *crashes) artifacts() int {
	names := map[string]bool{}
	for name := range c.content {
		if bundle := bundleOf(name); bundle != "" {
			name = bundle
		}
		names[name] = true
	}
	return len(names)
}

// again fails the test if what was whole has been fetched again.
func (c *crashes) again(whole map[string]bool) {
	c.Helper()
	asked, err := os.Open(c.v.Asked)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	c.must(err)
	defer asked.Close()
	for lines := bufio.NewScanner(asked); lines.Scan(); {
		if whole[lines.Text()] {
			c.Fatalf("%s was whole, and is sent again", lines.Text())
		}
	}
}

// whole are the artifacts that are on the host. None may be there in part.
func (c *crashes) whole() map[string]bool {
	c.Helper()
	there := map[string]bool{}
	parts := map[string][2]int{} // of bundles: files there, files in all
	for name, want := range c.content {
		got, err := os.ReadFile(filepath.Join(c.o.Dest, name))
		if err != nil && !os.IsNotExist(err) {
			c.Fatal(err)
		}
		if err == nil && string(got) != want {
			c.Fatalf("%s has landed with %d bytes, want %d", name, len(got), len(want))
		}
		if bundle := bundleOf(name); bundle != "" {
			n := parts[bundle]
			if n[1]++; err == nil {
				n[0]++
			}
			parts[bundle] = n
		} else if err == nil {
			there[name] = true
		}
	}
	for bundle, n := range parts {
		switch n[0] {
		case 0:
		case n[1]:
			there[bundle] = true
		default:
			c.Fatalf("%s has landed with %d of %d files", bundle, n[0], n[1])
		}
	}
	return there
}

// signalHelper sends a signal to the helper, once there is one.
func (c *crashes) signalHelper(s syscall.Signal) {
	text, err := os.ReadFile(c.v.Helper)
	if err != nil {
		return // it has not begun
	}
	if pid, err := strconv.Atoi(string(text)); err == nil {
		_ = syscall.Kill(pid, s)
	}
}

// kills is how many instants are tried.
func kills(t *testing.T, usually int) int {
	n, err := strconv.Atoi(os.Getenv("CAL_TEST_KILLS"))
	if err != nil {
		if testing.Short() {
			t.Skip("processes are killed")
		}
		return usually
	}
	return n
}

// TestKilledProcesses kills the host's process or the guest's, freezes the guest's, or turns the host's clock, at random
// instants of a transfer of hundreds of files. Whatever is on the host then is whole, and the runs that follow bring the rest and nothing again.
func TestKilledProcesses(t *testing.T) {
	t.Parallel()
	n := kills(t, 12)
	c := newCrashes(t)
	began := time.Now()
	c.finish(nil)
	usually := time.Since(began)
	var whole map[string]bool // nil: a new outbox
	partly := 0
	for i := range n {
		if whole == nil {
			c.must(errors.Join(os.RemoveAll(c.o.Dest), os.RemoveAll(c.o.State)))
		}
		cmd, _ := c.start()
		time.Sleep(time.Duration(c.random.Int64N(int64(usually))))
		switch i % 4 {
		case 0:
			_ = cmd.Process.Kill()
		case 1:
			c.signalHelper(syscall.SIGKILL)
		case 2:
			_ = cmd.Process.Signal(syscall.SIGUSR1) // its clock
		default:
			c.signalHelper(syscall.SIGSTOP) // frozen for a while, then gone
			time.Sleep(50 * time.Millisecond)
			c.signalHelper(syscall.SIGKILL)
		}
		_ = cmd.Wait()
		c.signalHelper(syscall.SIGKILL)
		c.again(whole)
		now := c.whole()
		for name := range whole {
			if !now[name] {
				t.Fatalf("%s was there and is gone", name)
			}
		}
		if whole = now; len(whole) > 0 && len(whole) < c.artifacts() {
			partly++
		}
		if len(whole) == c.artifacts() || i == n-1 {
			c.finish(whole)
			whole = nil
		}
	}
	t.Logf("%d kills, %d of them with some and not all of %d artifacts there", n, partly, c.artifacts())
}

// TestALargeFileGoesOn cuts a transfer in the midst of a large file. What has come of it is not sent again, unless the
// file is another one by then.
func TestALargeFileGoesOn(t *testing.T) {
	for _, change := range []bool{false, true} {
		t.Run(fmt.Sprintf("changed %v", change), func(t *testing.T) {
			b := newOutbox(t)
			b.helper = true
			content := strings.Repeat("0123456789abcdef", 1<<20) // 16 MiB
			b.put("large", content)
			ctx, cancel := context.WithCancel(t.Context())
			sent := 0
			b.guest.stdout = func(_ string, w io.Writer) io.Writer {
				return writerFunc(func(p []byte) (int, error) {
					if sent += len(p); sent > 10<<20 {
						cancel()
						return 0, context.Canceled
					}
					return w.Write(p)
				})
			}
			if _, err := Once(ctx, b.transport(), b.o, nil); err == nil {
				t.Fatal("it was not cut")
			}
			if got := b.have("large"); got != "" {
				t.Fatalf("%d bytes have landed", len(got))
			}
			if change {
				content = "x" + content[1:]
				b.put("large", content)
			}
			sent = 0
			b.guest.stdout = func(_ string, w io.Writer) io.Writer {
				return writerFunc(func(p []byte) (int, error) { sent += len(p); return w.Write(p) })
			}
			b.once()
			if b.have("large") != content {
				t.Error("something else has landed")
			}
			if again := sent > 7<<20; again != change {
				t.Errorf("%d bytes were sent afterwards", sent)
			}
			if d := b.tree(); len(d) != 1 {
				t.Errorf("on the host: %v", d)
			}
		})
	}
}
