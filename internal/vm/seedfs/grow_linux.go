package seedfs

import (
	"os"
	"syscall"
	"unsafe"
)

const (
	// extResizeFS is EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64): grows a mounted ext4 to a number of blocks.
	extResizeFS = 0x40086610
	// blkGetSize64 is BLKGETSIZE64, _IOR(0x12, 114, size_t).
	blkGetSize64 = 0x80081272
)

// Grow makes the ext4 mounted at root as large as its disk. The image is small and each machine's disk its own size;
// growing an empty tail online is one ioctl, done once. What a disk has above whole GiB is no file system's: a template's
// has its seed there.
func Grow(root string, diskSize uint64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(root, &st); err != nil {
		return err
	}
	block, diskSize := uint64(st.Bsize), diskSize&^(1<<30-1)
	// Statfs counts without the file system's own tables: only a clear difference is a larger disk.
	if diskSize/block <= st.Blocks+st.Blocks/8 {
		return nil
	}
	dir, err := os.Open(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	blocks := diskSize / block
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), extResizeFS, uintptr(unsafe.Pointer(&blocks)))
	if errno != 0 {
		return errno
	}
	return nil
}

// DiskSize returns the size of an open disk, in bytes.
func DiskSize(disk *os.File) (uint64, error) {
	var size uint64
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, disk.Fd(), blkGetSize64, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, errno
	}
	return size, nil
}
