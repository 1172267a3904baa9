package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks is how many a second /proc counts processor time in: USER_HZ, which is 100 wherever Go runs on Linux.
const ticks = 100

// processorTime returns what a process has used, in seconds, by its line in /proc/PID/stat (proc(5)).
func processorTime(stat string) (float64, error) {
	// The program's name, in parentheses, may hold anything; after it field 3 begins.
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) < 13 {
		return 0, errors.New("reading processor time: /proc/PID/stat is not as proc(5) has it")
	}
	var sum float64
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading processor time: %w", err)
		}
		sum += float64(n)
	}
	return sum / ticks, nil
}

// residentMB returns the memory of a process in MB (of 1024 kB), by /proc/PID/status.
func residentMB(status string) (float64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			if err != nil {
				return 0, fmt.Errorf("reading memory: %w", err)
			}
			return kb / 1024, nil
		}
	}
	return 0, errors.New("reading memory: /proc/PID/status has no VmRSS")
}

// measureIdle watches a process for d.
func measureIdle(ctx context.Context, b *bench, pid int, d time.Duration) error {
	used := func() (float64, error) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("the agent has ended: %w", err)
		}
		return processorTime(string(stat))
	}
	before, err := used()
	if err != nil {
		return err
	}
	watch := time.NewTimer(d)
	defer watch.Stop()
	select {
	case <-watch.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	after, err := used()
	if err != nil {
		return err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return fmt.Errorf("reading memory: %w", err)
	}
	mb, err := residentMB(string(status))
	if err != nil {
		return err
	}
	note := fmt.Sprintf("headless agent, one VM running, over %s", d)
	b.add(Figure{
		Name: "idle agent, processor", Value: 100 * (after - before) / d.Seconds(), Unit: "%", Target: &Target{Max: 0.1}, Note: note,
	})
	b.add(Figure{Name: "idle agent, memory", Value: mb, Unit: "MB", Target: &Target{Max: 40}, Note: note})
	return nil
}

// changed returns when a file got its name or its content, whichever was later.
func changed(info fs.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Ctim.Unix())
	}
	return info.ModTime()
}
