package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// execute is `tart exec`: it runs a command as the guest agent would (rows 49-55).
func execute(ctx context.Context, h *home, a *arguments) error {
	name, argv := a.positionals[0], a.positionals[1:]
	m, err := h.open(name)
	if err != nil {
		return err
	}
	if m.holder() == 0 {
		return failA(2, `VM "%s" is not running`, name)
	}
	if a.flags["--tty"] && !term.IsTerminal(int(os.Stdout.Fd())) {
		return trap()
	}
	control, err := dialAgent(m, h.guest(name))
	if err != nil {
		return failA(1, "Failed to connect to the VM using its control socket: %v, is the Tart Guest Agent running?", err)
	}
	defer control.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // the machine's end ends the stream
		_, err := control.Read(make([]byte, 1))
		cancel(fmt.Errorf("unavailable (14): Transport became inactive: %w", err))
	}()
	if target, ok := h.ncTarget(m, argv); ok {
		err = bridge(ctx, target, a.flags["--interactive"])
	} else {
		err = runInGuest(ctx, m, argv, a.flags["--interactive"])
	}
	if cause := context.Cause(ctx); cause != nil {
		return failC("%v", cause)
	}
	_, _ = control.Write([]byte("."))
	return err
}

// trap dies as a Swift program does when it meets what it thought impossible (row 54).
func trap() error {
	fmt.Fprintln(os.Stderr, "tart/Exec.swift:99: Fatal error: Unexpectedly found nil while unwrapping an Optional value")
	// The Go runtime handles SIGTRAP itself, so that a shell has to die in its place.
	return syscall.Exec("/bin/sh", []string{"sh", "-c", "kill -TRAP $$"}, os.Environ())
}

// dialAgent waits for the guest agent as the gRPC client does: some 30 s (row 53).
func dialAgent(m machine, script guest) (net.Conn, error) {
	socketDir(m)
	deadline := time.Now().Add(seconds(30))
	for {
		conn, err := net.Dial("unix", "control.sock")
		if err == nil {
			buf := make([]byte, 3)
			greeting := deadline
			if !script.NoAgent && script.BootDelay == 0 {
				greeting = time.Now().Add(time.Minute) // it will come, however busy the host is
			}
			if err = conn.SetReadDeadline(greeting); err == nil {
				_, err = io.ReadFull(conn, buf)
			}
			if err == nil {
				return conn, conn.SetReadDeadline(time.Time{})
			}
			conn.Close()
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("deadlineExceeded(%w)", err)
		}
		time.Sleep(min(seconds(0.5), 50*time.Millisecond))
	}
}

// ncTarget tells where `nc 127.0.0.1 PORT` in the guest leads. Port 22 is the guest's own SSH server, or where the script
// says. Other ports are this computer's: what runs in the guest runs here.
func (h *home) ncTarget(m machine, argv []string) (string, bool) {
	if len(argv) < 3 || filepath.Base(argv[0]) != "nc" {
		return "", false
	}
	if port := argv[len(argv)-1]; port != "22" {
		return net.JoinHostPort("127.0.0.1", port), true
	}
	if t := h.guest(m.name).NCTarget; t != "" {
		return t, true
	}
	addr, err := os.ReadFile(m.file(guestSSH))
	return string(addr), err == nil
}

func bridge(ctx context.Context, target string, input bool) error {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return &failure{1, "nc: " + err.Error()}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if input {
		go func() {
			_, _ = io.Copy(conn, os.Stdin)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
	}
	_, _ = io.Copy(os.Stdout, conn)
	return nil
}

func runInGuest(ctx context.Context, m machine, argv []string, input bool) error {
	env, err := os.ReadFile(m.file(guestEnv))
	if err != nil {
		return failC("unknown (2): %v", err)
	}
	environ := strings.Split(string(env), "\x00")
	// The guest's user can empty its home, but not remove it.
	if err := os.MkdirAll(m.file(guestHome), 0o700); err != nil {
		return err
	}
	path, err := lookPath(argv[0], environ)
	if err != nil {
		return failC(`unknown (2): exec: "%s": executable file not found in $PATH`, argv[0])
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Dir, cmd.Env = m.file(guestHome), environ
	// Not the files themselves: the call returns when the guest's output reaches its end, not when the command does.
	cmd.Stdout, cmd.Stderr = struct{ io.Writer }{os.Stdout}, struct{ io.Writer }{os.Stderr}
	if input {
		cmd.Stdin = os.Stdin
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return &failure{code: 255}
	case errors.As(err, &exit):
		return &failure{code: exit.ExitCode()}
	}
	return failC("unknown (2): %v", err)
}

// lookPath finds a command in the guest's PATH.
func lookPath(name string, environ []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	i := slices.IndexFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
	if i < 0 {
		return "", exec.ErrNotFound
	}
	for _, dir := range filepath.SplitList(environ[i][len("PATH="):]) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}
