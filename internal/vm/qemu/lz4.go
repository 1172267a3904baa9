package qemu

import (
	"encoding/binary"
	"errors"
)

// errLZ4 says that data is not what the LZ4 block format allows.
var errLZ4 = errors.New("damaged LZ4 data")

// unpackLegacyLZ4 unpacks the frames `lz4 -l` writes, in which Debian's kernels are packed: a magic number, then
// blocks, each a length and data that unpacks to at most 8 MiB. The kernel's build appends the unpacked size. No
// library that the project has reads this format.
func unpackLegacyLZ4(data []byte, limit int) ([]byte, error) {
	const blockLimit = 8 << 20
	if len(data) < 8 {
		return nil, errLZ4
	}
	size := int64(binary.LittleEndian.Uint32(data[len(data)-4:]))
	if size > int64(limit) {
		return nil, errors.New("larger than any kernel")
	}
	in := data[4 : len(data)-4]
	out := make([]byte, 0, size)
	for len(in) > 0 {
		if len(in) < 4 {
			return nil, errLZ4
		}
		n := int64(binary.LittleEndian.Uint32(in))
		if in = in[4:]; n > int64(len(in)) {
			return nil, errLZ4
		}
		var err error
		if out, err = appendLZ4Block(out, in[:n], blockLimit); err != nil {
			return nil, err
		}
		if int64(len(out)) > size {
			return nil, errLZ4
		}
		in = in[n:]
	}
	if int64(len(out)) != size {
		return nil, errLZ4
	}
	return out, nil
}

// appendLZ4Block appends what a block unpacks to (doc/lz4_Block_format.md of the lz4 project): sequences of literals
// and copies of what was unpacked before, the last without a copy.
func appendLZ4Block(out, in []byte, limit int) ([]byte, error) {
	start := len(out)
	for len(in) > 0 {
		token := in[0]
		var n int
		var ok bool
		if n, in, ok = lz4Length(int(token>>4), in[1:]); !ok || n > len(in) || len(out)-start+n > limit {
			return nil, errLZ4
		}
		out = append(out, in[:n]...)
		if in = in[n:]; len(in) == 0 {
			return out, nil
		}
		if len(in) < 2 {
			return nil, errLZ4
		}
		distance := int(binary.LittleEndian.Uint16(in))
		n, in, ok = lz4Length(int(token&15), in[2:])
		n += 4 // the shortest copy
		if !ok || distance == 0 || distance > len(out)-start || len(out)-start+n > limit {
			return nil, errLZ4
		}
		for from := len(out) - distance; n > 0; {
			// A copy may reach into itself: what it repeats grows as it goes.
			step := min(n, len(out)-from)
			out = append(out, out[from:from+step]...)
			n -= step
		}
	}
	return nil, errLZ4 // a block ends with literals
}

// lz4Length reads the rest of a length: 15 goes on in the next bytes, as long as they are 255.
func lz4Length(n int, in []byte) (int, []byte, bool) {
	if n < 15 {
		return n, in, true
	}
	for i, b := range in {
		if n += int(b); b < 255 {
			return n, in[i+1:], true
		}
		if n > 1<<30 {
			break
		}
	}
	return 0, nil, false
}
