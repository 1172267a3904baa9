package guest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestOutput(t *testing.T) {
	s := startSSHD(t)
	c := s.connect()
	for _, tt := range []struct {
		name string
		cmd  Cmd
		want Result
	}{
		{"nothing", Cmd{Argv: []string{"true"}}, Result{}},
		{
			"status",
			Cmd{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 42"}},
			Result{Stdout: []byte("out\n"), Stderr: []byte("err\n"), Exit: 42},
		},
		{
			"missing program",
			Cmd{Argv: []string{"/no/such"}},
			Result{Stderr: []byte("sh: 1: exec: /no/such: not found\n"), Exit: 127},
		},
		{"stdin", Cmd{Argv: []string{"cat"}, Stdin: strings.NewReader("hello")}, Result{Stdout: []byte("hello")}},
		{"no stdin is an empty one", Cmd{Argv: []string{"cat"}}, Result{}},
		{
			"environment",
			Cmd{Argv: []string{"sh", "-c", `echo "$A|$B"`}, Env: map[string]string{"A": "x y'", "B": "$A\n"}},
			Result{Stdout: []byte("x y'|$A\n\n")},
		},
		{"directory", Cmd{Argv: []string{"pwd"}, Dir: "/usr"}, Result{Stdout: []byte("/usr\n")}},
		{
			"missing directory",
			Cmd{Argv: []string{"pwd"}, Dir: "/no/such"},
			Result{Stderr: []byte("sh: 1: cd: can't cd to /no/such\n"), Exit: 2},
		},
		{"relative directory", Cmd{Argv: []string{"basename", "bin"}, Dir: "."}, Result{Stdout: []byte("bin\n")}},
		{
			"arguments",
			Cmd{Argv: []string{"printf", "%s|", "", "a b", "'", `"$x"`, "*", "~", "é\xff\n", "-n", "`id`"}},
			Result{Stdout: []byte("|a b|'|\"$x\"|*|~|é\xff\n|-n|`id`|")},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.Output(t.Context(), tt.cmd)
			must(t, err)
			if !bytes.Equal(got.Stdout, tt.want.Stdout) || !bytes.Equal(got.Stderr, tt.want.Stderr) ||
				got.Exit != tt.want.Exit || got.Truncated {
				t.Errorf("got %d, %q, %q\nwant %d, %q, %q", got.Exit, got.Stdout, got.Stderr,
					tt.want.Exit, tt.want.Stdout, tt.want.Stderr)
			}
		})
	}
}

func TestOutputIsLimited(t *testing.T) {
	s := startSSHD(t)
	c := s.connect()
	for name, script := range map[string]string{
		"for ever":   `echo $$ >"$0"; exec cat /dev/zero`,
		"on stderr":  `echo $$ >"$0"; exec cat /dev/zero >&2`,
		"and no end": `echo $$ >"$0"; head -c 2000; exec sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			pid := filepath.Join(s.dir, "pid")
			r, err := c.Output(t.Context(), Cmd{
				Argv: []string{"sh", "-c", script, pid}, Limit: 1000,
				Stdin: bytes.NewReader(make([]byte, 4000)),
			})
			if !errors.Is(err, ErrLimit) || !r.Truncated || len(r.Stdout)+len(r.Stderr) != 1000 || r.Exit != -1 {
				t.Errorf("got %v, %d and %d bytes, truncated %v, exit %d",
					err, len(r.Stdout), len(r.Stderr), r.Truncated, r.Exit)
			}
			eventually(t, "command to be killed", func() bool { return !alive(t, pid) })
		})
	}
	r, err := c.Output(t.Context(), Cmd{Argv: []string{"head", "-c", "1000", "/dev/zero"}, Limit: 1000})
	if err != nil || len(r.Stdout) != 1000 || r.Truncated {
		t.Errorf("exactly the limit: %v, %d bytes, truncated %v", err, len(r.Stdout), r.Truncated)
	}
}

func TestContextKillsTheCommand(t *testing.T) {
	s := startSSHD(t)
	c := s.connect()
	pid := filepath.Join(s.dir, "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("changed my mind")
	out := &notify{first: func() { cancel(reason) }}
	exit, err := c.Stream(ctx, Cmd{
		Argv: []string{"sh", "-c", `trap "" TERM HUP; echo $$ >"$0"; echo go; sleep 1000 & wait`, pid},
	}, out, nil)
	if !errors.Is(err, reason) || exit != -1 {
		t.Errorf("got %d, %v", exit, err)
	}
	eventually(t, "command to be killed", func() bool { return !alive(t, pid) })
	if _, err := c.Output(t.Context(), Cmd{Argv: []string{"true"}}); err != nil {
		t.Errorf("connection is of no use after a killed command: %v", err)
	}
}

// notify calls first at the first write.
type notify struct {
	bytes.Buffer
	first func()
}

func (n *notify) Write(b []byte) (int, error) {
	if n.first != nil {
		n.first()
		n.first = nil
	}
	return n.Buffer.Write(b)
}

func TestCommandEndedBySignal(t *testing.T) {
	c := startSSHD(t).connect()
	var signal *SignalError
	if _, err := c.Output(t.Context(), Cmd{Argv: []string{"sh", "-c", "kill -9 $$"}}); !errors.As(err, &signal) ||
		signal.Signal != "KILL" {
		t.Errorf("got %v", err)
	}
}

func TestLostConnectionEndsTheCommand(t *testing.T) {
	c := startSSHD(t).connect()
	in, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	out := &notify{first: func() { _ = c.Close() }}
	_, err := c.Stream(t.Context(), Cmd{Argv: []string{"sh", "-c", "echo go; exec cat"}, Stdin: in}, out, nil)
	if !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestStreamCarriesManyBytesBothWays(t *testing.T) {
	c := startSSHD(t).connect()
	data := make([]byte, 8<<20)
	_, _ = rand.Read(data)
	var out bytes.Buffer
	exit, err := c.Stream(t.Context(), Cmd{Argv: []string{"cat"}, Stdin: bytes.NewReader(data)}, &out, nil)
	must(t, err)
	if exit != 0 || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("exit %d, %d bytes", exit, out.Len())
	}
}

func TestReaderAndWriterErrorsKillTheCommand(t *testing.T) {
	c := startSSHD(t).connect()
	broken := errors.New("broken")
	_, err := c.Output(t.Context(), Cmd{Argv: []string{"cat"}, Stdin: iotest.ErrReader(broken)})
	if !errors.Is(err, broken) {
		t.Errorf("reader: got %v", err)
	}
	_, err = c.Stream(t.Context(), Cmd{Argv: []string{"cat", "/dev/zero"}}, failingWriter{broken}, nil)
	if !errors.Is(err, broken) {
		t.Errorf("writer: got %v", err)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

func TestPTY(t *testing.T) {
	c := startSSHD(t).connect()
	in, typed := io.Pipe() // nothing is ever typed: the end must not wait for it
	defer func() { _ = typed.Close() }()
	var out bytes.Buffer
	exit, err := c.PTY(t.Context(), Cmd{
		Argv: []string{"sh", "-c", `test -t 0 && stty size; echo "$TERM $A"; exit 7`},
		Env:  map[string]string{"A": "x y"},
	}, Terminal{
		In: in, Out: &out, Term: "screen-256color", Size: func() (int, int) { return 101, 37 },
	})
	must(t, err)
	if want := "37 101\r\nscreen-256color x y\r\n"; out.String() != want || exit != 7 {
		t.Errorf("got %d, %q; want %q", exit, out.String(), want)
	}
}

// TestTerminalsAreCounted while they are shown, over a connection of one's own and over one that is lent.
func TestTerminalsAreCounted(t *testing.T) {
	s := startSSHD(t)
	own := s.connect()
	path, stop := lending(t, always(own))
	defer stop()
	for what, c := range map[string]*Client{"own": own, "borrowed": borrow(t, path, s.options())} {
		in, typed := io.Pipe()
		ran := make(chan error, 1)
		go func() {
			_, err := c.PTY(t.Context(), Cmd{Argv: []string{"head", "-n", "1"}}, Terminal{In: in, Out: io.Discard})
			ran <- err
		}()
		eventually(t, what+": to be counted", func() bool { return own.terminals.Load() == 1 && c.terminals.Load() == 1 })
		_, err := io.WriteString(typed, "x\n")
		must(t, err)
		must(t, wait(t, what, ran))
		must(t, typed.Close())
		eventually(t, what+": to be gone", func() bool { return own.terminals.Load() == 0 && c.terminals.Load() == 0 })
		_, err = c.Output(t.Context(), Cmd{Argv: []string{"true"}})
		must(t, err)
		if n := own.terminals.Load(); n != 0 {
			t.Errorf("%s: %d terminals of a command that has none", what, n)
		}
	}
}

func TestPTYTypingAndResize(t *testing.T) {
	c := startSSHD(t).connect()
	in, typed := io.Pipe()
	resized := make(chan struct{}, 1)
	cols := 80
	out, written := io.Pipe()
	type end struct {
		exit int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		exit, err := c.PTY(t.Context(), Cmd{Argv: []string{
			"sh", "-c",
			`trap 'stty size; exit 3' WINCH; stty -echo; echo ready; read -r x; echo "got $x"; while :; do sleep 0.05; done`,
		}},
			Terminal{In: in, Out: written, Size: func() (int, int) { return cols, 24 }, Resized: resized})
		_ = written.Close()
		ended <- end{exit, err}
	}()
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	expect("ready\r\n")
	fmt.Fprint(typed, "hello\r")
	expect("got hello\r\n")
	cols = 133
	resized <- struct{}{}
	expect("24 133\r\n")
	if e := wait(t, "terminal's end", ended); e.err != nil || e.exit != 3 {
		t.Errorf("got %+v", e)
	}
	_ = typed.Close()
}

func TestPTYInterruptibleInputIsGivenBack(t *testing.T) {
	c := startSSHD(t).connect()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	_, err = c.PTY(t.Context(), Cmd{Argv: []string{"true"}}, Terminal{In: r, Out: io.Discard})
	must(t, err)
	_, err = w.WriteString("k")
	must(t, err)
	key := make([]byte, 1)
	if n, err := r.Read(key); n != 1 || err != nil {
		t.Errorf("a key typed after the end was lost: %v", err)
	}
}
