package main

import (
	"context"
	"fmt"
	"time"
)

const (
	settling = 15 * time.Second // for the agent to connect, look around and be done with it
	idling   = time.Minute
)

// measureIdle runs the agent headless beside the running guest and watches what it costs while nothing happens.
func measureIdle(ctx context.Context, b *bench, c *cal) error {
	end, pid, err := c.startAgent(ctx)
	if err != nil {
		return err
	}
	defer end()
	b.progress("watching the idle agent for %s", idling)
	if err := wait(ctx, settling); err != nil {
		return err
	}
	percent, mb, err := watchProcess(ctx, pid, idling)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("headless agent with one VM running and its periodic isolation checks, over %s", idling)
	b.add(Figure{
		Name: "idle agent, processor", Value: percent, Unit: "%", Target: &Target{Max: 0.1},
		Note: note + "; utime + stime, in steps of 10 ms",
	})
	b.add(Figure{Name: "idle agent, memory", Value: mb, Unit: "MB", Target: &Target{Max: 40}, Note: note + "; VmRSS"})
	return nil
}

// startAgent starts the agent, with further environment, and returns what ends it and waits for that.
func (c *cal) startAgent(ctx context.Context, env ...string) (end func(), pid int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	agent := c.command(ctx)
	agent.Env = append(append([]string(nil), c.env...), env...)
	if err := agent.Start(); err != nil {
		cancel()
		return nil, 0, fmt.Errorf("starting the agent: %w", err)
	}
	return func() {
		cancel()
		_ = agent.Wait() // it was interrupted
	}, agent.Process.Pid, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
