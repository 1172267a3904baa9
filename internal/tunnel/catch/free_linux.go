package catch

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Free ends the SSH servers that hold ports of the loopback for connections to the host that are no more: a server whose
// other end vanished without a word waits for it for hours, and the next connection cannot have its ports. Nothing but an
// SSH server is ended, and not the one this program was started over.
func Free(ports []uint16) error {
	inodes, err := listening(ports)
	if err != nil || len(inodes) == 0 {
		return err
	}
	ours := ancestors(os.Getpid())
	begun := time.Now()
	for time.Since(begun) < freeTime {
		signal := syscall.SIGTERM
		if time.Since(begun) > freeTime/5 {
			signal = syscall.SIGKILL // it may be stopped
		}
		for _, pid := range holders(inodes) {
			if slices.Contains(ours, pid) {
				continue
			}
			if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); !strings.HasPrefix(string(name), "sshd") {
				return fmt.Errorf("process %d holds the port: %s", pid, strings.TrimSpace(string(name)))
			}
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
		if inodes, err = listening(ports); err != nil || len(inodes) == 0 {
			return err
		}
	}
	return errors.New("the ports are still taken")
}

const freeTime = 5 * time.Second

// listening are the inodes of sockets that listen on ports of the loopback.
func listening(ports []uint16) (map[string]bool, error) {
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		const listen = "0A"
		if len(w) < 10 || w[3] != listen {
			continue
		}
		_, text, _ := strings.Cut(w[1], ":")
		if port, err := strconv.ParseUint(text, 16, 16); err == nil && slices.Contains(ports, uint16(port)) {
			found[w[9]] = true
		}
	}
	return found, lines.Err()
}

// holders are the processes that have one of the sockets.
func holders(inodes map[string]bool) []int {
	var pids []int
	all, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range all {
		to, err := os.Readlink(fd)
		inode, ok := strings.CutPrefix(to, "socket:[")
		if err != nil || !ok || !inodes[strings.TrimSuffix(inode, "]")] {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(fd, "/")[2])
		if err == nil && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func ancestors(pid int) []int {
	var list []int
	for pid > 1 && len(list) < 64 {
		list = append(list, pid)
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		// The name is in parentheses and may hold anything.
		_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		w := strings.Fields(rest)
		if len(w) < 2 {
			break
		}
		if pid, err = strconv.Atoi(w[1]); err != nil {
			break
		}
	}
	return list
}
