package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine says what the figures were measured on.
func machine(ctx context.Context) string {
	parts := []string{fmt.Sprintf("%d x %s", runtime.NumCPU(), processor())}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if kb, err := strconv.ParseFloat(strings.TrimSuffix(field(string(text), "MemTotal"), " kB"), 64); err == nil {
			parts = append(parts, fmt.Sprintf("%.1f GiB", kb/(1<<20)))
		}
	}
	parts = append(parts, output(ctx, runtime.GOOS, "uname", "-sr"))
	if version := output(ctx, "", "qemu-system-x86_64", "--version"); version != "" {
		parts = append(parts, version)
	}
	parts = append(parts, runtime.Version())
	if l, err := os.ReadFile("/proc/loadavg"); err == nil {
		parts = append(parts, "load "+strings.Join(strings.Fields(string(l))[:3], " "))
	}
	return strings.Join(append(parts, time.Now().UTC().Format(time.RFC3339)), ", ")
}

func processor() string {
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := field(string(text), "model name"); model != "" {
			return model
		}
	}
	return runtime.GOARCH
}

// field returns the first value of a name in the "name : value" lines of /proc.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if n, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(n) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// output returns the first line a program prints, or otherwise.
func output(ctx context.Context, otherwise, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return otherwise
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// accelerator tells how a machine's process runs its guest, from the process's command line.
func accelerator(commandLine string) string {
	fields := strings.Fields(commandLine)
	for i, f := range fields {
		if f == "-accel" && i+1 < len(fields) {
			return "accel " + fields[i+1]
		}
	}
	return "accel unknown"
}
