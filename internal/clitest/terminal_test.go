package clitest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// openTerminals is a script's one terminal.
type openTerminals struct{ t *terminal }

// terminal is a window with a program in it.
type terminal struct {
	ptmx *os.File
	cmd  *exec.Cmd
	more chan struct{} // something appeared
	done chan struct{} // the program has ended; err says how
	err  error

	mu   sync.Mutex // guards what follows
	text strings.Builder
	seen int // so much of text, without its colours, was asked for already
}

func openTerminal(ts *testscript.TestScript, argv []string) (*terminal, error) {
	path, err := lookPath(argv[0], ts.Getenv("PATH"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Dir = ts.MkAbs(".")
	for _, k := range []string{
		"WORK", "HOME", "PATH", "TERM", "TMPDIR", "GORACE", "CAL_HOME", "CAL_CACHE", "CAL_DRIVER", "CAL_VM_TEMPLATE", "CAL_VM_KEEPER",
		"CAL_TART", "TART_HOME", "TART_DOUBLE_SCALE", "npm_config_registry", ordinaryUser,
	} {
		if v := ts.Getenv(k); v != "" {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	ptmx, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 100, Rows: 30})
	if err != nil {
		return nil, fmt.Errorf("opening a terminal: %w", err)
	}
	if ptmx, err = pollable(ptmx); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill())
	}
	t := &terminal{ptmx: ptmx, cmd: cmd, more: make(chan struct{}, 1), done: make(chan struct{})}
	go t.read()
	go func() {
		t.err = cmd.Wait()
		close(t.done)
	}()
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		<-t.done
		_ = ptmx.Close()
	})
	return t, nil
}

// pollable returns the same open file as one whose Close ends a Read that is pending: what package pty returns has been
// made to block, and is closed only once the program has written something.
func pollable(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("opening a terminal: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func lookPath(program, path string) (string, error) {
	for _, dir := range strings.Split(path, string(os.PathListSeparator)) {
		file := dir + "/" + program
		if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("no program %q in PATH", program)
}

func (t *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := t.ptmx.Read(buf)
		t.mu.Lock()
		t.text.Write(buf[:n])
		t.mu.Unlock()
		select {
		case t.more <- struct{}{}:
		default: // told already
		}
		if err != nil {
			return // the window is closed, or the program has ended
		}
	}
}

// sees waits until want appears after what was seen before.
func (t *terminal) sees(want *regexp.Regexp, patience time.Duration) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	done := t.done
	for {
		if t.advance(want) {
			return nil
		}
		select {
		case <-t.more:
		case <-done:
			// What it printed last may still be on its way: the reader tells.
			done = nil
			deadline.Reset(2 * time.Second)
		case <-deadline.C:
			return fmt.Errorf("%q did not appear in:\n%s", want, t.transcript())
		}
	}
}

// colours are what a terminal paints with: scripts are about words.
var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func (t *terminal) advance(want *regexp.Regexp) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	shown := colours.ReplaceAllString(t.text.String(), "")
	at := want.FindStringIndex(shown[min(t.seen, len(shown)):])
	if at == nil {
		return false
	}
	t.seen += at[1]
	return true
}

func (t *terminal) types(text string) error {
	_, err := t.ptmx.WriteString(text)
	return err
}

func (t *terminal) resize(columns, rows string) error {
	c, err := strconv.ParseUint(columns, 10, 16)
	if err != nil {
		return err
	}
	r, err := strconv.ParseUint(rows, 10, 16)
	if err != nil {
		return err
	}
	raw, err := t.ptmx.SyscallConn()
	if err != nil {
		return err
	}
	size := &unix.Winsize{Col: uint16(c), Row: uint16(r)}
	setErr := raw.Control(func(fd uintptr) { err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	return errors.Join(setErr, err)
}

// close takes the window away, and waits until the program has noticed.
func (t *terminal) close() error {
	if err := t.ptmx.Close(); err != nil {
		return err
	}
	_, err := t.ends()
	return err
}

// ends waits for the program's end and returns its exit code; -1 if a signal ended it.
func (t *terminal) ends() (int, error) {
	select {
	case <-t.done:
	case <-time.After(patience):
		return 0, fmt.Errorf("the program does not end:\n%s", t.transcript())
	}
	var exit *exec.ExitError
	if t.err != nil && !errors.As(t.err, &exit) {
		return 0, t.err
	}
	return t.cmd.ProcessState.ExitCode(), nil
}

func (t *terminal) transcript() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
