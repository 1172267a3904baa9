package main

import (
	"bytes"
	"encoding/binary"
	"image/color"
	"image/png"
	"slices"
	"testing"

	"github.com/jackmordaunt/icns/v3"
	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/statusicon"
)

// TestAppIcon reads the icon back: every size that macOS asks for is there, and each picture is the one that is drawn.
func TestAppIcon(t *testing.T) {
	data, err := appIcon()
	if err != nil {
		t.Fatal(err)
	}
	if string(data[:4]) != "icns" || int(binary.BigEndian.Uint32(data[4:])) != len(data) {
		t.Fatalf("the icon begins with %q", data[:8])
	}
	var kinds []string
	for rest := data[8:]; len(rest) > 0; {
		kind, length := string(rest[:4]), int(binary.BigEndian.Uint32(rest[4:]))
		kinds = append(kinds, kind)
		p := pictures[slices.IndexFunc(pictures, func(p picture) bool { return p.kind == kind })]
		if p.argb {
			checkPacked(t, p, rest[8:length])
		} else {
			checkPNG(t, p, rest[8:length])
		}
		rest = rest[length:]
	}
	want := []string{"ic04", "ic05", "ic07", "ic08", "ic09", "ic10", "ic11", "ic12", "ic13", "ic14"}
	if !slices.Equal(kinds, want) {
		t.Errorf("the icon has the pictures %v, want %v", kinds, want)
	}
}

// checkPacked compares a packed picture with the one that is drawn at its size, channel by channel.
func checkPacked(t *testing.T, p picture, data []byte) {
	t.Helper()
	packed, ok := bytes.CutPrefix(data, []byte("ARGB"))
	planes := unpack(t, packed)
	n := p.side * p.side
	if !ok || len(planes) != 4*n {
		t.Fatalf("%s begins with %q and has %d bytes, want %d", p.kind, data[:4], len(planes), 4*n)
	}
	drawn := statusicon.AppIcon(p.side)
	for i := range n {
		want := color.NRGBAModel.Convert(drawn.At(i%p.side, i/p.side))
		got := color.NRGBA{A: planes[i], R: planes[n+i], G: planes[2*n+i], B: planes[3*n+i]}
		if got != want {
			t.Fatalf("%s: pixel %d is %v, want %v", p.kind, i, got, want)
		}
	}
	if planes[0] != 0 || planes[n/2+p.side/2] != 255 {
		t.Errorf("%s: a corner with the alpha %d, a middle with %d", p.kind, planes[0], planes[n/2+p.side/2])
	}
}

// checkPNG looks at points of a picture: the large ones take a while to draw again.
func checkPNG(t *testing.T, p picture, data []byte) {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", p.kind, err)
	}
	if b := img.Bounds(); b.Dx() != p.side || b.Dy() != p.side {
		t.Errorf("%s is %v, want a side of %d", p.kind, b, p.side)
	}
	for _, at := range []struct{ x, y, alpha int }{
		{0, 0, 0}, {p.side - 1, 0, 0}, {0, p.side - 1, 0}, {p.side / 2, p.side / 2, 0xffff}, {p.side / 2, p.side / 8, 0xffff},
	} {
		if _, _, _, a := img.At(at.x, at.y).RGBA(); int(a) != at.alpha {
			t.Errorf("%s has the alpha %#x at %d,%d, want %#x", p.kind, a, at.x, at.y, at.alpha)
		}
	}
}

// TestAppIconForOthers has somebody else's reader find the pictures that are PNG.
func TestAppIconForOthers(t *testing.T) {
	data, err := appIcon()
	if err != nil {
		t.Fatal(err)
	}
	all, err := icns.DecodeAll(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var sides []int
	for _, p := range all {
		sides = append(sides, p.Bounds().Dx())
	}
	slices.Sort(sides)
	if want := []int{32, 64, 128, 256, 256, 512, 512, 1024}; !slices.Equal(sides, want) {
		t.Errorf("sides are %v, want %v", sides, want)
	}
}

// TestPack holds that what is packed unpacks to the same, whatever it is.
func TestPack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var data []byte
		for range rapid.IntRange(0, 20).Draw(r, "runs") {
			data = append(data, bytes.Repeat([]byte{rapid.Byte().Draw(r, "byte")}, rapid.IntRange(1, 300).Draw(r, "length"))...)
			data = append(data, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "noise")...)
		}
		if got := unpack(t, pack(nil, data)); !bytes.Equal(got, data) {
			t.Fatalf("%d bytes came back as %d others", len(data), len(got))
		}
	})
}

func unpack(t *testing.T, packed []byte) []byte {
	t.Helper()
	var out []byte
	for len(packed) > 0 {
		n := int(packed[0])
		if n < 128 {
			if len(packed) < n+2 {
				t.Fatalf("%d bytes announced, %d there", n+1, len(packed)-1)
			}
			out = append(out, packed[1:n+2]...)
			packed = packed[n+2:]
			continue
		}
		out = append(out, bytes.Repeat(packed[1:2], n-125)...)
		packed = packed[2:]
	}
	return out
}
