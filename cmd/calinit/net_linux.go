package main

import (
	"fmt"
	"syscall"
	"unsafe"
)

// QEMU's user network always has these addresses; there is no server to ask for them when the network is restricted.
var (
	loopback = [4]byte{127, 0, 0, 1}
	address  = [4]byte{10, 0, 2, 15}
	netmask  = [4]byte{255, 255, 255, 0}
	gateway  = [4]byte{10, 0, 2, 2}
)

// ifreq is struct ifreq of netdevice(7) on amd64.
type ifreq struct {
	name [16]byte
	data [24]byte
}

// rtentry is struct rtentry of <linux/route.h> on amd64, as bytes: three sockaddr at 8, 24 and 40, flags at 56.
type rtentry [120]byte

// configureNetwork brings up lo and eth0 with ioctls, which need no program of the guest.
func configureNetwork() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	steps := []struct {
		what    string
		request uintptr
		arg     unsafe.Pointer
	}{
		{"lo address", syscall.SIOCSIFADDR, addressRequest("lo", loopback)},
		{"lo up", syscall.SIOCSIFFLAGS, upRequest("lo")},
		{"eth0 address", syscall.SIOCSIFADDR, addressRequest("eth0", address)},
		{"eth0 netmask", syscall.SIOCSIFNETMASK, addressRequest("eth0", netmask)},
		{"eth0 up", syscall.SIOCSIFFLAGS, upRequest("eth0")},
		{"default route", syscall.SIOCADDRT, defaultRoute(gateway)},
	}
	for _, s := range steps {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), s.request, uintptr(s.arg)); errno != 0 {
			return fmt.Errorf("%s: %w", s.what, errno)
		}
	}
	return nil
}

func addressRequest(name string, ip [4]byte) unsafe.Pointer {
	var r ifreq
	copy(r.name[:], name)
	r.data[0] = syscall.AF_INET
	copy(r.data[4:], ip[:])
	return unsafe.Pointer(&r)
}

func upRequest(name string) unsafe.Pointer {
	var r ifreq
	copy(r.name[:], name)
	r.data[0] = syscall.IFF_UP | syscall.IFF_RUNNING
	return unsafe.Pointer(&r)
}

func defaultRoute(via [4]byte) unsafe.Pointer {
	var r rtentry
	for _, family := range []int{8, 24, 40} {
		r[family] = syscall.AF_INET
	}
	copy(r[28:], via[:])
	r[56] = syscall.RTF_UP | syscall.RTF_GATEWAY
	return unsafe.Pointer(&r)
}
