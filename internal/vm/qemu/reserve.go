package qemu

import (
	"bytes"
	"os"
	"path/filepath"
)

// A machine keeps a little disk space for nothing: what makes room must not need some, and a deletion is journaled.
const (
	reserveFile = "reserve"
	reserveSize = 64 << 10 // bytes; a record is a few KiB
)

// withReserve does what is written to make room, or to end what was begun, on a full disk with the space that was kept
// for it. It may do it twice.
func (m *machine) withReserve(do func() error) error {
	err := do()
	if !isFull(err) || os.Remove(filepath.Join(m.dir, reserveFile)) != nil {
		return err
	}
	return do()
}

// keepReserve sets that space aside, where it was used or there never was any. Without it a machine is as good as any
// until the disk is full.
func (m *machine) keepReserve() {
	name := filepath.Join(m.dir, reserveFile)
	if _, err := os.Lstat(name); err == nil {
		return
	}
	// Not zeroes: some file systems store none.
	if err := os.WriteFile(name, bytes.Repeat([]byte("reserve "), reserveSize/8), 0o600); err != nil {
		_ = os.Remove(name)
	}
}
