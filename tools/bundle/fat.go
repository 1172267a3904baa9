package main

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// slice is a program for one processor, as one part of a universal program.
type slice struct {
	cpu     macho.Cpu
	subtype uint32
	data    []byte
	modules []string // it was built from
}

// alignment is where parts of a universal program may begin, as a power of two: pages of Apple silicon are of 16 KiB,
// and what is aligned for them is aligned for the 4 KiB of Intel.
const alignment = 14

// writeFat returns a universal program: a header in big-endian order (mach-o/fat.h) and the programs behind it, each
// unchanged, so that its own signature stays valid. It is what lipo -create makes.
func writeFat(parts []slice) ([]byte, error) {
	parts = slices.SortedFunc(slices.Values(parts), func(a, b slice) int { return int(a.cpu) - int(b.cpu) })
	var header bytes.Buffer
	put := func(values ...uint32) {
		for _, v := range values {
			header.Write(binary.BigEndian.AppendUint32(nil, v))
		}
	}
	put(macho.MagicFat, uint32(len(parts)))
	at := align(8 + 20*len(parts))
	end := at
	offsets := make([]int, 0, len(parts))
	for _, p := range parts {
		at = align(end)
		end = at + len(p.data)
		if end > math.MaxUint32 {
			return nil, fmt.Errorf("joining the programs: together they are larger than 4 GiB")
		}
		put(uint32(p.cpu), p.subtype, uint32(at), uint32(len(p.data)), alignment)
		offsets = append(offsets, at)
	}
	out := make([]byte, end)
	copy(out, header.Bytes())
	for i, p := range parts {
		copy(out[offsets[i]:], p.data)
	}
	return out, nil
}

// align returns the first place from n on where a part may begin.
func align(n int) int { return (n + 1<<alignment - 1) &^ (1<<alignment - 1) }
