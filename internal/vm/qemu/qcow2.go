package qemu

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// qcow2 is what is needed of a qcow2 file to tell which clusters it holds (docs/interop/qcow2.txt). The file is in a
// directory QEMU may write to: nothing in it is believed beyond what it can be used for here.
type qcow2 struct {
	f           *os.File
	clusterBits uint32
	l1          []uint64
}

const (
	// maxL1 bounds a first-level table, in entries: of 64 KiB clusters these are 512 TiB.
	maxL1 = 1 << 20
	// offsetMask are the bits of a table's entry that say where in the file it points.
	offsetMask     = 0x00fffffffffffe00
	compressedFlag = 1 << 62
	zeroFlag       = 1
	// extendedL2 is the incompatible feature by which entries are twice as long.
	extendedL2 = 1 << 4
)

func openQcow2(name string) (*qcow2, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	q := &qcow2{f: f}
	if err := q.readTable(); err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", filepath.Base(name), err)
	}
	return q, nil
}

func (q *qcow2) readTable() error {
	var h [80]byte
	if n, err := q.f.ReadAt(h[:], 0); err != nil && (err != io.EOF || n < 72) {
		return err
	}
	q.clusterBits = binary.BigEndian.Uint32(h[20:])
	size, offset := binary.BigEndian.Uint32(h[36:]), binary.BigEndian.Uint64(h[40:])
	version := binary.BigEndian.Uint32(h[4:])
	switch {
	case string(h[:4]) != "QFI\xfb" || version != 2 && version != 3:
		return fmt.Errorf("not a qcow2 file")
	case q.clusterBits < 9 || q.clusterBits > 21 || size > maxL1 || offset > 1<<50:
		return fmt.Errorf("clusters of 2^%d bytes and a table of %d entries cannot be", q.clusterBits, size)
	case version == 3 && binary.BigEndian.Uint64(h[72:])&extendedL2 != 0:
		return fmt.Errorf("its tables are of a kind that is not known")
	}
	var err error
	q.l1, err = q.entries(offset, int(size))
	return err
}

func (q *qcow2) entries(offset uint64, n int) ([]uint64, error) {
	raw := make([]byte, 8*n)
	if _, err := q.f.ReadAt(raw, int64(offset)); err != nil {
		return nil, err
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = binary.BigEndian.Uint64(raw[8*i:])
	}
	return all, nil
}

// second returns the i-th second-level table; nil if none of its clusters is in this file.
func (q *qcow2) second(i int) ([]uint64, error) {
	if i >= len(q.l1) || q.l1[i]&offsetMask == 0 {
		return nil, nil
	}
	return q.entries(q.l1[i]&offsetMask, 1<<(q.clusterBits-3))
}

// covered returns the bytes of data in layer below that layer above holds anew: what merging the one into the other frees.
func covered(below, above string) (int64, error) {
	b, err := openQcow2(below)
	if err != nil {
		return 0, err
	}
	defer b.f.Close()
	a, err := openQcow2(above)
	if err != nil {
		return 0, err
	}
	defer a.f.Close()
	if a.clusterBits != b.clusterBits {
		return 0, fmt.Errorf("comparing disk layers: their clusters differ in size")
	}
	var clusters int64
	for i := range b.l1 {
		old, err := b.second(i)
		if err != nil {
			return 0, err
		}
		if old == nil {
			continue
		}
		anew, err := a.second(i)
		if err != nil {
			return 0, err
		}
		for j := range anew {
			if old[j]&(offsetMask|compressedFlag) != 0 && anew[j]&(offsetMask|compressedFlag|zeroFlag) != 0 {
				clusters++
			}
		}
	}
	return clusters << b.clusterBits, nil
}
