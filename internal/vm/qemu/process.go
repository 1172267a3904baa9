package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// process is a machine's running QEMU, or the zero value.
type process struct {
	pid     int
	started time.Time
	argv    []string
}

// monitorArg is what QEMU is told of its monitor, relative to the machine's directory, in which it works.
const monitorArg = "unix:" + runDir + "/" + socketFile + ",server=on,wait=off"

// queueTime is how long a place in the queue for a monitor is waited for by somebody who only asks who is behind it.
const queueTime = 100 * time.Millisecond

// findProcess finds the QEMU of the machine in dir by its monitor socket: if it accepts a connection, the process
// behind it runs, whoever started it. A socket file whose process is gone refuses. One whose queue stays full has a process
// too, which stands still or serves a client for long: that is looked for by where it works and what it was told.
func findProcess(ctx context.Context, dir string) (process, error) {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	soon, stopWaiting := context.WithTimeout(ctx, queueTime)
	defer stopWaiting()
	conn, err := dialMonitor(soon, dir)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		if p, err := processAt(dir); err == nil {
			return p, nil
		}
		conn, err = dialMonitor(ctx, dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return process{}, nil
	case err != nil:
		return process{}, fmt.Errorf("looking for its process: %w", err)
	}
	defer conn.Close()
	pid, err := peerProcess(conn)
	if err != nil {
		return process{}, fmt.Errorf("looking for its process: %w", err)
	}
	p, err := processFacts(pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return process{}, nil // it ended meanwhile
	}
	return p, err
}

// dialMonitor connects to the machine's monitor.
func dialMonitor(ctx context.Context, dir string) (*net.UnixConn, error) {
	return dialQEMU(ctx, dir, socketFile)
}

// dialQEMU connects to a socket that QEMU serves. The address goes through a descriptor of the directory: a socket's path
// may have 107 bytes, a CAL_HOME more. While another client waits, QEMU's queue (of one) can be full.
func dialQEMU(ctx context.Context, dir, socket string) (*net.UnixConn, error) {
	run, err := os.Open(filepath.Join(dir, runDir))
	if err != nil {
		return nil, err
	}
	defer run.Close()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", socketAddress(run, socket))
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// awaitEnd waits until a process has ended.
func awaitEnd(ctx context.Context, pid int) error {
	for processRuns(pid) {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
