package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/vm"
)

// Serial ports of a machine are virtio-serial ports: the guest's kernel has a device for each, and QEMU serves a socket that
// one client at a time is connected to. What the guest says while there is no client is thrown away.

const serialBus = "virtio-serial-pci,id=serial,max_ports=3" // port 0 is the console's

// serialNames are the ports. Their order is part of the machine that saved memory is resumed in.
var serialNames = []string{vm.OutboxPort, vm.NetworkPort}

// serialID is what QEMU calls a port's other end.
func serialID(port string) string { return strings.TrimPrefix(port, "calmenu.") }

func serialSocket(port string) string { return serialID(port) + ".sock" }

func serialSockets() (all []string) {
	for _, port := range serialNames {
		all = append(all, serialSocket(port))
	}
	return all
}

// serialArgs are QEMU's arguments that make the ports.
func serialArgs() []string {
	argv := []string{"-device", serialBus}
	for i, port := range serialNames {
		argv = append(argv,
			"-chardev", fmt.Sprintf("socket,id=%s,path=%s/%s,server=on,wait=off", serialID(port), runDir, serialSocket(port)),
			"-device", fmt.Sprintf("virtserialport,bus=serial.0,nr=%d,chardev=%s,name=%s", i+1, serialID(port), port))
	}
	return argv
}

// DialSerial implements vm.SerialDialer.
func (d *Driver) DialSerial(ctx context.Context, name, port string) (net.Conn, error) {
	if _, err := d.readRecord(name); err != nil {
		return nil, err
	}
	dir := d.machineDir(name)
	// QEMU takes connections that it does not serve yet: who is served is settled here.
	lock := flock.New(filepath.Join(dir, serialID(port)+".lock"), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err == nil && !held {
		err = vm.ErrBusy
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("opening port %s of machine %q: %w", port, name, err)
	}
	conn, err := dialQEMU(ctx, dir, serialSocket(port))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		err = vm.ErrUnsupported // or it does not run, which its user learns from whatever else it does
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("opening port %s of machine %q: %w", port, name, err)
	}
	return &serialConn{conn, lock}, nil
}

// serialConn gives the port up when it is closed.
type serialConn struct {
	*net.UnixConn
	lock *flock.Flock
}

func (c *serialConn) Close() error { return errors.Join(c.UnixConn.Close(), c.lock.Close()) }
