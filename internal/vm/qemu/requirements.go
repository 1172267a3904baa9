package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/resources"
)

// Requirements lists what the host needs, each with its present state.
func (d *Driver) Requirements(ctx context.Context) []vm.Requirement {
	ready, err := d.ImageReady(ctx, "")
	built := err == nil && ready
	all := []vm.Requirement{
		tool(ctx, qemuProgram, false, "--version"),
		tool(ctx, "qemu-img", false, "--version"),
		// Needed to build the image only.
		tool(ctx, "mmdebstrap", built, "--version"),
		tool(ctx, "mke2fs", built, "-V"),
	}
	if os.Geteuid() == 0 {
		all = append(all, tool(ctx, "setpriv", false, "--version"), tool(ctx, "useradd", accountExists()))
	} else {
		all = append(all, tool(ctx, "newuidmap", built), d.subordinate(built))
	}
	return append(all, d.image(built), d.initProgram(), d.kvm(), d.space(built), share())
}

// share is what outbox.transport share needs; the default does without.
func share() vm.Requirement {
	r := vm.Requirement{Name: "shared outbox", Optional: true, OK: true, Detail: virtiofsd}
	if why := shareProblem(); why != "" {
		r.OK, r.Detail, r.Hint = false, why, "Artifacts come over SSH without it: leave outbox.transport at auto."
	}
	return r
}

// tool checks that a program is installed and, given arguments, asks for its version.
func tool(ctx context.Context, name string, optional bool, version ...string) vm.Requirement {
	r := vm.Requirement{Name: name, Optional: optional}
	path, err := lookTool(name)
	if err != nil {
		r.Detail, r.Hint = "not installed", packageHint(name)
		return r
	}
	r.OK, r.Detail = true, path
	if len(version) > 0 {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if out, err := exec.CommandContext(ctx, path, version...).CombinedOutput(); err == nil {
			r.Detail = firstLine(out)
		}
	}
	return r
}

func accountExists() bool {
	_, err := user.Lookup(accountName)
	return err == nil
}

func (d *Driver) subordinate(optional bool) vm.Requirement {
	r := vm.Requirement{Name: "subordinate ids", Optional: optional, OK: true, Detail: "/etc/subuid and /etc/subgid"}
	if err := subordinateIDs(); err != nil {
		r.OK, r.Detail = false, err.Error()
		r.Hint = "Give this account some: `sudo usermod " + subordinateFlags + " $USER`."
	}
	return r
}

func (d *Driver) image(built bool) vm.Requirement {
	r := vm.Requirement{Name: "guest image", Optional: true, OK: built, Detail: "built"}
	if !built {
		r.Detail, r.Hint = "not built yet", "`CALMenu new` builds it, in about two minutes."
	}
	return r
}

func (d *Driver) initProgram() vm.Requirement {
	r := vm.Requirement{Name: "guest init program", OK: true, Detail: "embedded"}
	if _, err := resources.CalInit(); err != nil {
		r.OK, r.Detail, r.Hint = false, "not in this binary", "Build CALMenu with `make`."
	}
	return r
}

func (d *Driver) kvm() vm.Requirement {
	r := vm.Requirement{Name: "kvm", Optional: true, OK: d.accel.kvm, Detail: d.accel.why}
	if !r.OK {
		r.Detail += ": guests are emulated, 5 to 40 times slower"
		r.Hint = "Use a host with hardware virtualisation and add your account to the group kvm; or live with emulation."
	}
	return r
}

func (d *Driver) space(built bool) vm.Requirement {
	need := uint64(machineSpace)
	if !built {
		need += buildSpace
	}
	dir := existingParent(d.opts.CacheDir)
	r := vm.Requirement{Name: "disk space", Detail: "unknown"}
	free, err := freeSpace(dir)
	if err == nil {
		r.OK, r.Detail = free >= need, fmt.Sprintf("%s free on the disk of %s, %s needed", gib(free), dir, gib(need))
	}
	if !r.OK {
		r.Hint = "Free some disk space, or set CAL_CACHE to a directory on another disk."
	}
	return r
}

// existingParent returns the nearest directory above dir that exists.
func existingParent(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
