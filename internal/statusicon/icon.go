package statusicon

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"sync"
)

// The colours stand out on light and dark bars alike: each fill has at least 3:1 against one of them and a rim of its
// own dark shade for the other.
var (
	grey       = color.NRGBA{0x85, 0x89, 0x8e, 0xff}
	green      = color.NRGBA{0x1f, 0xa8, 0x4d, 0xff}
	greenRim   = color.NRGBA{0x0c, 0x7a, 0x34, 0xff}
	yellow     = color.NRGBA{0xff, 0xc1, 0x07, 0xff}
	yellowRim  = color.NRGBA{0xb3, 0x74, 0x00, 0xff}
	yellowSand = color.NRGBA{0x8a, 0x55, 0x00, 0xff}
	red        = color.NRGBA{0xe5, 0x37, 0x2d, 0xff}
	redRim     = color.NRGBA{0xb3, 0x1b, 0x14, 0xff}
	white      = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	black      = color.NRGBA{0x00, 0x00, 0x00, 0xff}
)

// hourglass is the outline of the glass, inset by d.
func hourglass(d float64) outline {
	return blob(0.6, 3+d, 2.5, 13-d, 2.5, 13-d, 4.6-d*0.1, 8.9-d*0.6, 8, 13-d, 11.4+d*0.1, 13-d, 13.5, 3+d, 13.5,
		3+d, 11.4+d*0.1, 7.1+d*0.6, 8, 3+d, 4.6-d*0.1)
}

// pictures has the status icons on a grid of 16.
var pictures = map[Status][]layer{
	Idle: {
		{solid(grey), []outline{shackle(11, 4.5, 2.75, 1.8, 8, 6.6)}},
		{solid(grey), []outline{box(1, 7, 12, 15, 1.8), hole(3, 9, 10, 13, 0.5)}},
	},
	Verified: {
		{solid(greenRim), []outline{shackle(8, 5, 3, 2, 8, 8)}},
		{solid(greenRim), []outline{box(2, 7, 14, 15, 1.8)}},
		{solid(green), []outline{box(3, 8, 13, 14, 0.9)}},
		{solid(white), []outline{disc(8, 10.3, 1.35)}},
		{solid(white), []outline{box(7.4, 10.3, 8.6, 13, 0.5)}},
	},
	Busy: {
		{solid(yellowRim), []outline{hourglass(0)}},
		{solid(yellow), []outline{hourglass(1)}},
		{solid(yellowSand), []outline{blob(0.4, 8, 9.8, 10.8, 12.4, 5.2, 12.4)}},
		{solid(yellowSand), []outline{blob(0.2, 6.4, 5.8, 9.6, 5.8, 8, 7.7)}},
		{solid(yellowRim), []outline{box(2, 0, 14, 3, 1)}},
		{solid(yellow), []outline{box(3, 1, 13, 2, 0.4)}},
		{solid(yellowRim), []outline{box(2, 13, 14, 16, 1)}},
		{solid(yellow), []outline{box(3, 14, 13, 15, 0.4)}},
	},
	Broken: {
		{solid(redRim), []outline{blob(1.5, 8, 0.1, 16, 15, 0, 15)}},
		{solid(red), []outline{blob(0.9, 8, 2.3, 14.2, 14, 1.8, 14)}},
		{solid(white), []outline{blob(0.5, 7, 5, 9, 5, 8.8, 10.3, 7.2, 10.3)}},
		{solid(white), []outline{disc(8, 12.1, 1.05)}},
	},
}

// templates has the same shapes for macOS template images: the system paints them, so only coverage counts and what is
// inside is cut out.
var templates = map[Status][]layer{
	Idle: recolour(pictures[Idle]),
	Verified: {
		{solid(black), []outline{shackle(8, 5, 3, 1.8, 8, 8)}},
		{solid(black), []outline{box(2, 7, 14, 15, 1.8)}},
		{nil, []outline{disc(8, 10.3, 1.35)}},
		{nil, []outline{box(7.4, 10.3, 8.6, 13, 0.5)}},
	},
	Busy: {
		{solid(black), []outline{hourglass(0)}},
		{nil, []outline{blob(0.3, 5, 4, 11, 4, 9.8, 5.6, 6.2, 5.6)}},
		{nil, []outline{blob(0.3, 8, 9.3, 10.1, 11.3, 5.9, 11.3)}},
		{solid(black), []outline{box(2, 0.5, 14, 2.5, 0.9), box(2, 13.5, 14, 15.5, 0.9)}},
	},
	Broken: {
		{solid(black), []outline{blob(1.5, 8, 0.1, 16, 15, 0, 15)}},
		{nil, []outline{blob(0.5, 7, 5, 9, 5, 8.8, 10.3, 7.2, 10.3)}},
		{nil, []outline{disc(8, 12.1, 1.05)}},
	},
}

// recolour returns layers painted black.
func recolour(layers []layer) []layer {
	out := make([]layer, 0, len(layers))
	for _, l := range layers {
		out = append(out, layer{solid(black), l.path})
	}
	return out
}

// Draw returns the icon of s as a square of sizePx pixels with transparent ground.
func Draw(s Status, sizePx int) image.Image { return render(16, sizePx, pictures[s]) }

// Icon returns Draw(s, sizePx) as PNG. The result is shared: do not change it.
func Icon(s Status, sizePx int) []byte { return cachedPNG(imageKey{s, sizePx, false}, pictures) }

// Template returns the icon of s in black and transparent, for a macOS template image, as PNG. The result is shared:
// do not change it.
func Template(s Status, sizePx int) []byte { return cachedPNG(imageKey{s, sizePx, true}, templates) }

type imageKey struct {
	status   Status
	sizePx   int
	template bool
}

var pngs sync.Map // imageKey -> []byte

func cachedPNG(k imageKey, from map[Status][]layer) []byte {
	if data, ok := pngs.Load(k); ok {
		return data.([]byte)
	}
	data, _ := pngs.LoadOrStore(k, encode(render(16, k.sizePx, from[k.status])))
	return data.([]byte)
}

// encode returns img as PNG. Encoding to memory fails only for an impossible size, which is a mistake of the caller.
func encode(img image.Image) []byte {
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		panic(fmt.Sprintf("encoding an icon of %v: %v", img.Bounds(), err))
	}
	return buf.Bytes()
}
