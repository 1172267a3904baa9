//go:build linux

package app

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// childEnv holds what a process started by these tests is to do.
const childEnv = "CAL_TEST_FAULT"

type childTask struct {
	Driver, Dir, Op string
	At              int // the step to be killed at, or
}

const (
	toEnd  = -1 // none, or
	toStay = -2 // none, but to stay at the first
)

// child is another process that does an operation: this test's program once more.
type child struct {
	*exec.Cmd
	t     *testing.T
	stdin io.WriteCloser
	lines *bufio.Reader
	out   bytes.Buffer
}

// startChild starts a process that does an operation as soon as it is told to begin.
func startChild(t *testing.T, driver, dir, op string, at int) *child {
	t.Helper()
	task, err := json.Marshal(childTask{driver, dir, op, at})
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultsChild$"), t: t}
	c.Env = append(os.Environ(), childEnv+"="+string(task))
	c.Stderr = &c.out
	var outErr error
	c.stdin, err = c.StdinPipe()
	if at == toStay {
		var r io.Reader
		r, outErr = c.StdoutPipe()
		c.lines = bufio.NewReader(r)
	} else {
		c.Stdout = &c.out
	}
	if err != nil || outErr != nil {
		t.Fatal(err, outErr)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) begin() {
	if err := c.stdin.Close(); err != nil {
		c.t.Error(err)
	}
}

// await waits for a line that the process prints.
func (c *child) await(want string) {
	c.t.Helper()
	for {
		line, err := c.lines.ReadString('\n')
		if strings.TrimSpace(line) == want {
			return
		}
		if err != nil {
			c.t.Fatalf("it ended: %v: %s", err, &c.out)
		}
	}
}

// TestFaultsChild is that process.
func TestFaultsChild(t *testing.T) {
	var task childTask
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &task); err != nil {
		t.Skip("run by the tests of faults")
	}
	n := task.At
	a, err := openFaulty(task.Driver, task.Dir, func(string) error {
		switch {
		case task.At == toStay:
			fmt.Println("stays")
			select {}
		case task.At == toEnd:
		case n == 0:
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		n--
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Fatal(err)
	}
	err = faultOps[task.Op].do(t.Context(), a)
	if task.At != toEnd || err != nil {
		t.Errorf("the operation ended: %v", err)
	}
}
