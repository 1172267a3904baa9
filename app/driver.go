package app

import (
	"os"
	"path/filepath"
	"runtime"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest/helper"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/qemu"
	"github.com/calmenu/calmenu/internal/vm/tart"
)

// CommonFiles are what every guest is given at its start: CALMenu's own program.
func CommonFiles() []vm.SeedFile { return helper.SeedFiles("linux", "/home/admin", guestUID) }

// NewDriver returns the driver of this host: Tart on macOS, QEMU elsewhere. CAL_DRIVER chooses another one.
func NewDriver(home config.Home, cfg *config.Config) (vm.Driver, error) {
	name := os.Getenv("CAL_DRIVER")
	if name == "" {
		name = "qemu"
		if runtime.GOOS == "darwin" {
			name = "tart"
		}
	}
	switch name {
	case "qemu":
		return qemu.New(qemu.Options{
			Dir: home.WorkspacesDir(), Mirror: cfg.Image.Mirror, Accel: cfg.VM.Accel,
			Common: CommonFiles, NoTemplates: cfg.VM.Template == "off",
		}), nil
	case "tart":
		return tart.New(tart.Options{
			Binary: os.Getenv("CAL_TART"), Home: os.Getenv("TART_HOME"),
			StateDir: filepath.Join(home.Dir, "isolation", "tart"),
			// The guest has no way out but the one CALMenu gives it; it is reached over its guest agent.
			CutNetwork: true,
		})
	}
	return nil, hint.Errorf("CAL_DRIVER is qemu or tart, or not set.", "there is no driver %q", name)
}
