package qemu

import (
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"

	"github.com/calmenu/calmenu/internal/vm"
)

// File types of a cpio header's mode, as of stat(2).
const (
	cpioDir     = 0o040000
	cpioRegular = 0o100000
)

// cpioWriter writes an archive in the kernel's "newc" format
// (Documentation/driver-api/early-userspace/buffer-format.rst). Several archives may follow each other in one initrd:
// the kernel unpacks them in order.
type cpioWriter struct {
	w     io.Writer
	inode uint32
	err   error
}

func newCPIO(w io.Writer) *cpioWriter { return &cpioWriter{w: w} }

func (c *cpioWriter) dir(name string, perm os.FileMode, uid, gid int) {
	c.entry(name, cpioDir|uint32(perm.Perm()), uid, gid, nil)
}

func (c *cpioWriter) file(name string, perm os.FileMode, uid, gid int, data []byte) {
	c.entry(name, cpioRegular|uint32(perm.Perm()), uid, gid, data)
}

// close ends the archive and returns the first error of any call.
func (c *cpioWriter) close() error {
	c.entry("TRAILER!!!", 0, 0, 0, nil)
	return c.err
}

func (c *cpioWriter) entry(name string, mode uint32, uid, gid int, data []byte) {
	if c.err != nil {
		return
	}
	if int64(len(data)) > 1<<32-1 {
		c.err = fmt.Errorf("writing %s to the initrd: larger than 4 GiB", name)
		return
	}
	c.inode++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.inode, mode, uint32(uid), uint32(gid), 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	c.write([]byte(header))
	c.write(data)
}

// write writes b and pads it to four bytes, as header-with-name and data each are.
func (c *cpioWriter) write(b []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
	if pad := -len(b) & 3; pad > 0 && c.err == nil {
		_, c.err = c.w.Write(make([]byte, pad))
	}
}

// writeInit writes the archive with calinit as the RAM disk's init.
func writeInit(w io.Writer, calinit []byte) error {
	c := newCPIO(w)
	c.dir("dev", 0o755, 0, 0)
	c.dir("root", 0o755, 0, 0)
	c.file("init", 0o755, 0, 0, calinit)
	return c.close()
}

// writeSeed writes the archive with the seed files below seed/. Parents that files do not name are root's, 0755; where
// the guest has them already, calinit leaves those alone.
func writeSeed(w io.Writer, files []vm.SeedFile) error {
	c := newCPIO(w)
	seen := map[string]bool{"seed": true}
	c.dir("seed", 0o755, 0, 0)
	sorted := append([]vm.SeedFile(nil), files...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Path < sorted[j].Path })
	for _, f := range sorted {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" || strings.ContainsRune(f.Path, 0) {
			return fmt.Errorf("seeding %q: not a clean absolute path", f.Path)
		}
		name := "seed" + f.Path
		if seen[name] {
			return fmt.Errorf("seeding %q: named twice", f.Path)
		}
		for _, parent := range parents(name) {
			if !seen[parent] {
				seen[parent] = true
				c.dir(parent, 0o755, 0, 0)
			}
		}
		seen[name] = true
		if f.Mode.IsDir() {
			c.dir(name, f.Mode, f.UID, f.GID)
		} else {
			c.file(name, f.Mode, f.UID, f.GID, f.Data)
		}
	}
	return c.close()
}

// parents returns the directories above a relative name, outermost first.
func parents(name string) []string {
	var all []string
	for i, r := range name {
		if r == '/' {
			all = append(all, name[:i])
		}
	}
	return all
}
