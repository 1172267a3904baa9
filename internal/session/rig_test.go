package session

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/guest"
)

// terminal is a terminal emulator on the far side of a pty pair.
type terminal struct {
	t    *testing.T
	ptm  *os.File // the emulator's side
	tty  *os.File // what programs are given
	was  term.State
	mu   sync.Mutex
	em   *vt.Emulator
	raw  bytes.Buffer // everything that was written to the terminal
	dead chan struct{}
	// blind terminals keep what is written and show nothing, which is faster.
	blind atomic.Bool
}

func newTerminal(t *testing.T, cols, rows int) *terminal {
	t.Helper()
	ptm, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(ptm, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)}); err != nil {
		t.Fatal(err)
	}
	was, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, ptm: ptm, tty: tty, was: *was, em: vt.NewEmulator(cols, rows), dead: make(chan struct{})}
	// What the emulator answers to queries is typed, as by a real terminal.
	go func() { _, _ = io.Copy(ptm, x.em) }()
	go func() {
		defer close(x.dead)
		b := make([]byte, 32<<10)
		for {
			n, err := ptm.Read(b)
			x.mu.Lock()
			x.raw.Write(b[:n])
			if !x.blind.Load() {
				_, _ = x.em.Write(b[:n])
			}
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		_ = ptm.Close()
		<-x.dead
		_ = x.em.InputPipe().(io.Closer).Close() // Emulator.Close is no match for a Read
	})
	return x
}

func (x *terminal) resize(cols, rows int) {
	x.t.Helper()
	x.mu.Lock()
	x.em.Resize(cols, rows)
	x.mu.Unlock()
	if err := pty.Setsize(x.ptm, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)}); err != nil {
		x.t.Fatal(err)
	}
	// The kernel tells the foreground of a controlling terminal, which this one is not.
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) send(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.ptm, keys); err != nil {
		x.t.Error(err)
	}
}

// screen returns the lines of the screen, without the blanks at their ends.
func (x *terminal) screen() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	lines := strings.Split(x.em.String(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \r")
	}
	return lines
}

func (x *terminal) row(n int) string {
	lines := x.screen()
	if n < 0 {
		n += len(lines)
	}
	if n < 0 || n >= len(lines) {
		return ""
	}
	return lines[n]
}

func (x *terminal) written() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.raw.String()
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never came: %s", what)
		}
	}
}

// shows waits until the screen has a text.
func (x *terminal) shows(text string) {
	x.t.Helper()
	defer func() {
		if x.t.Failed() {
			x.t.Logf("screen:\n%s", strings.Join(x.screen(), "\n"))
		}
	}()
	until(x.t, fmt.Sprintf("%q on the screen", text), func() bool { return strings.Contains(strings.Join(x.screen(), "\n"), text) })
}

func (x *terminal) hides(text string) {
	x.t.Helper()
	until(x.t, fmt.Sprintf("a screen without %q", text), func() bool { return !strings.Contains(strings.Join(x.screen(), "\n"), text) })
}

// restored tells whether the terminal's settings are those it was given with.
func (x *terminal) restored() bool {
	now, err := term.GetState(int(x.tty.Fd()))
	return err == nil && *now == x.was
}

// fakeGuest is a program in the guest that does what the test says, and paints its screen anew when asked.
type fakeGuest struct {
	out  chan string // printed
	exit chan int    // the program ends
	lost chan error  // the connection breaks
	done chan struct{}

	mu    sync.Mutex
	typed bytes.Buffer
	sizes []string
	taken chan struct{} // unless nil: input is taken once it is closed
}

func newGuest() *fakeGuest {
	return &fakeGuest{out: make(chan string), exit: make(chan int), lost: make(chan error), done: make(chan struct{})}
}

func (g *fakeGuest) Output(context.Context, guest.Cmd) (guest.Result, error) {
	return guest.Result{}, nil
}

func (g *fakeGuest) PTY(ctx context.Context, _ guest.Cmd, t guest.Terminal) (int, error) {
	defer close(g.done)
	note := func() {
		cols, rows := t.Size()
		g.mu.Lock()
		g.sizes = append(g.sizes, fmt.Sprintf("%dx%d", cols, rows))
		g.mu.Unlock()
	}
	note()
	go func() {
		if g.taken != nil {
			select {
			case <-g.taken:
			case <-ctx.Done():
				return
			}
		}
		b := make([]byte, 4096)
		for {
			n, err := t.In.Read(b)
			typed := strings.ReplaceAll(string(b[:n]), repaintKeys, "")
			g.mu.Lock()
			g.typed.WriteString(typed)
			g.mu.Unlock()
			if len(typed) < n {
				select {
				case g.out <- "\x1b[H\x1b[2Jagent at work":
				case <-g.done:
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case s := <-g.out:
			if _, err := io.WriteString(t.Out, s); err != nil {
				return -1, err
			}
		case <-t.Resized:
			note()
		case code := <-g.exit:
			return code, nil
		case err := <-g.lost:
			return -1, err
		case <-ctx.Done():
			return -1, context.Cause(ctx)
		}
	}
}

func (g *fakeGuest) got() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.typed.String()
}

func (g *fakeGuest) gets(t *testing.T, want string) {
	t.Helper()
	until(t, fmt.Sprintf("%q typed into the guest", want), func() bool { return len(g.got()) >= len(want) })
	if got := g.got(); got != want {
		t.Fatalf("the guest got %q, want %q", got, want)
	}
}

func (g *fakeGuest) lastSize() (string, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sizes[len(g.sizes)-1], len(g.sizes)
}

// stage is a console with a program.
type stage struct {
	*terminal
	c    *Console
	g    *fakeGuest
	a    *fakeActions
	done chan struct{}
	res  RunResult
	err  error
}

const prefix = "\x1d"

func options(a Actions) ConsoleOptions {
	return ConsoleOptions{
		Actions: a, Term: "xterm-256color", Banner: true, Prefix: 0x1d, ClipboardWrite: true, ClipboardMax: 1 << 20,
		Status: Status{Workspace: "demo", Mode: "Safe Mode"},
	}
}

// perform opens a console and shows a program in it; both are over at the end of the test.
func perform(t *testing.T, cols, rows int, o func(*ConsoleOptions)) *stage {
	t.Helper()
	s := &stage{terminal: newTerminal(t, cols, rows), a: actions()}
	opts := options(s.a)
	if o != nil {
		o(&opts)
	}
	c, err := Open(s.tty, opts)
	if err != nil {
		t.Fatal(err)
	}
	s.c = c
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if s.done != nil {
			<-s.done
		}
	})
	s.run(newGuest())
	return s
}

// run shows a program, which prints its first words.
func (s *stage) run(g *fakeGuest) {
	s.g, s.done = g, make(chan struct{})
	done := s.done
	go func() {
		s.res, s.err = s.c.Run(context.Background(), Program{Guest: g, RepaintKeys: repaintKeys})
		close(done)
	}()
	g.out <- "\x1b[H\x1b[2Jagent at work"
}

// ended waits for the end of Run.
func (s *stage) ended() RunResult {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		s.t.Fatalf("Run goes on; screen:\n%s", strings.Join(s.screen(), "\n"))
	}
	return s.res
}
