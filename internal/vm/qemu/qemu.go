package qemu

import (
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/vm"
)

// ImageName and StockImageName name the images this driver can build.
const (
	ImageName      = "debian-12"
	StockImageName = "debian-12-stock"
)

// Values of Options.Accel.
const (
	AccelAuto = "auto" // KVM where it works, else emulation
	AccelKVM  = "kvm"  // try KVM even if the probe says no
	AccelTCG  = "tcg"  // emulation
)

// Options configure a driver. The zero value of each but Dir is its default.
type Options struct {
	// Dir holds a directory for each machine: <CAL_HOME>/isolation/vms.
	Dir string
	// CacheDir holds built images; default $CAL_CACHE, else calmenu in the user's cache directory.
	CacheDir string
	// Mirror is the Debian mirror images are built from when the host's own package sources are not Debian's.
	Mirror string
	// Accel is AccelAuto (default), AccelKVM or AccelTCG.
	Accel string
	// Stock makes the driver use a Debian image as its packages leave it (own initrd, full systemd): the peer of
	// benchmarks.
	Stock bool
	// Common returns files every guest is given at its start, the same for all of them; nil is none. A template's guest has
	// them, so that a machine made from it need not be given those that have not changed since.
	Common func() []vm.SeedFile
	// NoTemplates makes Create use no template: its machines boot when they start first.
	NoTemplates bool
}

// Driver is the QEMU driver. Its methods may be called from several goroutines and processes at once.
type Driver struct {
	opts  Options
	accel accelerator
	// steady says that emulated guests go by this host's counter.
	steady bool
	// fault is called before each step of a change on disk; tests stop there.
	fault func(step string) error
}

var _ vm.Driver = (*Driver)(nil)

// New returns a driver. It touches nothing but /dev/kvm, and what /proc and /sys say of the processor.
func New(o Options) *Driver {
	if o.CacheDir == "" {
		o.CacheDir = defaultCacheDir()
	}
	if o.Accel == "" {
		o.Accel = AccelAuto
	}
	return &Driver{opts: o, accel: probeAccelerator(o.Accel), steady: steadyHost(), fault: func(string) error { return nil }}
}

// OnStep has f called after each step of a change, which ends where f fails: tests end it there, as a crash would.
func (d *Driver) OnStep(f func(step string) error) { d.fault = f }

func defaultCacheDir() string {
	if dir := os.Getenv("CAL_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "calmenu")
}

// Info describes the driver.
func (d *Driver) Info() vm.Info {
	return vm.Info{
		Name: "qemu",
		Capabilities: vm.Capabilities{
			LiveSnapshot:     true,
			WarmSnapshot:     true,
			LiveWarmSnapshot: true,
			SeedFiles:        true,
			Share:            shareProblem() == "",
			Emulated:         !d.accel.kvm,
			GuestOS:          "linux",
			User:             "admin",
		},
	}
}
