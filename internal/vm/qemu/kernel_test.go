package qemu

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// testELF is as much of a kernel as unpacking looks at, with repetitions for a packer to find.
func testELF() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := []byte("\x7fELF")
	for range 3000 {
		b = append(b, bytes.Repeat([]byte{byte(r.IntN(256))}, 1+r.IntN(40))...)
		b = append(b, byte(r.IntN(256)))
	}
	return b
}

// bzImageOf wraps a payload as arch/x86/boot does: one setup sector, then code, with the payload somewhere in it.
func bzImageOf(payload []byte) []byte {
	img := make([]byte, 1024+64)
	img[0x1f1] = 1
	copy(img[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(img[0x206:], 0x20f)
	binary.LittleEndian.PutUint32(img[0x248:], 64)
	binary.LittleEndian.PutUint32(img[0x24c:], uint32(len(payload)))
	return append(append(img, payload...), "rest"...)
}

func sized(packed []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(packed, uint32(size))
}

// legacyLZ4 packs in the only way a reader needs no packer to test: literals, and for a run of one byte a copy of
// itself.
func legacyLZ4(data []byte) []byte {
	var block []byte
	length := func(n int) (byte, []byte) {
		if n < 15 {
			return byte(n), nil
		}
		var more []byte
		for n -= 15; n >= 255; n -= 255 {
			more = append(more, 255)
		}
		return 15, append(more, byte(n))
	}
	for len(data) > 12 {
		literals := min(len(data)-8, 20)
		run := 0
		for literals+run < len(data)-6 && data[literals+run] == data[literals-1] {
			run++
		}
		if run < 4 {
			literals, run = literals-1, 0
		}
		if run == 0 {
			break
		}
		l, lMore := length(literals)
		m, mMore := length(run - 4)
		block = append(append(append(block, l<<4|m), lMore...), data[:literals]...)
		block = append(append(block, 1, 0), mMore...)
		data = data[literals+run:]
	}
	l, more := length(len(data))
	block = append(append(append(block, l<<4), more...), data...)
	out := []byte{0x02, 0x21, 0x4c, 0x18}
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(block))), block...)
}

func TestUncompressedKernel(t *testing.T) {
	elf := testELF()
	runs := append([]byte("\x7fELF and then"), bytes.Repeat([]byte("a"), 5000)...)
	runs = append(runs, "the end of it"...)
	var gz, xzed bytes.Buffer
	g := gzip.NewWriter(&gz)
	_, _ = g.Write(elf)
	_ = g.Close()
	x, err := xz.NewWriter(&xzed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = x.Write(elf)
	_ = x.Close()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ payload, want []byte }{
		"plain": {elf, elf},
		"gzip":  {gz.Bytes(), elf},
		"xz":    {sized(xzed.Bytes(), len(elf)), elf},
		"zstd":  {sized(z.EncodeAll(elf, nil), len(elf)), elf},
		"lz4":   {sized(legacyLZ4(runs), len(runs)), runs},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := uncompressedKernel(bzImageOf(tt.payload))
			if err != nil || !bytes.Equal(got, tt.want) {
				t.Errorf("unpacked %d bytes, %v, want the %d packed", len(got), err, len(tt.want))
			}
		})
	}
}

func TestUncompressedKernelRefuses(t *testing.T) {
	outside := bzImageOf([]byte("\x7fELF----"))
	binary.LittleEndian.PutUint32(outside[0x24c:], 1<<31)
	old := bzImageOf([]byte("\x7fELF----"))
	old[0x206] = 1
	old[0x207] = 2
	for name, image := range map[string][]byte{
		"nothing":          nil,
		"text":             bytes.Repeat([]byte("kernel"), 500),
		"outside":          outside,
		"old protocol":     old,
		"unknown packing":  bzImageOf([]byte("packed by nobody")),
		"no ELF inside":    bzImageOf(sized(legacyLZ4([]byte("#!/bin/sh and no kernel")), 23)),
		"wrong size":       bzImageOf(sized(legacyLZ4([]byte("\x7fELF and no more")), 99)),
		"size of a planet": bzImageOf(sized(legacyLZ4([]byte("\x7fELF and no more")), 1<<32-1)),
	} {
		if got, err := uncompressedKernel(image); err == nil {
			t.Errorf("%s: unpacked %d bytes", name, len(got))
		}
	}
}

// A damaged or hostile kernel image ends in an error, whatever is wrong with it.
func FuzzUncompressedKernel(f *testing.F) {
	f.Add(bzImageOf(sized(legacyLZ4([]byte("\x7fELF aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa end")), 40)))
	f.Add(bzImageOf([]byte("\x7fELF----")))
	f.Fuzz(func(t *testing.T, image []byte) {
		if len(image) > 1<<16 {
			return
		}
		if kernel, err := uncompressedKernel(image); err == nil && !bytes.HasPrefix(kernel, []byte("\x7fELF")) {
			t.Error("accepted what is no ELF file")
		}
	})
}
