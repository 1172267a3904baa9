package qemu

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/internal/vm"
)

const qemuProgram = "qemu-system-x86_64"

// emulatedCPU is the processor emulation offers: the x86-64-v2 level, without which current agents' and toolchains' own
// binaries refuse to start. What is above it (AVX) is emulated so slowly that programs which choose it at run time
// crawl.
const emulatedCPU = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+lahf-lm"

// launch is what one start of a machine depends on.
type launch struct {
	record
	kvm  bool
	port int // on 127.0.0.1, forwarded to the guest's SSH server
	// incoming starts QEMU waiting for a machine's state instead of booting it.
	incoming bool
	// template says that it is a template's state: the machine begins with it.
	template bool
	// share is an absolute folder of the host that the guest can mount as vm.OutboxTag; empty shares none.
	share string
	// steady has the guest's kernel go by its processors' counter, which under emulation is this host's: see steadyCounter.
	steady bool
	// without leaves out devices that there were none of yet when a machine's memory was saved.
	without device
	// ready is run when QEMU answers; the start fails with its error. nil runs nothing.
	ready func(ctx context.Context) error
}

// commandLine returns QEMU's arguments. All files are relative to the machine's directory.
//
// restrict=on: the guest reaches nothing through this network, not even the host; the forwarded port is for the host to
// reach the guest. cache=writeback: a flush in the guest is a flush on the host's disk, so a crash of the host costs no
// more than it would on a real machine; cache=unsafe is no faster to boot from and can lose a whole workspace.
//
// The memory is a file in memory (memfd), so that saving it is copying a file, which this program does while the guest
// runs on; QEMU by itself would write it into a stream, stopped.
func (s launch) commandLine() []string {
	accel, cpu := "tcg,thread=multi", emulatedCPU
	if s.kvm {
		accel, cpu = "kvm", "host"
	}
	kernel := "root=/dev/vda rw console=ttyS0 quiet panic=-1"
	if s.steady {
		kernel += " tsc=reliable"
	}
	if s.template {
		kernel += " " + fromTemplate // no kernel reads it: what QEMU is given to boot, it does not
	}
	argv := []string{
		qemuProgram,
		"-name", "calmenu-" + s.Name,
		"-accel", accel, "-cpu", cpu, "-M", "q35,memory-backend=ram",
		"-object", fmt.Sprintf("%s,id=ram,size=%dM,share=on", memfdName, s.MemoryMiB),
		"-m", strconv.Itoa(s.MemoryMiB), "-smp", strconv.Itoa(s.CPU),
		"-display", "none", "-nodefaults", "-no-user-config", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", "file,id=console,append=on,path=" + runDir + "/" + serialFile, "-serial", "chardev:console",
		"-qmp", monitorArg,
		"-kernel", kernelFile, "-initrd", bootInitrd,
		"-append", kernel,
		"-drive", "if=none,id=disk,file=" + layerFile(s.Disk.Active) + ",format=qcow2,cache=writeback,discard=unmap," +
			"detect-zeroes=unmap",
		"-device", "virtio-blk-pci,drive=disk",
		"-netdev", fmt.Sprintf("user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:%d-:22", s.port),
		"-device", "virtio-net-pci,netdev=net,romfile=",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
	}
	if s.without < theBalloon {
		argv = append(argv, "-device", balloon)
	}
	if s.without < serialPorts {
		argv = append(argv, serialArgs()...)
	}
	if s.share != "" {
		argv = append(argv, "-chardev", "socket,id="+shareID+",path="+runDir+"/"+shareSocket,
			"-device", "vhost-user-fs-pci,chardev="+shareID+",tag="+vm.OutboxTag)
	}
	if s.incoming {
		argv = append(argv, "-incoming", "defer", "-S")
	}
	return argv
}

// device is one that earlier versions did not have, the newest first: who knows nothing of one knows nothing of those before
// it in this list.
type device int

const (
	none        device = iota
	serialPorts        // a machine without them
	theBalloon         // a machine without one, nor the ports
)

// lacks tells which devices a running machine's command line is without.
func lacks(argv []string) device {
	switch {
	case slices.Contains(argv, serialBus):
		return none
	case slices.Contains(argv, balloon):
		return serialPorts
	}
	return theBalloon
}

// balloon is how the guest tells which memory it has freed, in blocks of 2 MiB and some seconds later. QEMU gives that back to
// the host: there are holes in the memory then, and it is saved without them. Nothing is taken from the guest.
const balloon = "virtio-balloon-pci,id=balloon,free-page-reporting=on"

// fromTemplate marks the command line of a machine that was started from a template.
const fromTemplate = "calmenu.template"

// resumed tells from a running machine's command line that it went on from memory of its own.
func resumed(argv []string) bool { return slices.Contains(argv, "-incoming") && !seeded(argv) }

// seeded tells from a running machine's command line that it went on from a template's memory.
func seeded(argv []string) bool {
	return slices.ContainsFunc(argv, func(arg string) bool { return strings.HasSuffix(arg, " "+fromTemplate) })
}

var forwardedPort = lazyre.New(`(?:^|,)hostfwd=tcp:127\.0\.0\.1:(\d+)-:22(?:,|$)`)

// sshPort finds the forwarded port in a running machine's command line.
func sshPort(argv []string) (int, error) {
	for i, arg := range argv {
		if arg != "-netdev" || i+1 == len(argv) {
			continue
		}
		if m := forwardedPort.FindStringSubmatch(argv[i+1]); m != nil {
			if port, err := strconv.ParseUint(m[1], 10, 16); err == nil && port > 0 {
				return int(port), nil
			}
		}
	}
	return 0, fmt.Errorf("finding the machine's SSH port: its command line forwards none")
}

// exposed is what a command line says about what the guest can reach.
type exposed struct {
	shares     []string
	restricted bool
	clipboard  bool
	audio      bool
}

// readExposure reads a command line for everything that connects a guest with its host. It errs on the side of
// exposure: an option it cannot place among the harmless ones counts.
func readExposure(argv []string) exposed {
	e := exposed{restricted: true}
	networks := 0
	for i := 0; i+1 < len(argv); i++ {
		option, value := strings.TrimPrefix(argv[i], "-"), argv[i+1]
		if option == argv[i] { // a value
			continue
		}
		switch strings.TrimPrefix(option, "-") {
		case "netdev", "nic", "net":
			networks++
			if !restrictedNetwork(value) {
				e.restricted = false
			}
		case "virtfs", "fsdev":
			e.shares = append(e.shares, property(value, "path", value))
		case "drive", "hda", "hdb", "hdc", "hdd", "cdrom":
			if dir, ok := fatFolder(value); ok {
				e.shares = append(e.shares, dir)
			}
		case "device":
			switch kind := property(value, "", ""); {
			case strings.HasPrefix(kind, "vhost-user-fs"), strings.HasPrefix(kind, "usb-mtp"):
				e.shares = append(e.shares, property(value, "rootdir", value))
			case strings.HasPrefix(kind, "intel-hda"), strings.HasPrefix(kind, "hda-"), kind == "AC97",
				strings.HasPrefix(kind, "virtio-sound"), strings.HasPrefix(kind, "ich9-intel-hda"), kind == "usb-audio":
				e.audio = true
			}
		case "audio", "soundhw":
			e.audio = true
		case "audiodev":
			e.audio = e.audio || property(value, "", "") != "none"
		case "chardev":
			kind := property(value, "", "")
			e.clipboard = e.clipboard || kind == "qemu-vdagent" || strings.HasPrefix(kind, "spice")
		case "spice":
			e.clipboard = true
		}
	}
	// Without -nodefaults or a network option QEMU adds an open network by itself.
	if networks == 0 && !contains(argv, "-nodefaults") {
		e.restricted = false
	}
	return e
}

func restrictedNetwork(value string) bool {
	switch property(value, "", "") {
	case "user":
		r := property(value, "restrict", "off")
		return r == "on" || r == "yes" || r == "y"
	case "none":
		return true
	}
	return false
}

// property returns a property of an option's value ("user,id=net,restrict=on"), or other. The empty key is the first
// word, which has no key.
func property(value, key, other string) string {
	for i, part := range strings.Split(value, ",") {
		k, v, hasKey := strings.Cut(part, "=")
		switch {
		case key == "" && i == 0 && !hasKey:
			return k
		case key == "" && i == 0 && (k == "type" || k == "driver" || k == "backend"):
			return v
		case key != "" && hasKey && k == key:
			return v
		}
	}
	return other
}

// fatFolder returns the folder a drive shows to the guest as a FAT disk.
func fatFolder(value string) (string, bool) {
	file := property(value, "file", value)
	for _, prefix := range []string{"fat:", "vvfat:"} {
		if rest, ok := strings.CutPrefix(file, prefix); ok {
			return rest[strings.LastIndex(rest, ":")+1:], true
		}
	}
	return "", false
}
