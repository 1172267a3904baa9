package host

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// routes opens a socket on which the kernel tells of interfaces and addresses (route(4)).
func routes() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "route"), nil
}

// changesNetwork says whether the message tells of an interface or address that came, went or changed. Every message
// begins with its length (two bytes), version and type; routes alone come and go all the time.
func changesNetwork(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	switch b[3] {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_IFINFO:
		return true
	}
	return false
}

func overrun(err error) bool { return errors.Is(err, unix.ENOBUFS) }

// watchSystem has nothing to watch: sleep, lock and power are told to programs with a run loop (app/shell).
func watchSystem(context.Context, func(string) string, func(Event)) error { return nil }
