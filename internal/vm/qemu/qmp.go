package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"
)

// QEMU's monitor protocol (docs/interop/qmp-spec.txt): JSON objects, one a line. QEMU serves one client at a time;
// another waits for its greeting. So most commands are a connection of their own, short and with a deadline.
const (
	qmpTimeout = 20 * time.Second
	// qmpLimit bounds one connection's input: QEMU holds a guest and may have been taken over by it.
	qmpLimit = 4 << 20
)

// qmpError is a command's refusal.
type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *qmpError) Error() string { return e.Desc }

type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *qmpError       `json:"error"`
	Event    string          `json:"event"`
}

// qmp runs one command on the monitor of the machine in dir and decodes its result into result unless that is nil.
func qmp(ctx context.Context, dir, command string, arguments map[string]any, result any) error {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	conn, err := dialMonitor(ctx, dir)
	if err != nil {
		return fmt.Errorf("asking QEMU to %s: %w", command, err)
	}
	defer conn.Close()
	return talk(ctx, conn, command, arguments, result)
}

// talk runs a command over a fresh connection.
func talk(ctx context.Context, conn net.Conn, command string, arguments map[string]any, result any) error {
	s, err := newSession(ctx, conn)
	if err != nil {
		return err
	}
	return s.do(ctx, command, arguments, result)
}

// exchange sends a command and returns its result, passing over events.
func exchange(out io.Writer, in *bufio.Reader, command string, arguments map[string]any) (json.RawMessage, error) {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	line, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if _, err := out.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	for {
		m, err := receive(in)
		switch {
		case err != nil:
			return nil, err
		case m.Error != nil:
			return nil, m.Error
		case m.Return != nil:
			return m.Return, nil
		}
	}
}

func receive(in *bufio.Reader) (qmpMessage, error) {
	var m qmpMessage
	line, err := in.ReadBytes('\n')
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("reading its answer: %w", err)
	}
	return m, nil
}
