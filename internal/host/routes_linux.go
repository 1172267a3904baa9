package host

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// routes opens a socket on which the kernel tells of interfaces and addresses (rtnetlink).
func routes() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// changesNetwork says whether one of the messages tells of an interface or address that came, went or changed.
func changesNetwork(b []byte) bool {
	for len(b) >= unix.SizeofNlMsghdr {
		size := binary.NativeEndian.Uint32(b)
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR:
			return true
		}
		aligned := (uint64(size) + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
		if size < unix.SizeofNlMsghdr || aligned > uint64(len(b)) {
			return false
		}
		b = b[aligned:]
	}
	return false
}

func overrun(err error) bool { return errors.Is(err, unix.ENOBUFS) }
