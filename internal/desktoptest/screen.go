//go:build linux

package desktoptest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"time"

	xdraw "golang.org/x/image/draw"

	"github.com/calmenu/calmenu/internal/statusicon"
)

// Screen returns what the screen shows now. It reads the framebuffer that Xvfb maps into a file in XWD format
// (X11/XWDFile.h): no program has to be started to look.
func (s *Session) Screen() *image.RGBA { return s.top(Height) }

// top returns the topmost rows of the screen, as Screen does all.
func (s *Session) top(rows int) *image.RGBA {
	s.t.Helper()
	f, err := os.Open(s.fb)
	if err != nil {
		s.t.Fatalf("reading the screen: %v", err)
	}
	defer f.Close()
	img, err := decodeXWD(f, rows)
	if err != nil {
		s.t.Fatalf("reading the screen: %v", err)
	}
	return img
}

func decodeXWD(r io.Reader, rows int) (*image.RGBA, error) {
	header := make([]byte, 100)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("the header of an XWD file: %w", err)
	}
	field := func(i int) int { return int(binary.BigEndian.Uint32(header[4*i:])) }
	width, height, littleEndian, bits, stride := field(4), min(field(5), rows), field(7) == 0, field(11), field(12)
	start := field(0) + 12*field(19)
	if bits != 32 || !littleEndian || start < len(header) || stride < 4*width || stride*height > 64<<20 {
		return nil, fmt.Errorf("an XWD file of %d bits a pixel, %d bytes a line", bits, stride)
	}
	if _, err := io.CopyN(io.Discard, r, int64(start-len(header))); err != nil {
		return nil, fmt.Errorf("the colours of an XWD file: %w", err)
	}
	data := make([]byte, stride*height)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("the pixels of an XWD file: %w", err)
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		in, out := data[y*stride:], img.Pix[y*img.Stride:]
		for x := range width {
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = in[4*x+2], in[4*x+1], in[4*x], 0xff
		}
	}
	return img, nil
}

// Screenshot keeps the screen as name.png in Artifacts and returns its path. It gives programs a moment to finish
// drawing: it waits until two looks in a row show the same, but not for long, for a clock or a cursor may never rest.
func (s *Session) Screenshot(name string) string {
	s.t.Helper()
	screen := s.Screen()
	for range 10 {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.done.Done():
		}
		before := screen
		if screen = s.Screen(); bytes.Equal(before.Pix, screen.Pix) {
			break
		}
	}
	path := filepath.Join(s.out, name+".png")
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := png.Encode(f, screen); err != nil {
		s.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// TrayIcon returns where on the screen the icon of status is, by its picture, and whether it is there at all.
func (s *Session) TrayIcon(status statusicon.Status) (image.Rectangle, bool) {
	s.t.Helper()
	panel := s.top(panelHeight)
	ground := panel.RGBAAt(Width/2, panelHeight/2)
	large := statusicon.Draw(status, 64)
	picture := image.NewRGBA(image.Rect(0, 0, trayIconSize, trayIconSize))
	draw.Draw(picture, picture.Bounds(), image.NewUniform(ground), image.Point{}, draw.Src)
	xdraw.ApproxBiLinear.Scale(picture, picture.Bounds(), large, large.Bounds(), draw.Over, nil)
	nothing := image.NewRGBA(picture.Bounds())
	draw.Draw(nothing, nothing.Bounds(), image.NewUniform(ground), image.Point{}, draw.Src)
	best, at := sameIcon*distance(nothing, image.Point{}, picture, 765), image.Point{}
	there := false
	for y := 0; y+trayIconSize <= panelHeight; y++ {
		for x := 0; x+trayIconSize <= Width; x++ {
			if d := distance(panel, image.Pt(x, y), picture, best); d < best {
				best, at, there = d, image.Pt(x, y), true
			}
		}
	}
	return picture.Bounds().Add(at), there
}

// sameIcon is how far what is on the screen may be from the icon drawn here, as a part of how far the empty panel is:
// each panel scales icons in its own way.
const sameIcon = 0.35

// distance is the mean difference of picture and what is at at, or anything above limit.
func distance(img *image.RGBA, at image.Point, picture *image.RGBA, limit float64) float64 {
	n := picture.Rect.Dx() * picture.Rect.Dy()
	sum, most := 0, int(limit*float64(n))
	for y := range picture.Rect.Dy() {
		a := img.Pix[img.PixOffset(at.X, at.Y+y):]
		b := picture.Pix[picture.PixOffset(0, y):]
		for x := range picture.Rect.Dx() {
			for c := range 3 {
				d := int(a[4*x+c]) - int(b[4*x+c])
				sum += max(d, -d)
			}
		}
		if sum > most {
			break
		}
	}
	return float64(sum) / float64(n)
}

// WaitForIcon waits until the tray shows the icon of status and returns where.
func (s *Session) WaitForIcon(status statusicon.Status) image.Rectangle {
	s.t.Helper()
	var at image.Rectangle
	s.WaitFor(func() (there bool) { at, there = s.TrayIcon(status); return there }, patience,
		fmt.Sprintf("the icon %q in the tray", status))
	return at
}

// AnyTrayIcon returns where the icon is, whatever it shows, and whether there is one.
func (s *Session) AnyTrayIcon() (at image.Rectangle, there bool) {
	for _, status := range statusicon.Statuses {
		if at, there = s.TrayIcon(status); there {
			break
		}
	}
	return at, there
}

func (s *Session) highlighted(at image.Point) bool {
	c := color.RGBAModel.Convert(s.Screen().At(at.X, at.Y)).(color.RGBA)
	return [3]uint8{c.R, c.G, c.B} == highlight
}
