package main

import (
	"bytes"
	"encoding/binary"
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
		side := pictures[slices.IndexFunc(pictures, func(p picture) bool { return p.kind == kind })].side
		alpha := readPicture(t, kind, side, rest[8:length])
		if corner, middle := alpha[0], alpha[side*side/2+side/2]; corner != 0 || middle != 255 {
			t.Errorf("%s: a corner with the alpha %d, a middle with %d", kind, corner, middle)
		}
		rest = rest[length:]
	}
	want := []string{"ic04", "ic05", "ic07", "ic08", "ic09", "ic10", "ic11", "ic12", "ic13", "ic14"}
	if !slices.Equal(kinds, want) {
		t.Errorf("the icon has the pictures %v, want %v", kinds, want)
	}
}

// readPicture returns the alpha of each pixel of an entry, after comparing the picture with what is drawn at its size.
func readPicture(t *testing.T, kind string, side int, data []byte) []byte {
	t.Helper()
	drawn := packedARGB(statusicon.AppIcon(side))
	got := data
	if !bytes.HasPrefix(data, []byte("ARGB")) {
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if b := img.Bounds(); b.Dx() != side || b.Dy() != side {
			t.Errorf("%s is %v, want a side of %d", kind, b, side)
		}
		got = packedARGB(img)
	}
	if !bytes.Equal(got, drawn) {
		t.Errorf("%s is not the picture drawn at %d pixels", kind, side)
	}
	planes := unpack(t, drawn[4:])
	if len(planes) != 4*side*side {
		t.Fatalf("%s has %d bytes, want %d", kind, len(planes), 4*side*side)
	}
	return planes[:side*side]
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
