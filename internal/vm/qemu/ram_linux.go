package qemu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// openGuestRAM opens the memory of a running machine, which its process holds as a sealed file in memory: what is read
// is what the guest has, and what is written it has.
func openGuestRAM(pid int, size int64) (*os.File, error) {
	dir := procFile(pid, "fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for the machine's memory: %w", err)
	}
	for _, fd := range fds {
		path := filepath.Join(dir, fd.Name())
		target, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(target, "/memfd:"+memfdName) {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("opening the machine's memory: %w", err)
		}
		if err := checkGuestRAM(f, size); err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
	return nil, errors.New("looking for the machine's memory: its process has none")
}

// checkGuestRAM makes sure that a process that may be hostile shows its memory and nothing else: a file of tmpfs, of
// the memory's size for good.
func checkGuestRAM(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil {
		return fmt.Errorf("looking at the machine's memory: %w", err)
	}
	const fixed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	if !info.Mode().IsRegular() || fs.Type != unix.TMPFS_MAGIC || info.Size() != size || seals&fixed != fixed {
		return fmt.Errorf("looking at the machine's memory: %d bytes of it are not the %d expected", info.Size(), size)
	}
	return nil
}

// nextData returns the first stretch of a file at or after pos that is no hole; size, size if there is none.
func nextData(f *os.File, pos, size int64) (start, end int64, err error) {
	start, err = unix.Seek(int(f.Fd()), pos, unix.SEEK_DATA)
	if errors.Is(err, syscall.ENXIO) || err == nil && start >= size {
		return size, size, nil
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, err
	}
	return start, min(end, size), nil
}

// punchHole gives back a stretch of a file, which reads as zeroes then.
func punchHole(f *os.File, at, n int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, n)
}

// bootID names the time between two starts of this host's kernel.
func bootID() string {
	f, err := os.Open("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// hostCPU describes the processor that a guest under KVM is shown.
func hostCPU() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return strconv.Itoa(os.Getpid()) // matches nothing
	}
	var model, flags string
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			flags = strings.TrimSpace(value)
		}
	}
	return model + ": " + flags
}
