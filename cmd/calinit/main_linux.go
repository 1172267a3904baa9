// Command calinit is the guest's first program: PID 1 of the initial RAM disk CALMenu starts a Linux guest with. It
// loads the virtio modules, configures the one network interface, mounts the disk, copies the seed into it and becomes
// systemd.
//
// What must hold: it uses the standard library alone and starts no process (every millisecond under an emulated CPU is
// twenty), and it never leaves a half-mounted machine running: what it cannot do without ends in a message on the
// console and a power-off, which the host sees as the end of the machine.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"
	"unsafe"

	"github.com/calmenu/calmenu/internal/vm/seedfs"
)

const (
	disk    = "/dev/vda"
	newRoot = "/root"
	seed    = "/seed"
	// diskWait bounds how long the disk may take to appear after its driver was loaded.
	diskWait = 10 * time.Second
	// sysFinitModule is the number of finit_module(2) on amd64; package syscall's table ends before it.
	sysFinitModule = 313
)

func main() {
	// The host takes the first byte on the console as the sign that the processor works.
	say("starting")
	must("mounting /dev", syscall.Mount("devtmpfs", "/dev", "devtmpfs", syscall.MS_NOSUID, "mode=0755"))
	loadModules("/modules")
	if err := configureNetwork(); err != nil {
		say("configuring the network: %v", err)
	}
	must("mounting "+disk, mountDisk())
	if err := grow(); err != nil {
		say("growing the file system: %v", err)
	}
	loadBalloon()
	must("mounting /run", mountRun())
	must("copying the seed", copySeed("/"))
	must("starting init", switchRoot())
}

func say(format string, args ...any) { fmt.Printf("calinit: "+format+"\n", args...) }

// must ends the machine if a step failed.
func must(what string, err error) {
	if err == nil {
		return
	}
	say("%s: %v", what, err)
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// loadModules loads every file of dir in the order of its name. A module that does not load is reported and survived:
// the disk tells whether it was needed.
func loadModules(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return
	}
	sort.Strings(files)
	for _, name := range files {
		if err := loadModule(name); err != nil {
			say("loading %s: %v", name, err)
		}
	}
}

func loadModule(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	noParameters := []byte{0}
	_, _, errno := syscall.Syscall(sysFinitModule, f.Fd(), uintptr(unsafe.Pointer(&noParameters[0])), 0)
	if errno != 0 && errno != syscall.EEXIST {
		return errno
	}
	return nil
}

// loadBalloon loads the driver by which the guest gives memory it has freed back to the host. Nothing needed it until the
// disk was mounted, and there it is; a guest without it keeps what it ever touched.
func loadBalloon() {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		say("%v", err)
		return
	}
	var release []byte
	for _, c := range name.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	module := filepath.Join(newRoot, "lib/modules", string(release), "kernel/drivers/virtio/virtio_balloon.ko")
	if err := loadModule(module); err != nil {
		say("loading %s: %v", module, err)
	}
}

// mountDisk mounts the disk as soon as it exists. noinit_itable: a fresh disk image reads as zeroes, so zeroing inode
// tables in the background would only make the image larger. discard gives freed space back to the host.
func mountDisk() error {
	for deadline := time.Now().Add(diskWait); ; time.Sleep(5 * time.Millisecond) {
		err := syscall.Mount(disk, newRoot, "ext4", syscall.MS_NOATIME, "noinit_itable,discard")
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// grow makes the file system as large as the disk.
func grow() error {
	f, err := os.Open(disk)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := seedfs.DiskSize(f)
	if err != nil {
		return err
	}
	return seedfs.Grow(newRoot, size)
}

// mountRun puts a file system in memory where a seed has files for /run: systemd keeps one that is there, and what is in
// it is gone with the next boot.
func mountRun() error {
	if _, err := os.Lstat(seed + "/run"); err != nil {
		return nil //nolint:nilerr // there is none, which is how most boots are
	}
	return syscall.Mount("tmpfs", newRoot+"/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_STRICTATIME,
		"mode=0755,size=20%,nr_inodes=800k")
}

// copySeed copies the tree below src over the disk, keeping modes and owners.
func copySeed(src string) error {
	entries, err := os.ReadDir(filepath.Join(seed, src))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(src, e.Name())
		info, err := e.Info()
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		f := seedfs.File{Path: name, Mode: info.Mode(), UID: int(owner.Uid), GID: int(owner.Gid)}
		if !e.IsDir() {
			if f.Data, err = os.ReadFile(filepath.Join(seed, name)); err != nil {
				return err
			}
		}
		if err := seedfs.Put(newRoot, f); err != nil {
			return err
		}
		if e.IsDir() {
			if err := copySeed(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// switchRoot makes the disk the root and becomes its init. Deleting the RAM disk's files gives their memory back.
func switchRoot() error {
	if err := syscall.Mount("/dev", newRoot+"/dev", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving /dev: %w", err)
	}
	for _, used := range []string{"/modules", seed, "/init"} {
		_ = os.RemoveAll(used)
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root: %w", err)
	}
	if err := syscall.Chroot("."); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "TERM=linux"}
	return syscall.Exec("/sbin/init", []string{"/sbin/init"}, env)
}
