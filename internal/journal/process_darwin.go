package journal

import "golang.org/x/sys/unix"

// startTime returns the start time of a process in microseconds since 1970, from sysctl kern.proc.pid.
func startTime(pid int) (int64, bool) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(k.Proc.P_pid) != pid {
		return 0, false
	}
	t := k.Proc.P_starttime
	return t.Sec*1_000_000 + int64(t.Usec), true
}
