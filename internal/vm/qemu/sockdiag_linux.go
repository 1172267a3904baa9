package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes and offsets of sock_diag(7): inet_diag_req_v2 and inet_diag_msg.
const (
	diagRequestSize = 56
	diagSourcePort  = 4
	diagSourceAddr  = 8
	diagInode       = 68
	diagMessageSize = 72
	tcpListen       = 10 // TCP_LISTEN, net/tcp_states.h
)

// listeningSockets returns the addresses of listening TCP sockets among inodes. It asks the kernel for those alone: its
// text tables (/proc/PID/net/tcp) cost a walk over every bucket for connections, milliseconds on a machine with much
// memory. The question is about this process's network, so a process in another one is looked up in the tables.
func listeningSockets(pid int, inodes map[string]bool) ([]string, error) {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	if theirs, err := os.Readlink(procFile(pid, "ns/net")); err != nil || theirs != own {
		return listeningInTables(pid, inodes)
	}
	var all []string
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		found, err := diagnose(family, inodes)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPROTONOSUPPORT) {
			return listeningInTables(pid, inodes) // a kernel without tcp_diag
		}
		if err != nil {
			return nil, fmt.Errorf("asking for listening sockets: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func listeningInTables(pid int, inodes map[string]bool) ([]string, error) {
	var all []string
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(procFile(pid, "net/"+table))
		if os.IsNotExist(err) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		all = append(all, listening(string(text), inodes)...)
	}
	return all, nil
}

// diagnose asks the kernel for the listening TCP sockets of one address family.
func diagnose(family uint8, inodes map[string]bool) ([]string, error) {
	request := make([]byte, diagRequestSize)
	request[0], request[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request[4:], 1<<tcpListen)
	var all []string
	err := dumpSockets(request, func(message []byte) {
		inode, address, ok := diagnosed(message)
		if ok && inodes[inode] {
			all = append(all, address)
		}
	})
	return all, err
}

// dumpSockets asks the kernel for sockets and hands over the message about each.
func dumpSockets(question []byte, each func(message []byte)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	deadline := unix.NsecToTimeval(int64(2 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &deadline); err != nil {
		return err
	}
	request := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(question))
	binary.NativeEndian.PutUint32(request[0:], uint32(cap(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = append(request, question...)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 32<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				return netlinkError(m.Data)
			}
			each(m.Data)
		}
	}
}

// netlinkError is the errno, negative, that a message of type NLMSG_ERROR begins with.
func netlinkError(data []byte) error {
	if len(data) < 4 {
		return unix.EBADMSG
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
}

// diagnosed reads an inet_diag_msg: the socket's inode and local address.
func diagnosed(m []byte) (inode, address string, ok bool) {
	if len(m) < diagMessageSize {
		return "", "", false
	}
	size := net.IPv4len
	if m[0] == unix.AF_INET6 {
		size = net.IPv6len
	}
	ip := net.IP(m[diagSourceAddr : diagSourceAddr+size])
	port := binary.BigEndian.Uint16(m[diagSourcePort:])
	inode = strconv.FormatUint(uint64(binary.NativeEndian.Uint32(m[diagInode:])), 10)
	return inode, net.JoinHostPort(ip.String(), strconv.Itoa(int(port))), true
}
