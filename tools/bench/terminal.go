package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/creack/pty"
)

// flood is what it took a program to bring text to a terminal.
type flood struct {
	seconds   float64 // from the first byte to the mark
	processor float64 // seconds the client itself used, start and end included
	bytes     int
}

// The remote command prints these around what is measured, in two pieces each, so that no echo of the command has them.
const (
	beginMark = "CAL-BEGIN"
	endMark   = "CAL-END"
)

// flooding is a shell command that prints a file between the marks.
func flooding(file string) string {
	return "printf 'CAL-%s' BEGIN; cat '" + file + "'; printf 'CAL-%s' END; sleep 0.2"
}

// measureFlood runs a client on a terminal that is emptied as fast as it fills.
func measureFlood(cmd *exec.Cmd) (flood, error) {
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		return flood{}, fmt.Errorf("opening a terminal: %w", err)
	}
	defer func() { _ = terminal.Close() }()
	var f flood
	var began, ended time.Time
	var tail []byte
	buffer := make([]byte, 256<<10)
	for {
		n, err := terminal.Read(buffer)
		tail = append(tail, buffer[:n]...)
		if began.IsZero() && bytes.Contains(tail, []byte(beginMark)) {
			began = time.Now()
		}
		if !began.IsZero() {
			f.bytes += n
			if ended.IsZero() && bytes.Contains(tail, []byte(endMark)) {
				ended = time.Now()
			}
		}
		tail = tail[max(0, len(tail)-64):]
		if err != nil {
			break // the client has let go of the terminal
		}
	}
	err = cmd.Wait()
	if began.IsZero() || ended.IsZero() {
		return flood{}, fmt.Errorf("printing to a terminal: the marks never came: %w", errors.Join(err, errors.New(string(tail))))
	}
	f.seconds = ended.Sub(began).Seconds()
	f.processor = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return f, nil
}

// echoing is a shell command that says it is ready and then gives back each key as it comes.
const echoing = "stty raw -echo; printf 'CAL-%s' BEGIN; exec cat"

// measureKeys types keys into each of the clients in turns, so that the machine's moods meet all of them, and returns how
// long each key took to come back, in milliseconds, by client.
func measureKeys(ctx context.Context, n int, cmds ...*exec.Cmd) ([][]float64, error) {
	open := make([]*typist, len(cmds))
	for i, cmd := range cmds {
		t, err := newTypist(ctx, cmd)
		if err != nil {
			return nil, err
		}
		defer t.close()
		open[i] = t
	}
	times := make([][]float64, len(cmds))
	for i := range n {
		key := []byte{byte('a' + i%26)}
		for k := range open {
			who := (i + k) % len(open) // none is always the first
			took, err := open[who].key(ctx, key)
			if err != nil {
				return nil, err
			}
			times[who] = append(times[who], float64(took.Microseconds())/1000)
			time.Sleep(2 * time.Millisecond) // a person is not faster, and what trails the echo is not the next key's
		}
	}
	return times, nil
}

// typist sits at a terminal with a client whose remote command is echoing.
type typist struct {
	cmd      *exec.Cmd
	terminal *os.File
	read     chan []byte
	seen     []byte
}

func newTypist(ctx context.Context, cmd *exec.Cmd) (*typist, error) {
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		return nil, fmt.Errorf("opening a terminal: %w", err)
	}
	t := &typist{cmd: cmd, terminal: terminal, read: make(chan []byte)}
	go func() {
		defer close(t.read)
		for {
			buffer := make([]byte, 4096)
			n, err := terminal.Read(buffer)
			if err != nil {
				return
			}
			select {
			case t.read <- buffer[:n]:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := t.await(ctx, []byte(beginMark)); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *typist) close() {
	_ = t.terminal.Close()
	_ = t.cmd.Process.Kill()
	_ = t.cmd.Wait()   // it was killed
	for range t.read { // what it said last
	}
}

// key types a key and returns how long it took to come back.
func (t *typist) key(ctx context.Context, key []byte) (time.Duration, error) {
	began := time.Now()
	if _, err := t.terminal.Write(key); err != nil {
		return 0, fmt.Errorf("typing: %w", err)
	}
	err := t.await(ctx, key)
	return time.Since(began), err
}

func (t *typist) await(ctx context.Context, mark []byte) error {
	for !bytes.Contains(t.seen, mark) {
		select {
		case b, open := <-t.read:
			if !open {
				return fmt.Errorf("typing: the client ended: %s", t.seen)
			}
			t.seen = append(t.seen, b...)
		case <-time.After(30 * time.Second):
			return errors.New("typing: a key was not echoed within 30 s")
		case <-ctx.Done():
			return fmt.Errorf("typing: %w", context.Cause(ctx))
		}
	}
	t.seen = t.seen[:0]
	return nil
}

// writeFlood writes about size bytes as a terminal gets them: lines of text or, in colour, of words with 24-bit colours.
func writeFlood(path string, size int, colour bool) error {
	line := []byte("The quick brown fox jumps over the lazy dog, and the compiler says that all is well, line after line.\n")
	if colour {
		line = nil
		for i := range 12 {
			line = fmt.Appendf(line, "\x1b[38;2;%d;%d;%dm%s\x1b[0m ", i*20, 255-i*20, 128, []string{"fox", "compiler", "well"}[i%3])
		}
		line = append(line, '\n')
	}
	return os.WriteFile(path, bytes.Repeat(line, size/len(line)+1), 0o644)
}
