package qemu

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxKernel bounds an uncompressed kernel.
const maxKernel = 512 << 20

// uncompressedKernel returns the ELF kernel packed in a bzImage. QEMU enters it directly (PVH), which saves an emulated
// processor the decompression. Offsets are those of the setup header (Documentation/arch/x86/boot.rst: setup_sects at
// 0x1f1, "HdrS" at 0x202, payload_offset at 0x248, payload_length at 0x24c).
func uncompressedKernel(bzImage []byte) ([]byte, error) {
	if len(bzImage) < 0x250 || string(bzImage[0x202:0x206]) != "HdrS" {
		return nil, errors.New("unpacking the kernel: not a bzImage")
	}
	if version := binary.LittleEndian.Uint16(bzImage[0x206:]); version < 0x208 {
		return nil, fmt.Errorf("unpacking the kernel: boot protocol %#x is too old", version)
	}
	sectors := uint64(bzImage[0x1f1])
	if sectors == 0 {
		sectors = 4
	}
	start := (sectors+1)*512 + uint64(binary.LittleEndian.Uint32(bzImage[0x248:]))
	length := uint64(binary.LittleEndian.Uint32(bzImage[0x24c:]))
	if length < 8 || start+length > uint64(len(bzImage)) {
		return nil, errors.New("unpacking the kernel: its payload lies outside the file")
	}
	kernel, err := unpack(bzImage[start : start+length])
	if err != nil {
		return nil, fmt.Errorf("unpacking the kernel: %w", err)
	}
	if !bytes.HasPrefix(kernel, []byte("\x7fELF")) {
		return nil, errors.New("unpacking the kernel: its payload is not an ELF file")
	}
	return kernel, nil
}

// unpack decompresses by magic. The kernel's build appends the unpacked size, four bytes, to formats that do not end in
// it (scripts/Makefile.lib: size_append); readers of whole streams must not take that for another stream.
func unpack(payload []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(payload, []byte("\x7fELF")):
		return payload, nil
	case bytes.HasPrefix(payload, []byte("\x02\x21\x4c\x18")):
		return unpackLegacyLZ4(payload, maxKernel)
	case bytes.HasPrefix(payload, []byte("\xfd7zXZ\x00")):
		r, err = xz.ReaderConfig{SingleStream: true}.NewReader(bytes.NewReader(payload[:len(payload)-4]))
	case bytes.HasPrefix(payload, []byte("\x28\xb5\x2f\xfd")):
		var z *zstd.Decoder
		z, err = zstd.NewReader(bytes.NewReader(payload[:len(payload)-4]), zstd.WithDecoderMaxMemory(maxKernel))
		if err == nil {
			defer z.Close()
			r = z
		}
	case bytes.HasPrefix(payload, []byte("\x1f\x8b")):
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(payload)); err == nil {
			z.Multistream(false)
			r = z
		}
	default:
		return nil, fmt.Errorf("compression with magic % x is not known", payload[:4])
	}
	if err != nil {
		return nil, err
	}
	kernel, err := io.ReadAll(io.LimitReader(r, maxKernel+1))
	if err != nil {
		return nil, err
	}
	if len(kernel) > maxKernel {
		return nil, errors.New("larger than any kernel")
	}
	return kernel, nil
}
