package tart

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/calmenu/calmenu/internal/vm"
)

// Exposure implements vm.Inspector from the arguments of the process that runs the machine, whoever started it.
func (d *Driver) Exposure(ctx context.Context, name string) (vm.Exposure, error) {
	if err := vm.ValidName(name); err != nil {
		return vm.Exposure{}, err
	}
	if err := ctx.Err(); err != nil {
		return vm.Exposure{}, err
	}
	err := d.checkRunning(name)
	var e vm.Exposure
	if err == nil {
		e, err = d.inspect(machineName(name))
	}
	if err != nil {
		return vm.Exposure{}, fmt.Errorf("inspecting %q: %w", name, err)
	}
	return e, nil
}

func (d *Driver) inspect(name string) (vm.Exposure, error) {
	pid, err := d.holder(name)
	if err != nil {
		return vm.Exposure{}, err
	}
	if pid == 0 {
		return vm.Exposure{}, vm.ErrNotRunning
	}
	argv, err := processArgs(pid)
	if err != nil {
		return vm.Exposure{}, fmt.Errorf("reading arguments of process %d: %w", pid, err)
	}
	uid, err := processUID(pid)
	if err != nil {
		return vm.Exposure{}, fmt.Errorf("reading owner of process %d: %w", pid, err)
	}
	e, err := readArguments(argv)
	e.RunsAsRoot = uid == 0
	e.Evidence = fmt.Sprintf("process %d: %s", pid, strings.Join(argv, " "))
	return e, err
}

// readArguments tells what `tart run` gives its guest (section 7): audio and clipboard are shared unless told not to.
func readArguments(argv []string) (vm.Exposure, error) {
	if len(argv) < 2 || argv[1] != "run" {
		return vm.Exposure{}, fmt.Errorf("its process is no `tart run`: %.200q", argv)
	}
	e := vm.Exposure{Clipboard: true, Audio: true}
	blocked, opened := false, false
	for option, value := range runOptions(argv) {
		switch option {
		case "--no-clipboard":
			e.Clipboard = false
		case "--no-audio":
			e.Audio = false
		case "--dir":
			e.Shares = append(e.Shares, parseDir(value))
		case "--vnc", "--vnc-experimental":
			e.Listeners = append(e.Listeners, "127.0.0.1:vnc")
		case "--net-softnet-block":
			blocked = blocked || contains(value, "0.0.0.0/0")
		case "--net-softnet-allow":
			opened = true
		case "--net-softnet-expose":
			opened = true
			for _, pair := range strings.Split(value, ",") {
				external, _, _ := strings.Cut(pair, ":")
				e.Listeners = append(e.Listeners, "0.0.0.0:"+external)
			}
		case "--net-bridged", "--net-host":
			opened = true
		}
	}
	e.Restricted = blocked && !opened
	return e, nil
}

// runOptions yields the options of a `tart run` with their values.
func runOptions(argv []string) iter.Seq2[string, string] {
	return func(yield func(option, value string) bool) {
		for i := 2; i < len(argv); i++ {
			option, value, joined := strings.Cut(argv[i], "=")
			if !joined && takesValue[option] && i+1 < len(argv) {
				i++
				value = argv[i]
			}
			if !yield(option, value) {
				return
			}
		}
	}
}

// takesValue are the options of `tart run` that are followed by a value.
var takesValue = map[string]bool{
	"--dir": true, "--disk": true, "--rosetta": true, "--net-bridged": true, "--net-softnet-allow": true,
	"--net-softnet-block": true, "--net-softnet-expose": true, "--root-disk-opts": true, "--serial-path": true,
	"--provisioning-opts": true, "--net-softnet-control-fd": true,
}

func contains(list, item string) bool {
	for _, s := range strings.Split(list, ",") {
		if s == item {
			return true
		}
	}
	return false
}

// parseDir reads a --dir value as Tart does: options if the last segment holds any, a name before the first colon.
func parseDir(value string) vm.Share {
	var s vm.Share
	parts := strings.Split(value, ":")
	if n := len(parts); n > 1 {
		options := false
		for _, o := range strings.Split(parts[n-1], ",") {
			s.ReadOnly = s.ReadOnly || o == "ro"
			options = options || o == "ro" || strings.HasPrefix(o, "tag=")
		}
		if options {
			parts = parts[:n-1]
		}
	}
	if len(parts) > 1 && !strings.HasPrefix(parts[0], "/") {
		parts = parts[1:]
	}
	s.HostPath = strings.Join(parts, ":")
	return s
}
