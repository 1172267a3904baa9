package main

import (
	"context"
	"syscall"
	"time"
)

// stop is a power cut (rows 35-38): SIGINT, a wait for the lock, SIGKILL without a wait.
func stop(_ context.Context, h *home, a *arguments) error {
	timeout, err := a.number("--timeout", "30")
	if err != nil {
		return err
	}
	m, err := h.open(a.positionals[0])
	if err != nil {
		return err
	}
	switch m.state() {
	case "stopped":
		return failA(2, `VM "%s" is not running`, m.name)
	case "suspended":
		return removeIfThere(m.file(savedState))
	}
	pid := m.holder()
	if pid == 0 {
		return failA(2, `VM "%s" is not running`, m.name)
	}
	_ = syscall.Kill(pid, syscall.SIGINT)
	for end := time.Now().Add(seconds(float64(timeout))); time.Now().Before(end); {
		if m.holder() == 0 {
			return nil
		}
		time.Sleep(min(seconds(0.1), 100*time.Millisecond))
	}
	if m.holder() == pid {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return nil
}

// suspend returns at once; what comes of it shows in the process that runs the machine (rows 56-58).
func suspend(_ context.Context, h *home, a *arguments) error {
	m, err := h.open(a.positionals[0])
	if err != nil {
		return err
	}
	pid := m.holder()
	if pid == 0 {
		return failA(2, `VM "VM "%s" is not running" is not running`, m.name)
	}
	return syscall.Kill(pid, syscall.SIGUSR1)
}
