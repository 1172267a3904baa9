package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrUnknown is returned for what is no ext4 whose tables can be read.
var ErrUnknown = errors.New("not an ext4 whose inodes can be read")

const (
	superAt   = 1024 // bytes
	superSize = 1024
	magic     = 0xef53

	// Features that change where tables lie or what is in them, beyond what is known here, are in none of these.
	knownIncompat = incompatTypes |
		0x4 | // its journal is in use: it is mounted
		0x40 | // extents
		incompat64bit |
		0x200 | // flexible block groups
		0x400 | // values of extended attributes in inodes
		0x2000 | // checksum seed
		0x4000 | // large directories
		0x8000 | // data in inodes
		0x10000 | // encryption: names and data, not inodes
		0x20000 // names regardless of case
	incompatTypes = 0x2 // directories tell the types of what is in them
	incompat64bit = 0x80
	roGroupSum    = 0x10  // group descriptors have checksums, and say how much of a table is in use
	roMetaSum     = 0x400 // so do all others

	groupNoInodes = 0x1 // flag of a block group: its table has not been written

	firstInode = 11 // the lower ones are the file system's own, but for the root

	// What a file system may have at most to be looked at; more would take the guest's memory.
	maxInodes     = 1 << 26
	maxGroups     = 1 << 20
	maxGroupBytes = 64 << 20
)

// Root is the number of the top folder's inode.
const Root = 2

// Table is where the inodes of a file system lie.
type Table struct {
	dev       io.ReaderAt
	blockSize int64
	inodeSize int
	perGroup  uint32
	inodes    uint32
	groups    []group
}

// group is one block group's part of the table.
type group struct {
	at   int64 // bytes
	used uint32
}

// Open reads the description of the ext4 on a device.
func Open(dev io.ReaderAt) (*Table, error) {
	var s [superSize]byte
	if _, err := dev.ReadAt(s[:], superAt); err != nil {
		return nil, fmt.Errorf("%w: reading its superblock: %w", ErrUnknown, err)
	}
	u16 := func(at int) uint16 { return binary.LittleEndian.Uint16(s[at:]) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(s[at:]) }
	incompat, ro := u32(0x60), u32(0x64)
	if u16(0x38) != magic || u32(0x4c) == 0 || incompat&^knownIncompat != 0 || incompat&incompatTypes == 0 {
		return nil, fmt.Errorf("%w: features %#x", ErrUnknown, incompat)
	}
	logSize := u32(0x18)
	t := &Table{dev: dev, inodes: u32(0), perGroup: u32(0x28), inodeSize: int(u16(0x58))}
	perGroup, descSize := int64(u32(0x20)), 32
	blocks := int64(u32(0x4))
	if incompat&incompat64bit != 0 {
		descSize = int(u16(0xfe))
		blocks |= int64(u32(0x150)) << 32
	}
	if logSize > 6 || t.inodeSize < 160 || t.inodeSize > 4096 || t.inodeSize&(t.inodeSize-1) != 0 || descSize < 32 ||
		descSize > 1024 || perGroup == 0 || t.perGroup == 0 || t.inodes == 0 || t.inodes > maxInodes {
		return nil, fmt.Errorf("%w: its superblock makes no sense", ErrUnknown)
	}
	t.blockSize = 1024 << logSize
	first := int64(u32(0x14))
	count := (blocks - first + perGroup - 1) / perGroup
	if count <= 0 || count > maxGroups || int64(t.inodes) != count*int64(t.perGroup) {
		return nil, fmt.Errorf("%w: %d inodes in %d groups", ErrUnknown, t.inodes, count)
	}
	return t, t.readGroups((first+1)*t.blockSize, int(count), descSize, ro&(roGroupSum|roMetaSum) != 0)
}

// readGroups reads the descriptors of the block groups. Those with checksums say how much of each table is in use.
func (t *Table) readGroups(at int64, count, size int, sums bool) error {
	if count*size > maxGroupBytes {
		return fmt.Errorf("%w: %d block groups", ErrUnknown, count)
	}
	all := make([]byte, count*size)
	if _, err := t.dev.ReadAt(all, at); err != nil {
		return fmt.Errorf("%w: reading its block groups: %w", ErrUnknown, err)
	}
	t.groups = make([]group, count)
	for i := range t.groups {
		d := all[i*size : (i+1)*size]
		block := int64(binary.LittleEndian.Uint32(d[0x8:]))
		unused := uint32(binary.LittleEndian.Uint16(d[0x1c:]))
		if size >= 64 {
			block |= int64(binary.LittleEndian.Uint32(d[0x28:])) << 32
			unused |= uint32(binary.LittleEndian.Uint16(d[0x32:])) << 16
		}
		switch {
		case !sums:
			unused = 0
		case binary.LittleEndian.Uint16(d[0x12:])&groupNoInodes != 0:
			unused = t.perGroup
		}
		if unused > t.perGroup || block <= 0 {
			return fmt.Errorf("%w: block group %d makes no sense", ErrUnknown, i)
		}
		t.groups[i] = group{at: block * t.blockSize, used: t.perGroup - unused}
	}
	return nil
}
