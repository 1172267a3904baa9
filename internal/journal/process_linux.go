package journal

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// startTime returns field 22 (starttime, in clock ticks since boot) of /proc/PID/stat: proc(5). A zombie has ended.
func startTime(pid int) (int64, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// The second field is the command in parentheses, and may hold spaces and parentheses itself.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, false
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 20 || f[0][0] == 'Z' || f[0][0] == 'X' {
		return 0, false
	}
	t, err := strconv.ParseInt(string(f[19]), 10, 64)
	return t, err == nil
}
