package tart

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// minFree is the disk space a macOS guest needs beside its image: the download unpacks to some 40 GB.
const minFree = 60_000_000_000

// Requirements implements vm.Driver.
func (d *Driver) Requirements(ctx context.Context) []vm.Requirement {
	program := d.programRequirement(ctx)
	all := []vm.Requirement{
		d.hostRequirement(), program, d.spaceRequirement(), d.softnetRequirement(), d.leasesRequirement(),
	}
	if keychain, asked := d.keychainRequirement(ctx); asked {
		all = append(all, keychain)
	}
	if program.OK {
		all = append(all, d.slotsRequirement(ctx))
	}
	return all
}

func (d *Driver) hostRequirement() vm.Requirement {
	r := vm.Requirement{
		Name: "macOS 13 on Apple silicon", Detail: strings.TrimSpace(d.options.HostOS + " " + d.options.HostArch),
		Hint: "Tart needs macOS 13 or newer on a Mac with Apple silicon.",
	}
	r.OK = d.options.HostOS == "darwin" && d.options.HostArch == "arm64"
	if d.options.HostVersion != "" {
		r.Detail += " " + d.options.HostVersion
		r.OK = r.OK && d.hostSince(13)
	}
	return r
}

// hostSince tells whether this Mac's macOS is of a major version or newer; not if its version is unknown.
func (d *Driver) hostSince(major int) bool {
	first, _, _ := strings.Cut(d.options.HostVersion, ".")
	n, err := strconv.Atoi(first)
	return err == nil && n >= major
}

func (d *Driver) programRequirement(ctx context.Context) vm.Requirement {
	r := vm.Requirement{Name: "tart", Hint: installHint}
	path, err := exec.LookPath(d.options.Binary)
	if err != nil {
		r.Detail = "not found in PATH"
		return r
	}
	if err := d.checkVersion(ctx); err != nil {
		r.Detail = err.Error()
		if h := hint.Of(err); h != "" {
			r.Hint = h
		}
		return r
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r.OK, r.Detail = true, d.version+" at "+path
	return r
}

func (d *Driver) spaceRequirement() vm.Requirement {
	r := vm.Requirement{Name: "disk space", Hint: "Free disk space, or set TART_HOME to a larger disk."}
	free, known := d.options.FreeSpace(d.home)
	if !known {
		r.Detail = "free space is unknown"
		return r
	}
	r.OK = free >= minFree
	r.Detail = fmt.Sprintf("%d GB free at %s, %d GB needed for a base image", free/1e9, d.home, uint64(minFree)/1e9)
	return r
}

// freeSpace is how many bytes are free below a directory. It may not be there yet; what is above it is on the same disk
// as a rule.
func freeSpace(dir string) (free uint64, known bool) {
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) != nil {
		up := dir[:max(strings.LastIndexByte(dir, '/'), 1)]
		if up == dir {
			return 0, false
		}
		dir = up
	}
	return st.Bavail * uint64(st.Bsize), true
}

func (d *Driver) softnetRequirement() vm.Requirement {
	r := vm.Requirement{
		Name: "softnet", Optional: !d.options.CutNetwork,
		Hint: "Install it with `brew install cirruslabs/cli/softnet`: it cuts guests off from the network.",
	}
	path, err := exec.LookPath("softnet")
	r.OK, r.Detail = err == nil, path
	if err != nil {
		r.Detail = "not found in PATH"
	}
	return r
}

// slotsRequirement counts the macOS guests that run: Apple allows two on one Mac.
func (d *Driver) slotsRequirement(ctx context.Context) vm.Requirement {
	r := vm.Requirement{
		Name: "free slot for a macOS guest", Optional: true,
		Hint: "Apple allows two running macOS virtual machines on one Mac: stop one.",
	}
	inv, err := d.list(ctx)
	if err != nil {
		r.Detail = err.Error()
		return r
	}
	running := d.runningGuests(inv)
	r.OK = len(running) < d.Info().Capabilities.MaxRunning
	r.Detail = fmt.Sprintf("%d of %d in use", len(running), d.Info().Capabilities.MaxRunning)
	if len(running) > 0 {
		r.Detail += ": " + strings.Join(running, ", ")
	}
	return r
}

// runningGuests names the macOS guests that run, workspaces by their own names.
func (d *Driver) runningGuests(inv inventory) (names []string) {
	for _, e := range inv {
		c, err := d.config(e.Name)
		if e.Source == "local" && e.State == "running" && err == nil && c.OS != "linux" {
			names = append(names, strings.TrimPrefix(e.Name, prefix))
		}
	}
	return names
}
