package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"sync"

	"github.com/calmenu/calmenu/internal/statusicon"
)

// picture is one picture of an .icns: its side in pixels, and the type that names the size it is for and whether that
// is for Retina displays.
type picture struct {
	kind string
	side int
	argb bool
}

// pictures are those that iconutil makes of a complete icon set. The two smallest are packed ARGB, as there: macOS
// shows PNG of these sizes (icp4, icp5) broken in some places.
var pictures = []picture{
	{"ic04", 16, true},
	{"ic05", 32, true},
	{"ic07", 128, false},
	{"ic08", 256, false},
	{"ic09", 512, false},
	{"ic10", 1024, false}, // 512 for Retina
	{"ic11", 32, false},   // 16 for Retina
	{"ic12", 64, false},   // 32 for Retina
	{"ic13", 256, false},  // 128 for Retina
	{"ic14", 512, false},  // 256 for Retina
}

// appIcon returns the program's icon as .icns, drawn anew at each size; drawing takes a while.
var appIcon = sync.OnceValues(func() ([]byte, error) {
	drawn := map[int]image.Image{}
	var entries bytes.Buffer
	for _, p := range pictures {
		if drawn[p.side] == nil {
			drawn[p.side] = statusicon.AppIcon(p.side)
		}
		var data bytes.Buffer
		if p.argb {
			data.Write(packedARGB(drawn[p.side]))
		} else if err := png.Encode(&data, drawn[p.side]); err != nil {
			return nil, fmt.Errorf("drawing the icon: %w", err)
		}
		writeEntry(&entries, p.kind, data.Bytes())
	}
	var out bytes.Buffer
	writeEntry(&out, "icns", entries.Bytes())
	return out.Bytes(), nil
})

// writeEntry writes one entry of an .icns, or the whole: four letters, the length with these eight bytes, the data.
func writeEntry(to *bytes.Buffer, kind string, data []byte) {
	to.WriteString(kind)
	to.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data)+8)))
	to.Write(data)
}

// packedARGB returns a picture as an .icns has its small ones: the letters ARGB, then alpha, red, green and blue one
// after the other, each packed.
func packedARGB(img image.Image) []byte {
	b := img.Bounds()
	var planes [4][]byte
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
			for i, v := range [4]byte{c.A, c.R, c.G, c.B} {
				planes[i] = append(planes[i], v)
			}
		}
	}
	out := []byte("ARGB")
	for _, plane := range planes {
		out = pack(out, plane)
	}
	return out
}

// pack appends data to out, packed: a byte below 128 is one less than the number of bytes that follow as they are (1 to
// 128), another is 125 more than how often the next byte is repeated (3 to 130).
func pack(out, data []byte) []byte {
	literal := 0 // bytes before data[i] that are not written yet
	for i := 0; i < len(data); {
		run := 1
		for run < 130 && i+run < len(data) && data[i+run] == data[i] {
			run++
		}
		if run < 3 {
			run = 1
			literal++
			if literal == 128 || i+1 == len(data) {
				out = append(append(out, byte(literal-1)), data[i+1-literal:i+1]...)
				literal = 0
			}
			i += run
			continue
		}
		if literal > 0 {
			out = append(append(out, byte(literal-1)), data[i-literal:i]...)
			literal = 0
		}
		out = append(out, byte(run+125), data[i])
		i += run
	}
	return out
}
