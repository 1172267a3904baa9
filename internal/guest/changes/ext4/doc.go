// Package ext4 tells which files of a mounted ext4 file system changed since an instant, from the tables of inodes on
// its block device, without asking the kernel for one file after another.
//
// What must hold: it only reads. The kernel keeps a mounted ext4's tables in the block device's own page cache
// (fs/ext4/inode.c: sb_bread), so that what is read from the device is what stat(2) would say, but for the size of a file
// whose last bytes wait to be given a place on the disk. A file system that is not understood to the last feature is
// refused: a wrong answer would be worse than a slow one. The layout is that of
// https://www.kernel.org/doc/html/latest/filesystems/ext4/globals.html.
package ext4
