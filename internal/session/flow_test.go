package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/calmenu/calmenu/internal/guest"
)

// A megabyte is pasted while the program floods the terminal: nothing is lost, in either direction, and nothing stands still.
func TestLargePasteDuringAFlood(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.blind.Store(true)
	const size = 1 << 20
	r := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	text.WriteString(pasteBegin)
	for text.Len() < size {
		fmt.Fprintf(&text, "%d%s", r.Uint64(), []string{"\r", " ", prefix, "漢", "\x1b[20", "\x1b"}[r.IntN(6)])
	}
	text.WriteString(pasteEnd)
	text.WriteString("after")
	stop, flooded := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case s.g.out <- strings.Repeat("flood\r\n", 500):
				n += 500
			case <-stop:
				flooded <- n
				return
			}
		}
	}()
	s.send(text.String())
	until(t, "the whole paste", func() bool {
		s.g.mu.Lock()
		defer s.g.mu.Unlock()
		return s.g.typed.Len() >= text.Len()
	})
	if sha256.Sum256([]byte(s.g.got())) != sha256.Sum256([]byte(text.String())) {
		t.Error("the paste has changed on its way")
	}
	close(stop)
	n := <-flooded
	until(t, "the whole flood", func() bool { return strings.Count(s.written(), "flood\r\n") == n })
}

// A program that takes no input must not keep the person from leaving.
func TestPrefixWorksHoweverStuckTheProgramIs(t *testing.T) {
	s := perform(t, 80, 24, nil)
	stuck := newGuest()
	stuck.taken = make(chan struct{})
	s.g.exit <- 0
	s.ended()
	s.run(stuck)
	s.send(pasteBegin + strings.Repeat("x", 200<<10) + pasteEnd + "y")
	s.send(prefix)
	s.shows("[S]napshot")
	s.send("qk")
	if r := s.ended(); !r.Detach {
		t.Errorf("%+v", r)
	}
}

func TestResizeStorm(t *testing.T) {
	s := perform(t, 80, 24, nil)
	for i := range 300 {
		s.resize(60+i%50, 15+i%20)
	}
	s.resize(71, 19)
	until(t, "the last size", func() bool { size, _ := s.g.lastSize(); return size == "71x18" })
	if _, n := s.g.lastSize(); n > 100 {
		t.Errorf("the program was told %d sizes", n)
	}
	until(t, "the banner", func() bool { return strings.Contains(s.row(0), "CAL ISOLATION ACTIVE") })
	s.send(prefix + "s")
	s.shows("Name of the snapshot")
	s.resize(40, 12)
	until(t, "the dialog in its new size", func() bool {
		return strings.Contains(s.row(1), "Snapshot") && strings.Contains(s.row(-1), "Enter:Go on")
	})
	s.send("\x1b")
	s.hides("Name of the snapshot")
	s.shows("agent at work")
}

func TestTerminalIsGivenBack(t *testing.T) {
	for name, end := range map[string]func(*stage){
		"close": func(s *stage) { _ = s.c.Close() },
		"close, twice and behind a dialog": func(s *stage) {
			s.send(prefix + "s")
			s.shows("Name of")
			_ = s.c.Close()
			_ = s.c.Close()
		},
		"SIGTERM": func(*stage) { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) },
		"SIGHUP":  func(*stage) { _ = syscall.Kill(os.Getpid(), syscall.SIGHUP) },
		"panic of the caller": func(s *stage) {
			defer func() { _ = recover() }()
			defer s.c.Close()
			panic("in a test")
		},
		"panic of the console": func(s *stage) {
			defer func() { _ = recover() }()
			defer s.c.guard()
			panic("in a test")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := perform(t, 80, 24, nil)
			if s.restored() {
				t.Fatal("the terminal is not raw")
			}
			s.g.out <- "\x1b[?1049h\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b[?25l\x1b[31mfull swing"
			s.shows("full swing")
			end(s)
			until(t, "the terminal's settings", s.restored)
			s.hides("CAL ISOLATION")
			for _, seq := range []string{"\x1b[?1049l", "\x1b[?1000l", "\x1b[?2004l", "\x1b[?25h", "\x1b[23;0t", "\x1b[?1004l"} {
				if !strings.Contains(s.written(), seq) {
					t.Errorf("%q was not written", seq)
				}
			}
			if strings.Contains(name, "panic of the console") { // which goes on as far as the process is concerned
				_ = s.c.Close()
			}
			if r := s.ended(); !r.Detach || s.err != nil {
				t.Errorf("%+v, %v", r, s.err)
			}
		})
	}
}

// What is typed once the session is over belongs to the shell.
func TestNothingTypedAfterwardsIsSwallowed(t *testing.T) {
	for range 8 {
		s := perform(t, 80, 24, nil)
		s.send("x")
		s.g.gets(t, "x")
		s.g.exit <- 0
		s.ended()
		if err := s.c.Close(); err != nil {
			t.Fatal(err)
		}
		s.send("echo me\n")
		b := make([]byte, 100)
		n, err := s.tty.Read(b)
		if err != nil || string(b[:n]) != "echo me\n" {
			t.Fatalf("the shell reads %q, %v", b[:n], err)
		}
	}
}

func TestRunPTYSwallowsNothingEither(t *testing.T) {
	x := newTerminal(t, 80, 24)
	g := newGuest()
	done := make(chan int)
	go func() {
		code, err := RunPTY(context.Background(), g, x.tty, guest.Cmd{})
		if err != nil {
			t.Error(err)
		}
		done <- code
	}()
	g.out <- "shell"
	x.shows("shell")
	x.send("ls\x1b[A")
	g.gets(t, "ls\x1b[A")
	g.exit <- 5
	if code := <-done; code != 5 {
		t.Errorf("exit code %d", code)
	}
	if !x.restored() {
		t.Error("the terminal is not restored")
	}
	x.send("next\n")
	b := make([]byte, 100)
	if n, err := x.tty.Read(b); err != nil || string(b[:n]) != "next\n" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestAwait(t *testing.T) {
	for name, c := range map[string]struct {
		keys string
		want error
	}{"ctrl-c": {"\x03", ErrGivenUp}, "prefix and q": {prefix + "q", ErrGivenUp}, "comes back": {"abc\x1dx\x1b[O", nil}} {
		t.Run(name, func(t *testing.T) {
			s := perform(t, 80, 24, nil)
			s.g.lost <- guest.ErrLost
			s.ended()
			back := make(chan struct{})
			done := make(chan error)
			go func() {
				done <- s.c.Await(context.Background(), "connection lost, waiting", func(ctx context.Context) error {
					select {
					case <-back:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
			}()
			s.shows("connection lost, waiting 0 s")
			s.shows("agent at work") // what was there stays
			s.send(c.keys)
			if c.want == nil {
				until(t, "the last of what is typed", func() bool {
					s.c.notes.mu.Lock()
					defer s.c.notes.mu.Unlock()
					return s.c.notes.front == frontNo
				})
				close(back)
			}
			if err := <-done; !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			s.hides("connection lost")
			s.run(newGuest())
			s.send("x")
			s.g.gets(t, "x") // nothing of what was typed meanwhile
		})
	}
}

func TestAwaitEndsWithTheTerminal(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.g.exit <- 0
	s.ended()
	_ = syscall.Kill(os.Getpid(), syscall.SIGHUP)
	err := s.c.Await(context.Background(), "waiting", func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, ErrHangup) {
		t.Error(err)
	}
}

func TestDumbTerminalIsLeftAlone(t *testing.T) {
	s := perform(t, 80, 24, func(o *ConsoleOptions) { o.Term = "dumb" })
	s.send("a" + prefix + "b")
	s.g.gets(t, "a"+prefix+"b")
	s.shows("agent at work")
	if size, _ := s.g.lastSize(); size != "80x24" || strings.Contains(s.written(), "CAL") {
		t.Errorf("%s %q", size, s.written())
	}
}

func TestWaitingIsTold(t *testing.T) {
	said, back := make(chan string, 9), make(chan struct{}, 9)
	s := perform(t, 80, 24, func(o *ConsoleOptions) {
		o.OnWaiting = func(text string) { said <- text }
		o.OnActive = func() { back <- struct{}{} }
	})
	s.send("\x1b[O")
	s.g.gets(t, "") // reports of focus are for who asked for them
	until(t, "the loss of focus", func() bool {
		s.c.notes.mu.Lock()
		defer s.c.notes.mu.Unlock()
		return s.c.notes.front == frontNo
	})
	s.g.out <- "\x1b]9;ready for\x01 you\x07"
	if text := <-said; !strings.Contains(text, "ready for") {
		t.Errorf("%q", text)
	}
	s.c.SetStatus(Status{Workspace: "demo", Mode: "Safe Mode", Waiting: true})
	s.shows("waiting for you")
	s.send("\x1b[I")
	<-back
}

// localGuest runs a real program on a pty of this machine.
type localGuest struct{}

func (localGuest) PTY(ctx context.Context, c guest.Cmd, t guest.Terminal) (int, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = os.Environ()
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cols, rows := t.Size()
	p, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)})
	if err != nil {
		return -1, err
	}
	defer p.Close()
	go func() { _, _ = io.Copy(p, t.In) }()
	ended := make(chan struct{})
	var follow sync.WaitGroup
	defer follow.Wait()
	defer close(ended)
	follow.Go(func() {
		for {
			select {
			case <-t.Resized:
				cols, rows := t.Size()
				_ = pty.Setsize(p, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)})
			case <-ended:
				return
			}
		}
	})
	_, _ = io.Copy(t.Out, p) // until EIO: the program has ended
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func TestRealProgram(t *testing.T) {
	x := newTerminal(t, 60, 20)
	c, err := Open(x.tty, options(actions()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan RunResult)
	go func() {
		r, err := c.Run(context.Background(), Program{Guest: localGuest{}, Cmd: guest.Cmd{Argv: []string{"sh", "-c", `
echo ready; while read -r line; do [ "$line" = bye ] && exit 9; echo "got $line in $(stty size)"; done; exit 3`}}})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	x.shows("ready")
	x.send("hello\r")
	x.shows("got hello in 19 60")
	x.resize(70, 15)
	tries := 0
	until(t, "the new size", func() bool {
		if tries++; tries%50 == 1 {
			x.send("again\r")
		}
		return strings.Contains(strings.Join(x.screen(), "\n"), "got again in 14 70")
	})
	x.send("bye\r")
	select {
	case r := <-done:
		if r.Exit != 9 {
			t.Errorf("%+v", r)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("goes on:\n%s", strings.Join(x.screen(), "\n"))
	}
}

// A program that cannot be asked to repaint is told another size, and its own again.
func TestProgramThatCannotBeAskedToRepaint(t *testing.T) {
	x := newTerminal(t, 80, 24)
	c, err := Open(x.tty, options(actions()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	g := newGuest()
	done := make(chan error)
	go func() {
		_, err := c.Run(context.Background(), Program{Guest: g})
		done <- err
	}()
	g.out <- "ready"
	x.send(prefix)
	x.shows("[S]napshot")
	x.send("\x1b")
	until(t, "two changes of size", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return strings.HasSuffix(strings.Join(g.sizes, " "), "80x23 80x22 80x23")
	})
	g.exit <- 0
	if err := <-done; err != nil {
		t.Error(err)
	}
}
