package wire

import "golang.org/x/sys/unix"

// EntryOf is the entry of a file by what the kernel says of it. Where a link leads is not known from that.
func EntryOf(name string, st *unix.Stat_t) Entry {
	return Entry{
		Name: name, Kind: kindOf(uint32(st.Mode)), Size: max(st.Size, 0), Mode: uint32(st.Mode) & 0o7777,
		MTime: stampOf(st.Mtim), CTime: stampOf(st.Ctim),
		Inode: st.Ino, Device: uint64(st.Dev), Links: uint64(st.Nlink),
	}
}

// stampOf never makes a stamp that the other side does not take, whatever a file system claims.
func stampOf(t unix.Timespec) Stamp {
	sec, nsec := t.Unix()
	return Stamp{Sec: sec, Nano: int32(min(max(nsec, 0), 999_999_999))}
}

// kindOf is find's %y for a mode.
func kindOf(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 'f'
	case unix.S_IFDIR:
		return 'd'
	case unix.S_IFLNK:
		return 'l'
	case unix.S_IFIFO:
		return 'p'
	case unix.S_IFSOCK:
		return 's'
	case unix.S_IFBLK:
		return 'b'
	case unix.S_IFCHR:
		return 'c'
	}
	return '?'
}
