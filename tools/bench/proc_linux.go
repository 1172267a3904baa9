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

// usedBy returns what a process has used so far, in seconds.
func usedBy(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading processor time: %w", err)
	}
	return processorTime(string(stat))
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

// watchProcess returns the processor time a process uses in d, in percent of d, and its memory then, in MB.
func watchProcess(ctx context.Context, pid int, d time.Duration) (percent, mb float64, err error) {
	before, err := usedBy(pid)
	if err != nil {
		return 0, 0, err
	}
	if err := wait(ctx, d); err != nil {
		return 0, 0, err
	}
	after, err := usedBy(pid)
	if err != nil {
		return 0, 0, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading memory: %w", err)
	}
	mb, err = residentMB(string(status))
	return 100 * (after - before) / d.Seconds(), mb, err
}

// changed returns when a file got its name or its content, whichever was later.
func changed(info fs.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Ctim.Unix())
	}
	return info.ModTime()
}
