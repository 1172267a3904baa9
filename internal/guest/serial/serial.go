// Package serial opens, in the guest, the serial ports that its machine has to the host (vm.SerialDialer). CALMenu's program
// in the guest is built from it, so it stands on the standard library alone.
package serial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNone is returned for a port that the machine does not have, or the guest's kernel does not know.
var ErrNone = errors.New("the machine has no such port")

// place is where ports are looked for; tests have their own.
type place struct{ class, dev string }

// Where Linux has them (drivers/char/virtio_console.c).
var linux = place{class: "/sys/class/virtio-ports", dev: "/dev"}

// AllowVerb is what the program is told to do, as root, to make a port the user's.
const AllowVerb = "port"

// patience is how long a port is waited for: until the driver knows of it, and until an earlier user, whose host has gone, has
// ended.
const patience = 2 * time.Second

// Open opens a port for the calling user, who after a boot has to be given it first: by program with AllowVerb, run by sudo.
// A port has one user at a time; the error for a further one is EBUSY.
func Open(ctx context.Context, program, name string) (*os.File, error) {
	f, err := linux.open(ctx, name)
	if !errors.Is(err, ErrNone) && !errors.Is(err, fs.ErrPermission) {
		return f, err
	}
	if out, err := exec.CommandContext(ctx, "sudo", "-n", program, AllowVerb, name).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("being given the port %s: %w: %.200q", name, err, out)
	}
	return linux.open(ctx, name)
}

// Allow makes a port the property of the user who has called sudo, and loads the kernel's driver of such ports before, if it
// is not there.
func Allow(ctx context.Context, name string) error {
	uid, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	if err != nil {
		return errors.New("is to be run by sudo")
	}
	device, err := linux.device(name)
	if errors.Is(err, ErrNone) {
		if out, err := exec.CommandContext(ctx, "modprobe", "virtio_console").CombinedOutput(); err != nil {
			return fmt.Errorf("loading the driver of serial ports: %w: %.200q", err, out)
		}
		// The host tells the driver of each port by itself, and of its name after that.
		for begun := time.Now(); time.Since(begun) < patience; time.Sleep(10 * time.Millisecond) {
			if device, err = linux.device(name); !errors.Is(err, ErrNone) {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	return os.Chown(device, uid, -1)
}

func (p place) open(ctx context.Context, name string) (*os.File, error) {
	device, err := p.device(name)
	if err != nil {
		return nil, err
	}
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		f, err := os.OpenFile(device, os.O_RDWR|syscall.O_NOCTTY, 0)
		if !errors.Is(err, syscall.EBUSY) || time.Since(begun) > patience || ctx.Err() != nil {
			return f, err
		}
	}
}

// device finds a port by its name. There need not be a udev to make links of these.
func (p place) device(name string) (string, error) {
	ports, err := os.ReadDir(p.class)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, port := range ports {
		text, err := os.ReadFile(filepath.Join(p.class, port.Name(), "name"))
		if err == nil && strings.TrimSpace(string(text)) == name {
			return filepath.Join(p.dev, port.Name()), nil
		}
	}
	return "", fmt.Errorf("port %s: %w", name, ErrNone)
}
