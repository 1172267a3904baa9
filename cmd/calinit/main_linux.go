// Command calinit is the guest's first program: PID 1 of the initial RAM disk CALMenu starts a Linux guest with. It
// loads the virtio modules, configures the one network interface, mounts the disk, copies the seed into it and becomes
// systemd.
//
// What must hold: it uses the standard library alone and starts no process (every millisecond under an emulated CPU is
// twenty), and it never leaves a half-mounted machine running: what it cannot do without ends in a message on the
// console and a power-off, which the host sees as the end of the machine.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"
	"unsafe"
)

const (
	disk    = "/dev/vda"
	newRoot = "/root"
	// diskWait bounds how long the disk may take to appear after its driver was loaded.
	diskWait = 10 * time.Second
	// sysFinitModule is the number of finit_module(2) on amd64; package syscall's table ends before it.
	sysFinitModule = 313
	// extResizeFS is EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64): grows a mounted ext4 to a number of blocks.
	extResizeFS = 0x40086610
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
	if err := grow(newRoot); err != nil {
		say("growing the file system: %v", err)
	}
	must("copying the seed", copySeed("/seed", newRoot))
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
	noParameters := []byte{0}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			say("loading %s: %v", name, err)
			continue
		}
		_, _, errno := syscall.Syscall(sysFinitModule, f.Fd(), uintptr(unsafe.Pointer(&noParameters[0])), 0)
		f.Close()
		if errno != 0 && errno != syscall.EEXIST {
			say("loading %s: %v", name, errno)
		}
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

// grow makes the file system as large as the disk. The image is small and each machine's disk its own size; growing an
// empty tail online is one ioctl of a few milliseconds, done once.
func grow(root string) error {
	size, err := diskSize()
	if err != nil {
		return err
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(root, &fs); err != nil {
		return err
	}
	block := uint64(fs.Bsize)
	// Statfs counts without the file system's own tables: only a clear difference is a larger disk.
	if size/block <= fs.Blocks+fs.Blocks/8 {
		return nil
	}
	dir, err := os.Open(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	blocks := size / block
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), extResizeFS, uintptr(unsafe.Pointer(&blocks)))
	if errno != 0 {
		return errno
	}
	return nil
}

func diskSize() (uint64, error) {
	f, err := os.Open(disk)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	const blkGetSize64 = 0x80081272 // _IOR(0x12, 114, size_t)
	var size uint64
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), blkGetSize64, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, errno
	}
	return size, nil
}

// copySeed copies the tree src over dst, keeping modes and owners. A directory that exists keeps its own, unless the
// seed names it with others than the cpio's default (root, 0755). Files are replaced, never written through a link.
func copySeed(src, dst string) error {
	entries, err := os.ReadDir(src)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())
		info, err := e.Info()
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		if info.IsDir() {
			err = seedDir(to, info.Mode(), owner)
			if err == nil {
				err = copySeed(from, to)
			}
		} else {
			err = seedFile(from, to, info.Mode(), owner)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func seedDir(to string, mode os.FileMode, owner *syscall.Stat_t) error {
	existing, err := os.Lstat(to)
	switch {
	case err == nil && existing.IsDir():
		if mode.Perm() == 0o755 && owner.Uid == 0 {
			return nil
		}
	case err == nil && existing.Mode()&os.ModeSymlink != 0:
		// The guest made a link of it. Following it would write elsewhere; a link is nothing to keep in a seeded path.
		if err := os.Remove(to); err != nil {
			return err
		}
		fallthrough
	default:
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
	}
	if err := os.Chown(to, int(owner.Uid), int(owner.Gid)); err != nil {
		return err
	}
	return syscall.Chmod(to, uint32(mode.Perm()))
}

func seedFile(from, to string, mode os.FileMode, owner *syscall.Stat_t) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if same, err := os.Lstat(to); err == nil {
		st := same.Sys().(*syscall.Stat_t)
		if same.Mode() == mode && st.Uid == owner.Uid && st.Gid == owner.Gid {
			if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, data) {
				return nil
			}
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		return err
	}
	if err := os.Chown(to, int(owner.Uid), int(owner.Gid)); err != nil {
		return err
	}
	return syscall.Chmod(to, uint32(mode.Perm()))
}

// switchRoot makes the disk the root and becomes its init. Deleting the RAM disk's files gives their memory back.
func switchRoot() error {
	if err := syscall.Mount("/dev", newRoot+"/dev", "", syscall.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving /dev: %w", err)
	}
	for _, used := range []string{"/modules", "/seed", "/init"} {
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
