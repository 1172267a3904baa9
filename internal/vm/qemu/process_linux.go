package qemu

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// clockTicks is USER_HZ, in which /proc counts time: 100 on every architecture Go knows (proc(5)).
const clockTicks = 100

// socketAddress is the name of a socket in an open directory, short however deep that lies.
func socketAddress(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// dieWithParent makes a child end when its parent does, however that ends.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// peerProcess returns the process that listens at the other end.
func peerProcess(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Pid), nil
}

// processAt returns the process that works in dir and was told of a monitor there; fs.ErrNotExist: there is none.
func processAt(dir string) (process, error) {
	home, err := os.Stat(dir)
	if err != nil {
		return process{}, err
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return process{}, err
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if cwd, err := os.Stat(procFile(pid, "cwd")); err != nil || !os.SameFile(cwd, home) {
			continue // another's, of whom nothing may be read, or one that works elsewhere
		}
		if p, err := processFacts(pid); err == nil && slices.Contains(p.argv, monitorArg) {
			return p, nil
		}
	}
	return process{}, os.ErrNotExist
}

// processFacts reads a process from /proc.
func processFacts(pid int) (process, error) {
	p := process{pid: pid}
	text, err := os.ReadFile(procFile(pid, "cmdline"))
	if err != nil {
		return process{}, err
	}
	if len(text) == 0 { // it has ended and waits for its parent
		return process{}, os.ErrNotExist
	}
	p.argv = strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return process{}, err
	}
	boot, err := os.ReadFile("/proc/stat")
	if err != nil {
		return process{}, err
	}
	p.started = startTime(stat, boot)
	return p, nil
}

// startTime computes when a process started from /proc/PID/stat (field 22, ticks since boot) and /proc/stat (btime);
// zero if they do not say.
func startTime(stat, boot []byte) time.Time {
	_, after, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := bytes.Fields(after)
	if !ok || len(fields) < 20 {
		return time.Time{}
	}
	ticks, err := strconv.ParseInt(string(fields[19]), 10, 64)
	if err != nil {
		return time.Time{}
	}
	for line := range bytes.Lines(boot) {
		if value, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			seconds, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil {
				return time.Time{}
			}
			return time.Unix(seconds, 0).Add(time.Duration(ticks) * time.Second / clockTicks)
		}
	}
	return time.Time{}
}

// processRuns tells whether a process exists and has not ended; one that waits for its parent to notice has ended.
func processRuns(pid int) bool {
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	return len(after) > 0 && after[0] != 'Z' && after[0] != 'X'
}

// listeners returns the TCP addresses a process accepts connections on.
func listeners(pid int) ([]string, error) {
	inodes, err := socketInodes(pid)
	if err != nil {
		return nil, err
	}
	return listeningSockets(pid, inodes)
}

// socketInodes returns the inodes of a process's sockets.
func socketInodes(pid int) (map[string]bool, error) {
	fds, err := os.ReadDir(procFile(pid, "fd"))
	if err != nil {
		return nil, err
	}
	inodes := map[string]bool{}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(procFile(pid, "fd"), fd.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes, nil
}

// effectiveUID returns whom a process runs as.
func effectiveUID(pid int) (int, error) {
	info, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(info)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "Uid:" {
			return strconv.Atoi(fields[2])
		}
	}
	return 0, syscall.ENODATA
}

func procFile(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }
