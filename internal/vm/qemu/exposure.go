package qemu

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/vm"
)

// Exposure reports what the machine's process shares with its host, read from the kernel.
func (d *Driver) Exposure(ctx context.Context, name string) (vm.Exposure, error) {
	p, err := d.runningProcess(ctx, name)
	if err != nil {
		return vm.Exposure{}, err
	}
	e := readExposure(p.argv)
	exposure := vm.Exposure{
		Restricted: e.restricted,
		Clipboard:  e.clipboard,
		Audio:      e.audio,
		Evidence:   strings.Join(p.argv, " "),
	}
	for _, path := range e.shares {
		share := vm.Share{HostPath: path}
		if servedByDaemon(path) {
			if s, ok := findShare(p.pid); ok {
				share = vm.Share{HostPath: s.source, ServedAsRoot: s.root}
				exposure.Evidence += "; " + strings.Join(s.argv, " ")
			}
		}
		exposure.Shares = append(exposure.Shares, share)
	}
	if exposure.Listeners, err = listeners(p.pid); err != nil {
		return vm.Exposure{}, fmt.Errorf("reading what machine %q listens on: %w", name, err)
	}
	uid, err := effectiveUID(p.pid)
	if err != nil {
		return vm.Exposure{}, fmt.Errorf("reading whom machine %q runs as: %w", name, err)
	}
	exposure.RunsAsRoot = uid == 0
	return exposure, nil
}

// runningProcess returns a machine's process, or ErrNotFound or ErrNotRunning.
func (d *Driver) runningProcess(ctx context.Context, name string) (process, error) {
	if _, err := d.readRecord(name); err != nil {
		return process{}, err
	}
	p, err := findProcess(ctx, d.machineDir(name))
	if err != nil {
		return process{}, fmt.Errorf("looking at machine %q: %w", name, err)
	}
	if p.pid == 0 {
		return process{}, fmt.Errorf("machine %q: %w", name, vm.ErrNotRunning)
	}
	return p, nil
}

// listening picks from a table of /proc/net/tcp the local addresses of listening sockets (state 0A) among inodes.
func listening(table string, inodes map[string]bool) []string {
	var all []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" || !inodes[f[9]] {
			continue
		}
		if address, ok := procAddress(f[1]); ok {
			all = append(all, address)
		}
	}
	return all
}

// procAddress decodes "0100007F:1F90": an address in words of host byte order (little-endian where this runs), a port.
func procAddress(s string) (string, bool) {
	host, port, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || (len(host) != 8 && len(host) != 32) {
		return "", false
	}
	ip := make(net.IP, len(host)/2)
	for i := range ip {
		b, err := strconv.ParseUint(host[2*i:2*i+2], 16, 8)
		if err != nil {
			return "", false
		}
		ip[i/4*4+3-i%4] = byte(b)
	}
	return net.JoinHostPort(ip.String(), strconv.FormatUint(n, 10)), true
}
