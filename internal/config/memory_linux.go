package config

import "golang.org/x/sys/unix"

// hostMemory returns the host's memory in MiB, 0 if the system does not tell.
func hostMemory() int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int(uint64(info.Totalram) * uint64(info.Unit) >> 20)
}
