package pf

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

// Device answers questions.
type Device struct{ f *os.File }

// OpenDevice opens /dev/pf, which root may.
func OpenDevice() (*Device, error) {
	f, err := os.OpenFile("/dev/pf", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &Device{f}, nil
}

// Close implements io.Closer.
func (d *Device) Close() error { return d.f.Close() }

// WantedTo returns where a redirected TCP connection over IPv4 wanted to go, whose other end is from, and whose end here is at. The
// error is syscall.ENOENT if none was redirected.
func (d *Device) WantedTo(from, at netip.AddrPort) (netip.AddrPort, error) {
	q := question(from, at)
	raw, err := d.f.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, diocnatlook, uintptr(unsafe.Pointer(q)))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("asking the packet filter where %v wanted to go: %w", from, err)
	}
	return q.answer(), nil
}
