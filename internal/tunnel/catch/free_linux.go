package catch

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listeners are the processes that listen on ports of the loopback.
func listeners(ports []uint16) ([]listener, error) {
	inodes, err := listening(ports)
	if err != nil || len(inodes) == 0 {
		return nil, err
	}
	found := []listener{{}} // whoever else
	for _, pid := range holders(inodes) {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		found = append(found, listener{pid, strings.TrimSpace(string(name))})
	}
	return found, nil
}

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

func parent(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name is in parentheses and may hold anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	w := strings.Fields(rest)
	if len(w) < 2 {
		return 0, fmt.Errorf("process %d has no parent: %q", pid, stat)
	}
	return strconv.Atoi(w[1])
}
