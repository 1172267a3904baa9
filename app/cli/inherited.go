package cli

import (
	"os"
	"strconv"
	"syscall"
)

// keepInherited has no other program inherit the files this one was started with besides its streams. A machine and the process
// that looks after it outlive the shell: a lock or the end of a pipe that it had open would be held as long as they run.
func keepInherited() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return // without it there is no knowing, and nothing else that suffers
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
