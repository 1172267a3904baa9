package qemu

import (
	"bytes"
	"os"
	"runtime"
	"slices"
	"strings"
)

// accelerator is how guest code is run, and why.
type accelerator struct {
	kvm bool
	why string
}

// probeAccelerator decides between KVM and emulation. That /dev/kvm opens, and even that a virtual CPU can be made,
// proves nothing: a host that is itself a virtual machine may offer a KVM that interprets instructions and never
// finishes booting. Only a processor with hardware virtualisation counts.
func probeAccelerator(want string) accelerator {
	switch want {
	case AccelTCG:
		return accelerator{why: "emulation was asked for"}
	case AccelKVM:
		return accelerator{kvm: true, why: "KVM was asked for"}
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return accelerator{why: "this host's processor is not the guest's"}
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return accelerator{why: err.Error()}
	}
	if !hasVirtualisation(info) {
		return accelerator{why: "the processor shows no hardware virtualisation (vmx or svm)"}
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return accelerator{why: err.Error()}
	}
	f.Close()
	return accelerator{kvm: true, why: "hardware virtualisation and /dev/kvm"}
}

// hasVirtualisation reads the flags lines of /proc/cpuinfo.
func hasVirtualisation(cpuinfo []byte) bool {
	flags := cpuFlags(cpuinfo)
	return flags["vmx"] || flags["svm"]
}

// steadyHost tells whether an emulated guest can go by its processors' counter: see steadyCounter.
func steadyHost() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || runtime.GOARCH != "amd64" {
		return false
	}
	// Where the kernel has found that they do not count alike it is not among these.
	clocks, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/available_clocksource")
	return err == nil && steadyCounter(info, clocks)
}

// steadyCounter tells from /proc/cpuinfo and Linux's list of clocks whether the processors count time alike, at a rate that
// never changes, asleep or not.
// QEMU's emulation shows its guests that counter (their processors are not told that it is steady), and Linux then goes
// by the HPET: each reading leaves the guest, and it counts 32 bits at 100 MHz. A guest whose process was stopped for more
// than half of that, 21 s, takes the difference for none, and its time stands still until the count is round.
func steadyCounter(cpuinfo, clocks []byte) bool {
	flags := cpuFlags(cpuinfo)
	return flags["constant_tsc"] && flags["nonstop_tsc"] && slices.Contains(strings.Fields(string(clocks)), "tsc")
}

// cpuFlags are the flags of /proc/cpuinfo's first processor.
func cpuFlags(cpuinfo []byte) map[string]bool {
	flags := map[string]bool{}
	for line := range bytes.Lines(cpuinfo) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(key)) != "flags" {
			continue
		}
		for _, flag := range bytes.Fields(value) {
			flags[string(flag)] = true
		}
		break
	}
	return flags
}
