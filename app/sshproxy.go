package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

const (
	// proxyBuffer is how much is carried at a time between ssh(1) and the guest.
	proxyBuffer = 256 << 10
	// proxyLinger is how long a guest may go on after ssh(1) has said its last word. ssh(1) closes both directions at
	// once, so this only ends what a guest that stands still would keep.
	proxyLinger = 5 * time.Second
)

// SSHProxy carries bytes between in and out and the SSH server of a running guest until either side ends, or ctx does,
// which is how ssh(1) ends its ProxyCommand and no error. With start, a VM that does not run is started.
func (a *App) SSHProxy(ctx context.Context, name string, in io.Reader, out io.Writer, start bool, p vm.Progress) error {
	w, err := a.Config().Workspace(name)
	if err != nil {
		return err
	}
	m, err := a.Driver.Machine(ctx, w.Name)
	if start && (err == nil && !m.Running || errors.Is(err, vm.ErrNotFound)) {
		if err := a.Start(ctx, w.Name, p); err != nil {
			return err
		}
		m, err = a.Driver.Machine(ctx, w.Name)
	}
	if err == nil && !m.Running {
		err = vm.ErrNotRunning
	}
	if err != nil {
		return notRunning(w.Name, err)
	}
	dialCtx, cancel := context.WithTimeout(ctx, a.bootTime()) // it may still be booting
	conn, err := a.Driver.DialSSH(dialCtx, w.Name)
	cancel()
	if err != nil {
		return hint.Wrap(fmt.Errorf("connecting to %q: %w", w.Name, err), "`CALMenu logs` shows its console.")
	}
	return carry(ctx, conn, in, out)
}

// carry copies both ways and closes conn. It does not wait for a reader or writer that cannot be interrupted.
func carry(ctx context.Context, conn net.Conn, in io.Reader, out io.Writer) error {
	defer conn.Close()
	go func() {
		// Bare interfaces: a file's own way of copying takes smaller buffers.
		_, err := io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{in}, make([]byte, proxyBuffer))
		if err != nil {
			_ = conn.Close()
			return
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // where it cannot be told, the guest is not
		}
		time.AfterFunc(proxyLinger, func() { _ = conn.Close() })
	}()
	ended := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{conn}, make([]byte, proxyBuffer))
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) {
			return nil
		}
		return fmt.Errorf("carrying the connection: %w", err)
	case <-ctx.Done():
		return nil
	}
}
