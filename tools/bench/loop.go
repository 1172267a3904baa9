package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/creack/pty"
)

const (
	fast, stock = "bench", "bench-stock"
	// stockImage is Debian as its packages leave it: own initrd, full systemd.
	stockImage = "debian-12-stock"
	boots      = 3
)

// loop measures the way around: boot, launch, artifact, rollback, and what the agent costs meanwhile.
func loop(ctx context.Context, b *bench) (err error) {
	c, err := newCAL(b)
	if err != nil {
		return err
	}
	var made []string
	defer func() { err = errors.Join(err, c.remove(made...)) }()
	for _, w := range []struct{ name, image string }{{fast, ""}, {stock, stockImage}} {
		if err := c.create(ctx, w.name, w.image); err != nil {
			return err
		}
		made = append(made, w.name)
	}
	for _, measure := range []func(context.Context, *bench, *cal) error{
		measureBoot, measureLaunch, measureStatus, measureAgent, measureRollback,
	} {
		if err := measure(ctx, b, c); err != nil {
			return err
		}
	}
	return nil
}

func (c *cal) create(ctx context.Context, name, image string) error {
	env := c.env
	defer func() { c.env = env }()
	if image != "" {
		c.env = append(append([]string(nil), env...), "CAL_VM_BASE_IMAGE="+image)
	}
	_, _, err := c.run(ctx, "new", name)
	return err
}

// boot starts a stopped workspace and returns its boot in seconds.
func (c *cal) boot(ctx context.Context, name string) (float64, error) {
	if _, _, err := c.run(ctx, "start", name); err != nil {
		return 0, err
	}
	events, err := c.journal(ctx, name)
	if err != nil {
		return 0, err
	}
	took, err := bootToSSH(events)
	return took.Seconds(), err
}

// measureBoot boots both guests in turns, so that the machine's moods meet both.
func measureBoot(ctx context.Context, b *bench, c *cal) error {
	seconds := map[string][]float64{}
	for range boots {
		for _, name := range []string{fast, stock} {
			took, err := c.boot(ctx, name)
			if err != nil {
				return err
			}
			seconds[name] = append(seconds[name], took)
			if _, _, err := c.run(ctx, "stop", name); err != nil {
				return err
			}
		}
	}
	b.add(Figure{
		Name: "boot to SSH", Value: median(seconds[fast]), Unit: "s", Target: &Target{Max: 0.45, OfRatio: true},
		Note: spread(seconds[fast]) + "; peer " + spread(seconds[stock]),
	}.against("stock Debian", median(seconds[stock])))
	return nil
}

// measureLaunch opens sessions as the menu's Launch does and types into them, the guest stopped and then running.
func measureLaunch(ctx context.Context, b *bench, c *cal) error {
	for _, state := range []string{"stopped", "running"} {
		took, err := c.launch(ctx, fast)
		if err != nil {
			return fmt.Errorf("launching with the VM %s: %w", state, err)
		}
		b.add(Figure{
			Name: "launch to prompt, VM " + state, Value: took.Seconds(), Unit: "s",
			Note: "to the first answer of the shell in the session; one run",
		})
	}
	return nil
}

// launch opens a session and returns when a shell in it has answered.
func (c *cal) launch(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := c.command(ctx, "session", name, "--yes")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	began := time.Now()
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		return 0, fmt.Errorf("opening a session: %w", err)
	}
	defer terminal.Close()
	answered := make(chan struct{})
	said := make(chan []byte, 1)
	go func() {
		var seen []byte
		found := false
		buffer := make([]byte, 4096)
		for {
			n, err := terminal.Read(buffer)
			seen = append(seen, buffer[:n]...)
			seen = seen[max(0, len(seen)-64<<10):]
			if !found && bytes.Contains(seen, []byte("READY-42")) {
				found = true
				close(answered)
			}
			if err != nil { // the session has closed its side
				said <- seen
				return
			}
		}
	}()
	// Nobody can tell from outside when a prompt is there, so a line is typed again and again; what it prints differs
	// from what is typed.
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	took := time.Duration(0)
	for took == 0 {
		select {
		case <-answered:
			took = time.Since(began)
		case <-again.C:
			if _, err := terminal.WriteString("echo READY-$((6*7))\r"); err != nil && ctx.Err() == nil {
				return 0, errors.Join(fmt.Errorf("typing into the session: %w", err), cmd.Wait())
			}
		case seen := <-said:
			return 0, errors.Join(fmt.Errorf("the session ended: %s", lastLines(string(seen), 5)), cmd.Wait())
		case <-ctx.Done():
			return 0, errors.Join(context.Cause(ctx), cmd.Wait())
		}
	}
	// Closing the window leaves the session's agent running; exec ends it, so that the next one begins anew.
	if _, _, err := c.run(ctx, "exec", name, "--no-tty", "--", "tmux", "-L", "cal", "kill-server"); err != nil {
		fmt.Fprintf(c.log, "  (ending the session: %v)\n", err)
	}
	cancel()
	_ = cmd.Wait() // it was interrupted
	return took, nil
}

func measureStatus(ctx context.Context, b *bench, c *cal) error {
	var ms []float64
	for range 20 {
		_, took, err := c.run(ctx, "status", fast, "--json")
		if err != nil {
			return err
		}
		ms = append(ms, float64(took.Microseconds())/1000)
	}
	b.add(Figure{Name: "status --json", Value: median(ms), Unit: "ms", Target: &Target{Max: 50}, Note: spread(ms)})
	return nil
}

// measureAgent runs the agent headless beside the running guest: what it costs idle, and how soon an artifact lands.
func measureAgent(ctx context.Context, b *bench, c *cal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	agent := c.command(ctx)
	if err := agent.Start(); err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	defer func() {
		cancel()
		_ = agent.Wait() // it was interrupted
	}()
	var landed []float64
	for i := range 5 {
		took, err := c.land(ctx, fmt.Sprintf("artifact-%d.bin", i))
		if err != nil {
			return err
		}
		if i > 0 { // the first waits for the agent's connection to the guest
			landed = append(landed, float64(took.Microseconds())/1000)
		}
	}
	b.add(Figure{Name: "file closed in guest to landed", Value: median(landed), Unit: "ms", Note: spread(landed)})
	return measureIdle(ctx, b, agent.Process.Pid, time.Minute)
}

// land has the guest write a file and returns how long after its closing it is on the host.
func (c *cal) land(ctx context.Context, file string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := c.command(ctx, "exec", fast, "--no-tty", "--", "sh", "-c",
		`head -c 65536 /dev/urandom > ~/output/"$1" && echo closed`, "sh", file)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("writing in the guest: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("writing in the guest: %w", err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	closed := time.Now()
	if err := cmd.Wait(); err != nil || line != "closed\n" {
		return 0, fmt.Errorf("writing in the guest: %w", errors.Join(err, readErr))
	}
	path := filepath.Join(c.dir, "landed", fast, file)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		// Its time there is when it was put under this name, also if that was before this look.
		if info, err := os.Lstat(path); err == nil {
			return max(changed(info).Sub(closed), 0), nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for %s to land: %w", file, context.Cause(ctx))
		}
	}
}

func measureRollback(ctx context.Context, b *bench, c *cal) error {
	if _, _, err := c.run(ctx, "snapshot", "create", fast, "--name", "bench"); err != nil {
		return err
	}
	began := time.Now()
	if _, _, err := c.run(ctx, "rollback", fast, "--to", "bench", "--yes"); err != nil {
		return err
	}
	if _, _, err := c.run(ctx, "exec", fast, "--no-tty", "--", "true"); err != nil {
		return err
	}
	b.add(Figure{
		Name: "rollback to SSH", Value: time.Since(began).Seconds(), Unit: "s",
		Note: "to the end of a command in the guest that ran before; one run",
	})
	return nil
}
