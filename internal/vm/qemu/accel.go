package qemu

import (
	"bytes"
	"os"
	"runtime"
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
	for line := range bytes.Lines(cpuinfo) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(key)) != "flags" {
			continue
		}
		for _, flag := range bytes.Fields(value) {
			if string(flag) == "vmx" || string(flag) == "svm" {
				return true
			}
		}
	}
	return false
}
