package config

import "golang.org/x/sys/unix"

// hostMemory returns the host's memory in MiB, 0 if the system does not tell.
func hostMemory() int {
	bytes, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int(bytes >> 20)
}
