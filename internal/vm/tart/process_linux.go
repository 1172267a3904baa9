package tart

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// processArgs is a process's argument vector.
func processArgs(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00"), nil
}

// processUID is the user a process runs as.
func processUID(pid int) (int, error) {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return 0, err
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}

// hostVersion is the release of macOS; there is none.
func hostVersion() string { return "" }
