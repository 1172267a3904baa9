package statusicon

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"path/filepath"
	"testing"

	xdraw "golang.org/x/image/draw"

	goldenfile "github.com/calmenu/calmenu/internal/golden"
)

// TestIconsAreGolden compares what is drawn with testdata/*.png, pixel by pixel, with room for the rounding of
// another CPU.
func TestIconsAreGolden(t *testing.T) {
	for _, s := range Statuses {
		for _, size := range []int{16, 22, 32, 64} {
			t.Run(fmt.Sprintf("%v-%d", s, size), func(t *testing.T) {
				golden(t, fmt.Sprintf("%v-%d.png", s, size), Icon(s, size))
			})
		}
		t.Run(fmt.Sprintf("template-%v", s), func(t *testing.T) {
			golden(t, fmt.Sprintf("template-%v-32.png", s), Template(s, 32))
		})
	}
	t.Run("app", func(t *testing.T) { golden(t, "app-256.png", encode(AppIcon(256))) })
	t.Run("contact sheet", func(t *testing.T) { golden(t, "contact-sheet.png", encode(contactSheet())) })
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	want, ok := goldenfile.Load(t, filepath.Join("testdata", name), got)
	if !ok {
		return
	}
	if at, ok := similar(decode(t, got), decode(t, want)); !ok {
		t.Errorf("%s differs at %v; look at it and run go test -update if it is meant", name, at)
	}
}

func decode(t *testing.T, data []byte) image.Image {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// similar says whether two pictures differ nowhere by more than 3 of 255 in any channel.
func similar(a, b image.Image) (image.Point, bool) {
	if a.Bounds() != b.Bounds() {
		return image.Point{}, false
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			r1, g1, b1, a1 := a.At(x, y).RGBA()
			r2, g2, b2, a2 := b.At(x, y).RGBA()
			for _, d := range [][2]uint32{{r1, r2}, {g1, g2}, {b1, b2}, {a1, a2}} {
				if max(d[0], d[1])-min(d[0], d[1]) > 3*0x101 {
					return image.Pt(x, y), false
				}
			}
		}
	}
	return image.Point{}, true
}

// contactSheet shows all icons on a light and a dark bar, as they are and magnified.
func contactSheet() image.Image {
	sheet := image.NewNRGBA(image.Rect(0, 0, 640, 440))
	for row, bar := range []color.NRGBA{{0xf4, 0xf4, 0xf4, 0xff}, {0x22, 0x24, 0x28, 0xff}} {
		ground := image.Rect(0, 220*row, 640, 220*row+220)
		draw.Draw(sheet, ground, image.NewUniform(bar), image.Point{}, draw.Src)
		for i, s := range Statuses {
			x, y := 10+160*i, 220*row+10
			at := func(img image.Image, x, y int) {
				draw.Draw(sheet, img.Bounds().Add(image.Pt(x, y)), img, image.Point{}, draw.Over)
			}
			at(Draw(s, 16), x, y)
			at(Draw(s, 22), x+26, y)
			at(Draw(s, 32), x+58, y)
			at(Draw(s, 64), x+90, y)
			big := Draw(s, 16)
			xdraw.NearestNeighbor.Scale(sheet, image.Rect(x, y+70, x+128, y+198), big, big.Bounds(), draw.Over, nil)
		}
	}
	return sheet
}

// TestShapesDiffer holds the icons apart for somebody who sees no colours: the coverage alone must differ widely.
func TestShapesDiffer(t *testing.T) {
	for i, a := range Statuses {
		for _, b := range Statuses[i+1:] {
			x, y := decode(t, Template(a, 16)), decode(t, Template(b, 16))
			differ := 0
			for j := range 256 {
				_, _, _, a1 := x.At(j%16, j/16).RGBA()
				_, _, _, a2 := y.At(j%16, j/16).RGBA()
				if max(a1, a2)-min(a1, a2) > 0x8000 {
					differ++
				}
			}
			if differ < 40 {
				t.Errorf("%v and %v differ in %d of 256 pixels of coverage at 16 px", a, b, differ)
			}
		}
	}
}

// TestContrast holds every icon legible: on either bar some colour of it must reach 3:1 (WCAG 2, non-text contrast).
func TestContrast(t *testing.T) {
	bars := map[string]color.NRGBA{"light": {0xf4, 0xf4, 0xf4, 0xff}, "dark": {0x22, 0x24, 0x28, 0xff}}
	for _, s := range Statuses {
		for name, bar := range bars {
			legible := 0
			img := Draw(s, 16)
			for i := range 256 {
				c := color.NRGBAModel.Convert(img.At(i%16, i/16)).(color.NRGBA)
				if c.A > 0xe0 && contrast(c, bar) >= 3 {
					legible++
				}
			}
			if legible < 40 {
				t.Errorf("%v on a %s bar: %d of 256 pixels with a contrast of 3:1", s, name, legible)
			}
		}
	}
}

func contrast(a, b color.NRGBA) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(c color.NRGBA) float64 {
	lin := func(v uint8) float64 {
		f := float64(v) / 255
		if f <= 0.03928 {
			return f / 12.92
		}
		return math.Pow((f+0.055)/1.055, 2.4)
	}
	return 0.2126*lin(c.R) + 0.7152*lin(c.G) + 0.0722*lin(c.B)
}

func TestIconIsCached(t *testing.T) {
	a, b := Icon(Verified, 32), Icon(Verified, 32)
	if &a[0] != &b[0] {
		t.Error("the same icon was drawn twice")
	}
}
