package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// session is one connection to QEMU's monitor for several commands. QEMU serves one client at a time, so whoever else
// asks waits meanwhile: a session is kept for what must not be interrupted, and is short.
type session struct {
	conn    net.Conn
	in      *bufio.Reader
	limit   *io.LimitedReader
	version string // QEMU's, with its package's, from its greeting
}

// openSession connects to the monitor of the machine in dir.
func openSession(ctx context.Context, dir string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	conn, err := dialMonitor(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("asking QEMU for its monitor: %w", err)
	}
	s, err := newSession(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("asking QEMU for its monitor: %w", err)
	}
	return s, nil
}

// newSession greets and leaves the negotiation behind.
func newSession(ctx context.Context, conn net.Conn) (*session, error) {
	limit := &io.LimitedReader{R: conn, N: qmpLimit}
	s := &session{conn: conn, limit: limit, in: bufio.NewReader(limit)}
	return s, s.within(ctx, func() error {
		m, err := receive(s.in)
		if err != nil {
			return err
		}
		if m.Greeting == nil {
			return errors.New("it does not speak QMP")
		}
		var greeting struct {
			Version struct {
				QEMU    struct{ Major, Minor, Micro int }
				Package string
			}
		}
		if err := json.Unmarshal(m.Greeting, &greeting); err != nil {
			return fmt.Errorf("reading its greeting: %w", err)
		}
		v := greeting.Version
		s.version = fmt.Sprintf("%d.%d.%d", v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro)
		if v.Package != "" {
			s.version += " (" + v.Package + ")"
		}
		_, err = exchange(conn, s.in, "qmp_capabilities", nil)
		return err
	})
}

func (s *session) close() { _ = s.conn.Close() }

// within runs an exchange that ends with ctx. After that has happened the session is of no more use.
func (s *session) within(ctx context.Context, exchange func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := exchange()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// do runs one command and decodes its result into result unless that is nil. A *qmpError says that QEMU refused.
func (s *session) do(ctx context.Context, command string, arguments map[string]any, result any) error {
	return s.run(ctx, s.conn, command, arguments, result)
}

// run sends a command by out, which is the connection or writes to it.
func (s *session) run(ctx context.Context, out io.Writer, command string, arguments map[string]any, result any) error {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	s.limit.N = qmpLimit
	err := s.within(ctx, func() error {
		value, err := exchange(out, s.in, command, arguments)
		if err != nil || result == nil {
			return err
		}
		return json.Unmarshal(value, result)
	})
	if err != nil {
		return fmt.Errorf("asking QEMU to %s: %w", command, err)
	}
	return nil
}

// give hands QEMU an open file under a name, which a later command calls "fd:name". QEMU's sandbox opens none for it.
func (s *session) give(ctx context.Context, name string, f *os.File) error {
	conn, ok := s.conn.(*net.UnixConn)
	if !ok {
		return errors.New("giving QEMU a file: the monitor is no Unix socket")
	}
	return s.run(ctx, &rightsWriter{conn, f}, "getfd", map[string]any{"fdname": name}, nil)
}

// rightsWriter sends a file with the bytes written.
type rightsWriter struct {
	conn *net.UnixConn
	file *os.File
}

func (w *rightsWriter) Write(p []byte) (int, error) {
	n, _, err := w.conn.WriteMsgUnix(p, syscall.UnixRights(int(w.file.Fd())), nil)
	return n, err
}

// status returns QEMU's state: "running", "paused", "postmigrate" and others (qapi/run-state.json).
func (s *session) status(ctx context.Context) (string, error) {
	var status struct {
		Status string `json:"status"`
	}
	err := s.do(ctx, "query-status", nil, &status)
	return status.Status, err
}

const (
	// stateLimit bounds the state of a machine's devices, which QEMU writes: a few hundred KiB are usual.
	stateLimit = 256 << 20
	// migrateTimeout bounds saving and loading it.
	migrateTimeout = time.Minute
)

// saveState writes the state of a stopped machine's devices to a file. The memory is not in it (x-ignore-shared). QEMU
// is given a pipe, not the file: what it no longer has it cannot change later.
func (s *session) saveState(ctx context.Context, to *os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, migrateTimeout, errors.New("QEMU takes too long to save its state"))
	defer cancel()
	from, pipe, err := os.Pipe()
	if err != nil {
		return err
	}
	defer from.Close()
	err = s.give(ctx, "state", pipe)
	pipe.Close()
	if err != nil {
		return err
	}
	copied := make(chan error, 1)
	go func() {
		n, err := io.Copy(to, io.LimitReader(from, stateLimit))
		if err == nil && n == stateLimit {
			err = errors.New("QEMU's state has no end")
		}
		from.Close() // so that QEMU, should it have more to say, fails instead of waiting
		copied <- err
	}()
	err = s.migrate(ctx, "migrate")
	if err != nil {
		from.Close()
	}
	copyErr := <-copied
	if copyErr != nil && !errors.Is(copyErr, os.ErrClosed) {
		return fmt.Errorf("saving the devices' state: %w", copyErr)
	}
	if err != nil {
		return fmt.Errorf("saving the devices' state: %w", err)
	}
	return nil
}

// errRefusedState says that QEMU cannot load a state.
var errRefusedState = errors.New("QEMU cannot load it")

// loadState gives a QEMU that waits for one (-incoming defer) its devices' state.
func (s *session) loadState(ctx context.Context, from *os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, migrateTimeout, errors.New("QEMU takes too long to load its state"))
	defer cancel()
	err := s.give(ctx, "state", from)
	if err == nil {
		err = s.migrate(ctx, "migrate-incoming")
	}
	if err != nil {
		return fmt.Errorf("loading the devices' state: %w", err)
	}
	return nil
}

// migrate runs a migration over the file given as "state" and waits for its end.
func (s *session) migrate(ctx context.Context, command string) error {
	err := s.do(ctx, "migrate-set-capabilities", map[string]any{
		"capabilities": []any{map[string]any{"capability": "x-ignore-shared", "state": true}},
	}, nil)
	if err != nil {
		return err
	}
	if err := s.do(ctx, command, map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	for {
		var m struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := s.do(ctx, "query-migrate", nil, &m); err != nil {
			return err
		}
		switch m.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("%w: %s %s", errRefusedState, m.Status, m.Error)
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return context.Cause(ctx)
		}
	}
}
