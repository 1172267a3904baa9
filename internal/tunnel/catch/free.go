//go:build unix

package catch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// listener is a process that listens on a port.
type listener struct {
	pid  int // 0: one that cannot be seen from here
	name string
}

// Free ends the SSH servers that hold ports of the loopback for connections to the host that are no more: a server whose
// other end vanished without a word waits for it for hours, and the next connection cannot have its ports. Nothing but an
// SSH server is ended, and not the one this program was started over.
func Free(ports []uint16) error {
	found, err := listeners(ports)
	if err != nil || len(found) == 0 {
		return err
	}
	ours := ancestors(os.Getpid())
	begun := time.Now()
	for time.Since(begun) < freeTime {
		signal := syscall.SIGTERM
		if time.Since(begun) > freeTime/5 {
			signal = syscall.SIGKILL // it may be stopped
		}
		for _, l := range found {
			if l.pid == 0 || slices.Contains(ours, l.pid) {
				continue
			}
			if !strings.HasPrefix(l.name, "sshd") {
				return fmt.Errorf("process %d holds the port: %s", l.pid, l.name)
			}
			if err := syscall.Kill(l.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
		if found, err = listeners(ports); err != nil || len(found) == 0 {
			return err
		}
	}
	return errors.New("the ports are still taken")
}

const freeTime = 5 * time.Second

func ancestors(pid int) []int {
	var list []int
	for pid > 1 && len(list) < 64 {
		list = append(list, pid)
		var err error
		if pid, err = parent(pid); err != nil {
			break
		}
	}
	return list
}
