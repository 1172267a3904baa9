package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/creack/pty"
)

// measureLaunch opens sessions as the menu's Launch does: with the VM stopped, and with it running in turns with OpenSSH.
func measureLaunch(ctx context.Context, b *bench, c *cal) error {
	var stopped, running, peer []float64
	for range b.runs {
		took, err := openSession(ctx, c.terminalCommand(ctx, "session", fast, "--yes"))
		if err != nil {
			return fmt.Errorf("launching, VM stopped: %w", err)
		}
		stopped = append(stopped, took.Seconds())
		b.progress("launch, VM stopped: %.1f s", took.Seconds())
		if took, err = openSession(ctx, c.terminalCommand(ctx, "session", fast, "--yes")); err != nil {
			return fmt.Errorf("launching, VM running: %w", err)
		}
		running = append(running, took.Seconds())
		guest, err := c.openSSH(ctx, fast)
		if err != nil {
			return err
		}
		if took, err = openSession(ctx, guest.command(ctx, []string{"-t"})); err != nil {
			return fmt.Errorf("logging in by ssh: %w", err)
		}
		peer = append(peer, took.Seconds())
		b.progress("launch, VM running: %.1f s, ssh: %.1f s", running[len(running)-1], took.Seconds())
		if _, _, err := c.run(ctx, "stop", fast); err != nil {
			return err
		}
	}
	b.add(Figure{
		Name: "launch to prompt, VM stopped", Value: median(stopped), Unit: "s",
		Note: spread(stopped) + "; boot, isolation checks and session snapshot are in it",
	})
	b.add(Figure{
		Name: "launch to prompt, VM running", Value: median(running), Unit: "s",
		Note: spread(running) + "; session snapshot and tmux are in it; peer " + spread(peer) + ", a bare login shell",
	}.against("ssh -t", median(peer)))
	return nil
}

// terminalCommand is CALMenu for a terminal.
func (c *cal) terminalCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := c.command(ctx, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	return cmd
}

// openSession starts a program on a terminal, returns how long it took until a guest's shell showed its prompt, and ends
// that shell.
func openSession(ctx context.Context, cmd *exec.Cmd) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	began := time.Now()
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		return 0, fmt.Errorf("opening a terminal: %w", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // what it ends with is the shell's business
	defer func() {
		_ = terminal.Close()
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		<-ended
	}()
	prompt := make(chan time.Duration, 1)
	read := make(chan []byte, 1)
	go func() { read <- watchScreen(terminal, began, prompt) }()
	var took time.Duration
	select {
	case took = <-prompt:
	case seen := <-read:
		return 0, fmt.Errorf("the session ended before a prompt: %s", lastLines(string(escapes.ReplaceAll(seen, nil)), 5))
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for a prompt: %w", context.Cause(ctx))
	}
	if _, err := terminal.WriteString("exit\r"); err != nil {
		return 0, fmt.Errorf("ending the shell: %w", err)
	}
	select {
	case <-read: // the program has let go of the terminal
	case <-ctx.Done():
		return 0, fmt.Errorf("ending the shell: %w", context.Cause(ctx))
	}
	return took, nil
}

// watchScreen reads a terminal until its end and tells once when a prompt was first on it. It returns the last it read.
func watchScreen(terminal *os.File, began time.Time, prompt chan<- time.Duration) []byte {
	const keep = 64 << 10
	var seen []byte
	found := false
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		seen = append(seen, buffer[:n]...)
		seen = seen[max(0, len(seen)-keep):]
		if !found && hasPrompt(seen) {
			found = true
			prompt <- time.Since(began)
		}
		if err != nil {
			return seen
		}
	}
}

var (
	// escapes are titles (OSC) and everything else (CSI, charsets) that moves or colours text (ECMA-48, xterm's ctlseqs).
	escapes = regexp.MustCompile(`\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]`)
	// shellPrompt is Debian's: user@host:directory$.
	shellPrompt = regexp.MustCompile(`admin@[a-z0-9-]+:[~/][^\r\n$]*\$`)
)

// hasPrompt tells whether a shell's prompt is in what was written to a terminal.
func hasPrompt(screen []byte) bool { return shellPrompt.Match(escapes.ReplaceAll(screen, nil)) }
